"""How fast are the training steps of recipes, and how near the chip's ceiling, beside an earlier version of rungs?

Fresh processes of both versions alternate. The ceiling is the fastest matrix product of this machine in any precision;
FLOPs are those of direct convolutions on both sides, so that Winograd's, which need fewer, can pass it.

    git worktree add ../before v0.1 && python bench/steps.py speedrun-94 lab-003 --before ../before
    python bench/steps.py resnet18 --data folder:photos --before ../before
    python bench/steps.py lab-003 --equal        # weights after 20 steps: the fast ways against the plain ones
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, TypedDict

import torch
import tyro
from common import compared, keep, sentences

from rungs.errors import UserError, require_between
from rungs.recipe.toml import load
from rungs.study.bench.ceilings import fastest_product
from rungs.study.bench.phases import train_on, training_feed
from rungs.training.dataset import load_dataset
from rungs.training.device import cores, device_name, open_world, peak_memory_bytes
from rungs.training.setup import assemble

WARM_UP = 6
"""Steps before those that are measured: until then a step still touches new pages."""
EQUAL_STEPS = 20


class Figures(TypedDict):
    """Of one process."""

    ms: float
    images_per_s: float
    share: float
    peak_mb: float
    how: str


def take_steps(recipe: str, overrides: list[str], steps: int) -> Figures:
    """Take steps in this process; the ceiling is measured before them."""
    with open_world() as world:
        products = [fastest_product(world.device, precision) for precision in ("fp32", "bf16")]
        ceiling = max(product.measure() for product in products for _ in range(5))
        chosen, dataset = load_dataset(load(recipe, overrides), False)
        setup = assemble(chosen, dataset, world)
        setup.trained.train()
        size = chosen.training.batch_size
        feed, times = training_feed(setup, size), list[float]()
        for _ in range(WARM_UP + steps):
            began = time.perf_counter()
            train_on(setup, feed)
            times.append(time.perf_counter() - began)
        step_s = statistics.median(times[WARM_UP:])
        training = setup.recipe.training
        flops = 3 * setup.forward_flops[setup.image_size(training.epochs - 1)] * size
        return Figures(
            ms=1e3 * step_s,
            images_per_s=size / step_s,
            share=flops / step_s / ceiling,
            peak_mb=peak_memory_bytes(world.device) / 1e6,
            how=f"{training.precision}, {training.convolution}",
        )


def fresh(source: Path, recipe: str, overrides: list[str], steps: int) -> Figures:
    """Take the steps in a new process, with the package in `source`."""
    command = [sys.executable, __file__, recipe, "--here", "--steps", str(steps)]
    for one in overrides:
        command += ["--overrides", one]
    env = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def weights_after(recipe: str, overrides: list[str]) -> torch.Tensor:
    """Return all weights of a recipe after some steps, in one row."""
    with open_world() as world:
        chosen, dataset = load_dataset(load(recipe, overrides), False)
        setup = assemble(chosen, dataset, world)
        setup.trained.train()
        setup.seed_dropout([0])
        feed = training_feed(setup, chosen.training.batch_size)
        for _ in range(EQUAL_STEPS):
            train_on(setup, feed)
        return torch.cat([weight.detach().double().flatten() for weight in setup.model.parameters()])


def compare_weights(recipe: str, overrides: list[str]) -> dict[str, float]:
    """Return the relative distance of the weights from those of the plain way, in each precision."""
    distances = {}
    for precision in ("fp32", "bf16"):
        both = [*overrides, f"training.precision={precision}"]
        plain = weights_after(recipe, [*both, "training.convolution=direct"])
        distances[precision] = float((weights_after(recipe, both) - plain).norm() / plain.norm())
        of_norm = f"{distances[precision]:.1e} of their norm"
        print(f"{recipe}, {precision}: weights after {EQUAL_STEPS} steps differ by {of_norm}")
    return distances


def main(
    recipes: Annotated[tuple[str, ...], tyro.conf.Positional] = ("speedrun-94",),
    *,
    before: Path | None = None,
    data: str = "cifar10",
    overrides: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = (),
    steps: int = 5,
    rounds: int = 3,
    equal: bool = False,
    here: bool = False,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure and print a row for each recipe.

    Args:
        recipes: Whose steps to take.
        before: A checkout of the earlier version.
        data: Source of images.
        overrides: Change a field of the recipes.
        steps: Measured steps of a process, after six.
        rounds: Fresh processes of each version, in alternation.
        equal: Compare weights instead.
        here: Take the steps in this process and print the figures (used by the script itself).
        json_path: Also write the figures here.
    """
    require_between(steps, 1, 1000, "--steps")
    require_between(rounds, 1, 100, "--rounds")
    changed = list(overrides) if here else [f"data.source={json.dumps(data)}", *overrides]
    for recipe in recipes:
        load(recipe, changed)  # report a wrong one before the first step
    if here:
        print(json.dumps(take_steps(recipes[0], changed, steps)))
        return
    if equal:
        keep({recipe: compare_weights(recipe, changed) for recipe in recipes}, json_path)
        return
    if before is None or not (before / "src/rungs").is_dir():
        raise UserError("no earlier version", where="--before", do="give a checkout that holds src/rungs")
    sources = {"before": before.resolve() / "src", "after": Path(__file__).resolve().parents[1] / "src"}
    with open_world() as world:
        machine = (
            f"{device_name(world.device)}, {torch.get_num_threads()} of {cores()} cores, torch {torch.__version__}"
        )
    print(f"{machine}, n = {rounds} processes each, {time.strftime('%Y-%m-%d')}")
    rows: dict[str, object] = {}
    for recipe in recipes:
        found: dict[str, list[Figures]] = {name: [] for name in sources}
        for _ in range(rounds):
            for name, source in sources.items():
                found[name].append(fresh(source, recipe, changed, steps))
        image_s = {name: [1 / f["images_per_s"] for f in figures] for name, figures in found.items()}  # any batch size
        ratio = compared(image_s["after"], image_s["before"], "before / after")
        rows[recipe] = {**found, **ratio}
        print(f"{recipe}: {ratio['before / after']} times as fast {ratio['range']}")
        for name, figures in found.items():
            print(f"  {name}: {_row(figures)}")
    keep({"machine": machine, "steps": steps, "n": rounds, "recipes": rows}, json_path)


def _row(figures: list[Figures]) -> str:
    ms, rate, share, peak = (
        statistics.median(values)
        for values in zip(*((f["ms"], f["images_per_s"], f["share"], f["peak_mb"]) for f in figures), strict=True)
    )
    how = figures[0]["how"]
    return f"{ms:.0f} ms a step, {rate:.0f} images/s, {100 * share:.0f} % of the ceiling, {peak:,.0f} MB ({how})"


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
