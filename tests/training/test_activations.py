"""Idle ReLUs and saturated sigmoids are counted as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import run, small
from torch import nn

from rungs.training.activations import _row

SIGMOIDS = (
    "model={name = 'layered', convs = [{channels = 4, activation = 'sigmoid'}], "
    "linears = [{features = 8, activation = 'sigmoid'}]}"
)


def test_a_channel_is_idle_that_is_zero_for_all_images_everywhere() -> None:
    out = torch.rand(5, 4, 3, 3)
    out[:, 1] = 0
    out[:, 2] = 0
    out[3, 2, 1, 1] = 0.1  # once is not never
    assert _row("net.a", nn.ReLU(), out).idle == 0.25
    assert _row("net.a", nn.ReLU(), out[:, :, 0, 0]).idle == 0.5  # (B, F)


def test_a_sigmoid_is_saturated_near_its_ends() -> None:
    out = torch.tensor([[0.01, 0.5, 0.96, 0.94]])
    assert _row("net.a", nn.Sigmoid(), out).saturated == 0.5


def test_a_run_records_its_activations_layer_by_layer(tmp_path: Path) -> None:
    rows = run(small("training.epochs=1"), tmp_path / "relu").activations
    assert [(row.name, row.kind) for row in rows] == [
        ("features.relu1_1", "relu"), ("features.relu2_1", "relu"), ("head.relu1", "relu"),
    ]  # fmt: skip
    rows = run(small("training.epochs=1", SIGMOIDS), tmp_path / "sigmoid").activations
    assert [row.kind for row in rows] == ["sigmoid", "sigmoid"]
    assert all(row.saturated == pytest.approx(0, abs=0.2) for row in rows)  # fresh ones are near a half
