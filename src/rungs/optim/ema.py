"""The exponential moving average of a model's weights."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def average(model: nn.Module, decay: float) -> AveragedModel:
    """Return the averaged model; call `update_parameters(model)` on it after each step.

    The first update copies the model; each later one moves weights and buffers (including BatchNorm
    statistics) by (1 - decay) of the way: mean <- decay * mean + (1 - decay) * value (Polyak & Juditsky 1992).
    An integer buffer, such as BatchNorm's count of batches, is rounded towards 0 and lags; none of our
    layers reads it. Its whole state is in its `state_dict`; the averaged net is its `module`.

    Args:
        model: The bare model (not wrapped for several ranks), on its device.
        decay: In (0, 1); the average looks back about 1 / (1 - decay) steps.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]
