"""How long does one of our recipes take on this GPU, and how accurate is it? Many seeds, one after the other.

A first run, with another seed, warms up: it compiles, and its seconds are printed separately. Then each seed is timed
from its first batch to its last prediction of the test set, with test-time augmentation, as the speedrun scripts do;
recording of steps is included, loading and files are not. The test set is scored once per seed and nothing is chosen by
it: choose by validation first.

To compare with another script, run it on the same GPU and give its results as a JSON file with a list `seconds` and a
list `accuracy`, one entry per run.

    python bench/race.py speedrun-94-gpu --runs 20 --theirs hiverge.json
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import torch
import tyro
from common import keep, sentences
from msgspec.structs import replace

from rungs import data as sources
from rungs.data.imageset import Source
from rungs.errors import UserError
from rungs.evaluate.device import open_device
from rungs.evaluate.score import score
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import choose
from rungs.study.statistics import estimate
from rungs.training.compiling import compile_net
from rungs.training.dataset import load_dataset
from rungs.training.device import World, cores, device_name
from rungs.training.feed import scoring_batches
from rungs.training.loop import Diverged, train_epochs
from rungs.training.run import train_flops
from rungs.training.scoring import with_tta
from rungs.training.screen import Screen
from rungs.training.setup import assemble


def run(recipe: Recipe, source: Source, world: World) -> dict[str, float]:
    """Train one seed and score it on the test set; return seconds and accuracies.

    Raises:
        UserError: No test set, or the loss is no longer finite.
    """
    setup = assemble(*load_dataset(recipe, False, source), world)
    if setup.parts.test is None:
        raise UserError("there is no test set", where=recipe.data.source, do="choose another source")
    compile_net(setup)
    began = now(world)
    try:
        rows = list(train_epochs(setup, [], Screen()))
    except Diverged as diverged:
        raise UserError(str(diverged), where=f"seed {recipe.seed}", do="use a smaller optim.lr") from diverged
    trained = now(world)
    logits, labels = score(setup.scored_net, scoring_batches(setup, setup.parts.test), setup.autocast)
    plain = (logits.argmax(1) == labels).double().mean().item()
    augmented = plain
    if recipe.evaluation.tta != "none":
        augmented = (with_tta(setup, setup.parts.test, logits).argmax(1) == labels).double().mean().item()
    ended = now(world)
    return {
        "seconds": ended - began,
        "scoring_s": ended - trained,
        "warm_up_s": sum(row.warm_up_s for row in rows),
        "plain": plain,
        "accuracy": augmented,
        "pflop": train_flops(setup, len(rows)) / 1e15,
    }


def now(world: World) -> float:
    """Synchronise the device and return the time."""
    if world.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def summary(name: str, values: Sequence[float], scale: float, unit: str) -> str:
    """Return a mean, its 95 % interval and the standard deviation as text."""
    found = estimate([scale * value for value in values])
    return f"{name}: {found.mean:.3f} {unit} ({found.low:.3f} to {found.high:.3f}), sd {found.sd:.3f}, n = {found.n}"


def main(
    recipe: Annotated[str, tyro.conf.Positional] = "speedrun-94-gpu",
    *,
    runs: int = 20,
    data: str = "cifar10",
    overrides: Annotated[tuple[str, ...], tyro.conf.arg(name="set"), tyro.conf.UseAppendAction] = (),
    theirs: Path | None = None,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Train, time and print.

    Args:
        recipe: Name or path.
        runs: Seeds 0, 1, ...; at least 2.
        data: Source of images; it must have a test set.
        overrides: Fields of the recipe, changed.
        theirs: Results of another script.
        json_path: Also write the figures here.
    """
    other = None if theirs is None else figures(theirs)
    if runs < 2:
        raise UserError(f"{runs} is too few for a standard deviation", where="--runs", do="give 2 or more")
    chosen, world = choose(recipe, overrides, data=data), World(0, 1, open_device())
    source = sources.load(chosen.data.source, chosen.data.image_size)
    began = time.perf_counter()
    run(replace(chosen, seed=runs), source, world)
    print(f"{device_name(world.device)}, {cores()} cores, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")
    print(f"warming up, a whole run: {time.perf_counter() - began:.1f} s")
    rows = [run(replace(chosen, seed=seed), source, world) for seed in range(runs)]
    device = device_name(world.device)
    keep({"recipe": recipe, "set": overrides, "device": device, "rows": rows, "theirs": other}, json_path)
    show(rows, other)


def figures(path: Path) -> dict[str, list[float]]:
    """Read another script's results.

    Raises:
        UserError: There is no such file, or it does not hold two lists of at least two numbers.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, list[float]])
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(str(error), where=str(path), do="it must hold lists `seconds` and `accuracy`") from error
    if min(len(found.get(name, [])) for name in ("seconds", "accuracy")) < 2:
        raise UserError("fewer than two runs", where=str(path), do="it must hold lists `seconds` and `accuracy`")
    return found


def show(rows: list[dict[str, float]], other: dict[str, list[float]] | None) -> None:
    """Print our results, and theirs."""
    seconds = [row["seconds"] for row in rows]
    print(summary("training and scoring", seconds, 1, "s"))
    print(summary("including scoring", [row["scoring_s"] for row in rows], 1, "s"))
    print(summary("including recording, with its warm-up steps", [row["warm_up_s"] for row in rows], 1, "s"))
    print(summary("test, plain", [row["plain"] for row in rows], 100, "%"))
    print(summary("test, with test-time augmentation", [row["accuracy"] for row in rows], 100, "%"))
    print(f"{rows[0]['pflop']:.3f} PFLOP of training")
    if other is not None:
        print(summary("theirs", other["seconds"], 1, "s"))
        print(summary("theirs, test", other["accuracy"], 100, "%"))
        print(f"theirs / ours: {statistics.mean(other['seconds']) / statistics.mean(seconds):.2f}")


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
