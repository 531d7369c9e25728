"""The operations of a training: counted by hand."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace
from small import run, small


def speedrun_flops(side: int, widths: tuple[int, int, int]) -> int:
    """Count a forward pass of a speedrun net with patches of 2 x 2 and two convolutions a group, 10 classes."""
    side, channels = side - 1, 24  # twelve patterns and their negatives
    flops = 2 * 12 * channels * side**2
    for width in widths:
        flops += 2 * 9 * channels * width * side**2
        side, channels = side // 2 or 1, width  # a map of one pixel is not pooled
        flops += 2 * 9 * width * width * side**2
    return flops + 2 * channels * 10


def test_the_operations_of_training_are_three_forward_passes_an_image(tmp_path: Path) -> None:
    forward = 2 * (27 * 8 * 8**2 + 72 * 16 * 4**2 + 64 * 16 + 16 * 10)  # two convolutions, two linear layers
    record = run(small(), tmp_path / "stopped", stop_after=1)
    assert (record.model.flops, record.train_flops) == (forward, 3 * forward * 400)
    assert run(small(), tmp_path / "stopped", resume=True).train_flops == 4 * 3 * forward * 400
    cut = run(small("training.epochs=1", "training.micro_batch=20", "data.train=150"), tmp_path / "cut")
    assert cut.train_flops == 3 * forward * 150


def test_the_operations_of_training_are_those_of_the_sizes_that_images_had(tmp_path: Path) -> None:
    widths = (4, 6, 8)
    recipe = small(
        "model.name=speedrun", f"model.widths={list(widths)}", "data.image_size=16", "data.train=100",
        "training.image_scales=[0.5, 1]", "training.epochs=3",
    )  # fmt: skip
    record = run(recipe, tmp_path / "scaled")
    few, many = speedrun_flops(8, widths), speedrun_flops(16, widths)
    assert record.model.flops == many
    assert record.train_flops == 3 * 100 * (few + many + many)
    whole = run(replace(recipe, training=replace(recipe.training, image_scales=())), tmp_path / "whole")
    assert whole.train_flops == 3 * 100 * 3 * many
    first = run(recipe, tmp_path / "first", stop_after=1)
    assert first.train_flops == 3 * 100 * few
