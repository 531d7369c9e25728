"""Evaluation of a net on a dataset: one pass, then metrics, calibration and the worst mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from rungs.errors import UserError
from rungs.evaluate.metrics import evaluate
from rungs.evaluate.mistakes import worst
from rungs.run.record import EvalResult


class NotFinite(UserError):  # noqa: N818 (it describes the outputs)
    """A net's output for some image is infinite or NaN: its training diverged."""


def evaluate_logits(
    logits: Tensor,
    labels: Tensor,
    *,
    images: Callable[[Tensor], Tensor],
    paths: Sequence[str] | None = None,
    mistakes: int = 0,
    keep_images: bool = False,
    temperature: float = 1.0,
) -> EvalResult:
    """Compute everything that a record holds about a net on a dataset.

    Args:
        logits: float32 (N, K), from `rungs.evaluate.score`.
        labels: int64 (N,).
        images: Returns the images at positions int64 (M,) as uint8 (M, 3, H, W), for the pictures of mistakes.
        paths: Their files, if known.
        mistakes: Number of worst mistakes to keep.
        keep_images: Also keep the prediction for each image.
        temperature: Of the run; the loss and the calibration with it are added.

    Raises:
        NotFinite: The net's outputs, or their loss, are not finite.
    """
    bad = int((~logits.isfinite()).any(1).sum())
    do = "the training diverged: retrain with a smaller optim.lr"
    if bad:
        raise NotFinite(f"the net's outputs are not finite for {bad} of {len(logits)} images", do=do)
    shown = worst(logits, labels, images, mistakes, paths)
    result = evaluate(logits, labels, shown, keep_images=keep_images, temperature=temperature)
    if not math.isfinite(result.loss):
        raise NotFinite("the loss is infinite", do=do)
    return result
