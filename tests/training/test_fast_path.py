"""Weights after twenty steps: the fast ways of computing against the plain one, to the rounding of the precision."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from rungs.data.cache import cache_dir
from rungs.models.fast_convolution import FastConv2d
from rungs.recipe.toml import load
from rungs.run.folder import RunDir
from rungs.study.bench.phases import train_on, training_feed
from rungs.training import convolutions
from rungs.training.dataset import load_dataset
from rungs.training.device import open_world
from rungs.training.memory import SWITCH, return_freed_memory
from rungs.training.options import RunOptions
from rungs.training.run import run_recipe
from rungs.training.setup import assemble

WIDE = (
    "data.source=digits",
    "data.image_size=8",
    "model.channels=[64, 64]",
    "model.convs=[2, 2]",
    "model.pool=false",
    "training.batch_size=40",
    "model.dropout=0",
)


MUON = (
    "data.source=digits",
    "data.image_size=24",
    "model.widths=[64, 128, 128]",
    "training.batch_size=40",
    "training.micro_batch=none",
)


def trained(*overrides: str, recipe: str = "mix-004") -> tuple[Tensor, set[type[nn.Module]], str]:
    """Take the steps; return all weights, the kinds of convolutions, and what the recipe says of them."""
    with open_world() as world:
        chosen, dataset = load_dataset(load(recipe, [*(WIDE if recipe == "mix-004" else MUON), *overrides]), False)
        setup = assemble(chosen, dataset, world)
        setup.trained.train()
        feed = training_feed(setup, chosen.training.batch_size)
        for _ in range(20):
            train_on(setup, feed)
    weights = torch.cat([weight.detach().double().flatten() for weight in setup.model.parameters()])
    kinds = {type(module) for module in setup.model.modules() if isinstance(module, nn.Conv2d)}
    return weights, kinds, setup.recipe.training.convolution


@pytest.mark.parametrize(
    ("precision", "way", "most"),
    [
        ("fp32", "strips", 1e-4),
        ("fp32", "product", 1e-4),
        ("fp32", "winograd", 1e-4),
        ("bf16", "strips", 2e-2),
        ("bf16", "product", 2e-2),
    ],
)
def test_twenty_steps_are_those_of_the_plain_way(
    precision: str, way: str, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolutions, "_measured", lambda *_: {"torch": 2.0, way: 1.0})
    monkeypatch.setattr(convolutions, "LEAST_FLOPS", 1.0)
    plain, kinds, named = trained(f"training.precision={precision}", "training.convolution=direct")
    assert (kinds, named) == ({nn.Conv2d}, "direct")
    fast, kinds, named = trained(f"training.precision={precision}")
    assert named == "fast" and FastConv2d in kinds
    difference = float((fast - plain).norm() / plain.norm())
    assert 0 < difference < most


def test_with_muon_too_twenty_steps_are_those_of_the_plain_way() -> None:
    plain, kinds, _ = trained("training.precision=fp32", "training.convolution=direct", recipe="speedrun-94")
    assert kinds == {nn.Conv2d}
    fast, kinds, _ = trained("training.precision=fp32", "training.convolution=winograd", recipe="speedrun-94")
    assert FastConv2d in kinds
    assert 0 < float((fast - plain).norm() / plain.norm()) < 2e-2


def test_kept_memory_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, _, _ = trained("training.precision=fp32")
    monkeypatch.setenv(SWITCH, "no")
    return_freed_memory()
    returned, _, _ = trained("training.precision=fp32")
    assert torch.equal(kept, returned)


def test_a_run_goes_on_bit_for_bit_where_another_way_is_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wide_by_winograd(conv: nn.Conv2d, *_: object) -> dict[str, float]:
        return {"torch": 2.0, "winograd" if conv.in_channels == 64 else "strips": 1.0}

    monkeypatch.setattr(convolutions, "LEAST_FLOPS", 1.0)
    recipe = load("mix-004", [*WIDE, "training.epochs=2", "training.precision=fp32", "training.batch_size=400"])
    whole, halves = RunDir(tmp_path / "whole"), RunDir(tmp_path / "halves")
    with open_world() as world:
        monkeypatch.setattr(convolutions, "_measured", wide_by_winograd)
        expected = run_recipe(recipe, whole, world, RunOptions())
        run_recipe(recipe, halves, world, RunOptions(keep_going=lambda row: False))
        monkeypatch.setattr(convolutions, "_measured", lambda *_: {"torch": 2.0, "product": 1.0})
        halves.record.unlink()
        shutil.rmtree(cache_dir() / "measured")  # as on another machine
        record = run_recipe(recipe, halves, world, RunOptions(resume=True))
    assert record.recipe.training.convolution == expected.recipe.training.convolution == "fast"
    assert record.environment.convolutions == expected.environment.convolutions
    assert {one.way for one in record.environment.convolutions} == {"winograd", "strips"}
    ours, theirs = (load_file(folder.weights) for folder in (halves, whole))
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    assert [row.train_loss for row in record.history] == [row.train_loss for row in expected.history]


@pytest.mark.parametrize("asked", ["auto", "fast", "winograd", "direct"])
def test_the_same_command_resumes_whatever_it_asked_for(asked: str, tmp_path: Path) -> None:
    recipe = load("digits-quick", [f"training.convolution={asked}", "training.precision=fp32", "training.epochs=2"])
    with open_world() as world:
        run_recipe(recipe, RunDir(tmp_path), world, RunOptions(keep_going=lambda row: False))
        record = run_recipe(recipe, RunDir(tmp_path), world, RunOptions(resume=True))
    assert len(record.history) == 2
    assert record.recipe.training.convolution == "direct"  # no layer of this net is wide
