"""From a net and a set to numbers: one pass, then metrics, calibration and the worst mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from rungs.errors import UserError
from rungs.evaluate.metrics import evaluate
from rungs.evaluate.mistakes import worst
from rungs.run.record import EvalResult


class NotFinite(UserError):  # noqa: N818 (it says what the outputs are)
    """A net says infinity, or nothing at all, of some image: its training diverged."""


def evaluate_logits(
    logits: Tensor,
    labels: Tensor,
    *,
    images: Callable[[Tensor], Tensor],
    paths: Sequence[str] | None = None,
    mistakes: int = 0,
    keep_images: bool = False,
) -> EvalResult:
    """Compute everything that a record says of a net on a set.

    Args:
        logits: float32 (N, K), what the net said, from `rungs.evaluate.score`.
        labels: int64 (N,).
        images: Gives the set's images at positions int64 (M,) as uint8 (M, 3, H, W), for the pictures of mistakes.
        paths: Their files, where known.
        mistakes: How many of the worst to keep.
        keep_images: Also keep what was said of each image.

    Raises:
        NotFinite: The net's outputs, or their loss, are no finite numbers.
    """
    bad = int((~logits.isfinite()).any(1).sum())
    do = "the training diverged: train again with a smaller optim.lr"
    if bad:
        raise NotFinite(f"the net's outputs are not finite for {bad} of {len(logits)} images", do=do)
    result = evaluate(logits, labels, worst(logits, labels, images, mistakes, paths), keep_images=keep_images)
    if not math.isfinite(result.loss):
        raise NotFinite("the loss is infinite", do=do)
    return result
