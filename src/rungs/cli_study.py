"""The command line of studies: flags, and handlers that hand over. Heavy imports stay inside the handlers."""

from __future__ import annotations

from tyro.conf import Positional

from rungs.cli_flags import Data, Number, Override, Rate, Rungs, Seconds, Share, Where


def climb(
    ladder: Positional[str],
    /,
    data: Data = None,
    out: Where = None,
    seeds: Number = None,
    only: Rungs = (),
    epochs: Number = None,
    images: Share = None,
    overrides: Override = (),
    jobs: Number = None,
    pack: Number = None,
    dry_run: bool = False,
    skip_unreadable: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
) -> None:
    """Climb a ladder: train every rung with several seeds and say what each change bought.

    The same command goes on where a climb was stopped; what is trained is not trained again.

    Args:
        ladder: Name (see rungs list ladders) or path of a TOML file.
        data: Another source of images than the base recipe's.
        out: Folder (default: climbs/NAME; with a digest where the study is not the ladder file's).
        seeds: Seeds per rung, from 0 (default: the ladder's own number).
        only: Climb this rung only (repeatable); rungs that were trained before stay in the report.
        epochs: Of the base recipe; other rungs and all schedules change in proportion.
        images: Share of the training images that each rung uses, above 0 and at most 1.
        overrides: Change a field of the base recipe, below all rungs (repeatable).
        jobs: Cells trained at once (default: 1 on a GPU, else as many as there are cores, at most 4).
        pack: Seeds of a rung trained as one net of nets in each of these jobs, where they can be (default: 1).
        dry_run: List all cells and estimate the time from a short probe of each; train nothing.
        skip_unreadable: Leave unreadable files out instead of stopping.
        tensorboard: Also write events for TensorBoard into each cell's folder.
        quiet: Show errors and nothing else.
    """
    from rungs import climb_commands

    options = {"data": data, "seeds": seeds, "only": only, "epochs": epochs, "images": images, "folder": out}
    if dry_run:
        climb_commands.plan(ladder, overrides, options, jobs, pack, skip_unreadable=skip_unreadable)
    else:
        how = {"skip_unreadable": skip_unreadable, "tensorboard": tensorboard, "jobs": jobs, "pack": pack}
        climb_commands.climb(ladder, overrides, options, how, quiet=quiet)


def bench(
    recipe: Positional[str] = "lab-003",
    /,
    data: Data = None,
    out: Where = None,
    overrides: Override = (),
    seconds: Seconds = 30.0,
    skip_unreadable: bool = False,
    quiet: bool = False,
) -> None:
    """Measure what share of this machine's ceiling a recipe reaches, where its time goes and what would help.

    Args:
        recipe: Name (see rungs list) or path of a TOML file.
        data: Source of images: cifar10[:PATH], cifar100, digits, folder:PATH, parquet:PATH, hub:OWNER/NAME.
        out: Folder of record and report (default: runs/bench-NAME).
        overrides: Change a field of the recipe, e.g. --set training.batch_size=128 (repeatable).
        seconds: Time to measure; batch sizes that do not fit into it are left out, the recipe's own never.
        skip_unreadable: Leave unreadable files out instead of stopping.
        quiet: Show errors and nothing else.
    """
    from rungs import bench_commands
    from rungs import recipe as recipes

    chosen = recipes.choose(recipe, overrides, data=data)
    bench_commands.bench(chosen, out, quiet=quiet, seconds=seconds, skip_unreadable=skip_unreadable)


def lr_find(
    recipe: Positional[str],
    /,
    data: Data = None,
    out: Where = None,
    seed: Number = None,
    overrides: Override = (),
    steps: int = 120,
    low: Rate = 1e-6,
    high: Rate = 10.0,
    seeds: int = 3,
    checks: Number = None,
    skip_unreadable: bool = False,
    quiet: bool = False,
) -> None:
    """Look for a recipe's learning rate: sweep over all of them, guess, and check the guess by short runs.

    The test set stays closed: rates are judged on validation.

    Args:
        recipe: Name (see rungs list) or path of a TOML file.
        data: Source of images: cifar10[:PATH], cifar100, digits, folder:PATH, parquet:PATH, hub:OWNER/NAME.
        out: Folder of record and report (default: rates/NAME).
        seed: First of the seeds.
        overrides: Change a field of the recipe, e.g. --set training.batch_size=128 (repeatable).
        steps: Steps of a sweep.
        low: Rate of its first step.
        high: Rate of its last step.
        seeds: Sweeps, and runs of each rate that is checked.
        checks: Epochs of each of these runs (default: about as many steps as a sweep).
        skip_unreadable: Leave unreadable files out instead of stopping.
        quiet: Show errors and nothing else.
    """
    from rungs import rates_commands

    how = {"data": data, "seed": seed, "steps": steps, "low": low, "high": high, "seeds": seeds, "checks": checks}
    rates_commands.lr_find(recipe, overrides, out, quiet=quiet, skip_unreadable=skip_unreadable, **how)
