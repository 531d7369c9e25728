"""torchvision and timm for tests, also where the compiled part of torchvision was built for another torch."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
import torch

KEPT: list[torch.library.Library] = []
"""Operators are forgotten with the library that declares them."""


def require_timm() -> ModuleType:
    """Return timm; skip where it is not installed.

    A torchvision that was built for a torch with CUDA lacks its operators beside one without, and can then not be
    imported; nothing here calls them, so declaring them is enough.
    """
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("torchvision", "timm")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(library)
        import torchvision  # noqa: F401
    import timm

    return timm
