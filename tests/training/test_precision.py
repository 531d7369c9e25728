"""Which precision a net is trained in, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import run, small
from torch import nn

from rungs.errors import UserError
from rungs.models import build_model
from rungs.recipe.toml import load
from rungs.training import precision
from rungs.training.precision import pick_precision, strided_past_its_map

STRIDES = ("model.name=plain", "model.downsample=stride", "model.stages=[[8],[8],[8],[8],[8]]")


def test_precision_auto_says_why() -> None:
    precision, reason = pick_precision("auto", torch.device("cpu"))
    has = torch.cpu.get_capabilities()
    assert "CPU has" in reason
    assert precision == "fp32" or has.get("avx512_bf16") or has.get("amx_bf16")
    assert pick_precision("fp32", torch.device("cpu"))[0] == "fp32"


def convolution(kernel_size: int, stride: int | tuple[int, int], padding: int | str) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, kernel_size, stride, padding))


def resnet(size: int) -> nn.Module:
    return build_model(load("resnet18").model, image_size=size, classes=10)


@pytest.mark.parametrize(
    ("net", "size", "name"),
    [
        (convolution(3, 2, 1), 1, "0"),
        (convolution(3, 2, 1), 2, ""),
        (convolution(5, 3, 2), 2, "0"),
        (convolution(3, (1, 2), 1), 1, "0"),
        (convolution(3, 1, 1), 1, ""),
        (convolution(1, 2, 0), 1, ""),
        (convolution(1, 2, "valid"), 1, ""),
        (resnet(32), 32, ""),
        (resnet(4), 4, "layer4.0.conv1"),
    ],
)
def test_a_stride_larger_than_its_map_is_found(net: nn.Module, size: int, name: str) -> None:
    assert strided_past_its_map(net, [size]) == name
    assert strided_past_its_map(net, [64, size]) == name
    assert net.training


def test_such_a_net_is_trained_in_fp32_and_bf16_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_fast_bf16", lambda device, depthwise: (True, "fast"))
    found = run(small(*STRIDES, "training.epochs=1"), tmp_path / "auto")
    assert found.environment.precision == "fp32" == found.recipe.training.precision
    assert "a stride larger than the map that it sees" in found.environment.precision_reason
    with pytest.raises(UserError, match=r"^training\.precision: .*a stride larger than the map.*\n.*use fp32"):
        run(small(*STRIDES, "training.precision=bf16"), tmp_path / "asked")
