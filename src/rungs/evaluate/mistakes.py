"""The worst mistakes, with their pictures, as plain records."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rungs.run.record import Mistake

PICTURE_PIXELS = 128
"""Larger images are shrunk to this side, so that a record stays small."""


def worst(
    logits: Tensor,
    labels: Tensor,
    images: Callable[[Tensor], Tensor],
    count: int,
    paths: Sequence[str] | None = None,
) -> tuple[Mistake, ...]:
    """Return the `count` wrongly classified images with the largest loss, worst first.

    Args:
        logits: float32 (N, K).
        labels: int64 (N,).
        images: Gives the images at positions int64 (M,), in the order of the logits, as uint8 (M, 3, H, W).
        count: At most so many.
        paths: The files of the images, where known.
    """
    loss = F.cross_entropy(logits, labels, reduction="none")
    probability, said = logits.softmax(1).max(1)
    wrong = (said != labels).nonzero().flatten()
    ranked = wrong[loss[wrong].argsort(descending=True, stable=True)][:count]
    pictures = images(ranked).cpu()
    return tuple(
        Mistake(
            index=i,
            path=None if paths is None else paths[i],
            truth=int(labels[i]),
            predicted=int(said[i]),
            probability=float(probability[i]),
            loss=float(loss[i]),
            picture=png(image),
        )
        for i, image in zip(ranked.tolist(), pictures, strict=True)
    )


def png(image: Tensor) -> str:
    """Return uint8 (3, H, W) as a base64 PNG."""
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
