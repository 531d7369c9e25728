from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from rungs.optim.ema import average

DECAY = 0.9


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.49, 0.48, 0.45]).view(1, 3, 1, 1))
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.norm(self.conv(x - self.mean)).mean((2, 3)))
        return out


def net() -> Net:
    torch.manual_seed(0)
    return Net().to(memory_format=torch.channels_last)


def train(model: nn.Module, mean: AveragedModel, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.rand(8, 3, 8, 8, generator=generator)).square().mean().backward()
        optimizer.step()
        mean.update_parameters(model)


def test_the_average_follows_its_formula() -> None:
    model = net()
    mean = average(model, DECAY)
    expected: dict[str, torch.Tensor] = {}
    for step in range(5):
        train(model, mean, 1, seed=step)
        for name, value in model.state_dict().items():
            value = value.double()
            expected[name] = value.clone() if step == 0 else DECAY * expected[name] + (1 - DECAY) * value
    for name, value in mean.module.state_dict().items():
        if value.is_floating_point():  # weights, biases, and BatchNorm's running statistics
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(mean.module.head.weight, model.head.weight)


def test_the_model_itself_is_not_touched() -> None:
    alone, followed = net(), net()
    mean = average(followed, DECAY)
    train(followed, mean, 3, seed=0)
    train(alone, average(net(), DECAY), 3, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), followed.parameters(), strict=True))


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_constant_buffers_stay_to_the_bit_and_integers_stay_integers(decay: float) -> None:
    model = net()
    mean = average(model, decay)
    train(model, mean, 20, seed=0)
    assert torch.equal(mean.module.mean, model.mean)
    count = mean.module.norm.num_batches_tracked
    assert count.dtype == torch.int64 and 1 <= count <= 20
    assert mean.module(torch.rand(2, 3, 8, 8)).isfinite().all()


def test_keeps_channels_last() -> None:
    model = net()
    mean = average(model, DECAY)
    train(model, mean, 3, seed=0)
    assert mean.module.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert not mean.module.conv.weight.is_contiguous()


def test_going_on_from_a_state_dict_is_exact(tmp_path: Path) -> None:
    model = net()
    mean = average(model, DECAY)
    train(model, mean, 3, seed=1)
    torch.save({"model": model.state_dict(), "mean": mean.state_dict()}, tmp_path / "state.pt")
    train(model, mean, 3, seed=2)

    resumed = net()
    again = average(resumed, DECAY)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed.load_state_dict(state["model"])
    again.load_state_dict(state["mean"])
    train(resumed, again, 3, seed=2)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in mean.state_dict().items())
