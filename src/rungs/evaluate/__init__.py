"""From a net and a set to numbers: one pass, then metrics, calibration and the worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

from torch import Tensor, nn

from rungs.evaluate.metrics import evaluate
from rungs.evaluate.mistakes import worst
from rungs.evaluate.score import score
from rungs.records import EvalResult


def assess(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    autocast: Callable[[], AbstractContextManager[object]],
    *,
    images: Callable[[Tensor], Tensor],
    paths: Sequence[str] | None = None,
    mistakes: int = 0,
) -> EvalResult:
    """Score a net once on a set and compute everything that a record says of it.

    Args:
        model: From float (B, 3, H, W) in [0, 1] to logits (B, K).
        batches: The set in its own order: inputs and labels int64 (B,).
        autocast: Makes the context that the net runs in.
        images: Gives the set's images at positions int64 (M,) as uint8 (M, 3, H, W), for the pictures of mistakes.
        paths: Their files, where known.
        mistakes: How many of the worst to keep.
    """
    logits, labels = score(model, batches, autocast)
    return evaluate(logits, labels, worst(logits, labels, images, mistakes, paths))
