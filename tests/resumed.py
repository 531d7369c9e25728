"""Comparing a run that was resumed with one that never stopped."""

from __future__ import annotations

from typing import Any

import msgspec
import torch

from rungs.run.record import EpochRow


def without_times(rows: tuple[EpochRow, ...]) -> list[EpochRow]:
    return [msgspec.structs.replace(row, train_s=0, validation_s=0, images_per_s=0) for row in rows]


def require_equal(a: Any, b: Any, where: str = "state") -> int:
    """Compare nested states with torch.equal; return how many tensors were compared."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
        return 1
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        return sum(require_equal(a[k], b[k], f"{where}.{k}") for k in a)
    if isinstance(a, list | tuple):
        assert len(a) == len(b), where
        return sum(require_equal(x, y, f"{where}[{i}]") for i, (x, y) in enumerate(zip(a, b, strict=True)))
    assert a == b, where
    return 0
