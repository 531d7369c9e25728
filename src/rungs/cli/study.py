"""The command line of studies: flags, and handlers that hand over. Heavy imports stay inside the handlers."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from rungs.recipe.flags import (
    Address,
    Data,
    HowMany,
    Number,
    Override,
    Rate,
    Rules,
    Rungs,
    Runs,
    Seconds,
    Share,
    Space,
    Try,
    Where,
    Word,
)


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
        jobs: Cells trained at once (default: 1 on a GPU, else as many as there are cores, at most 4);
            0: in this process, for a debugger.
        pack: Seeds of a rung trained as one net of nets in each of these jobs, where they can be (default: 1).
        dry_run: List all cells and estimate the time from a short probe of each; train nothing.
        skip_unreadable: Leave unreadable files out instead of stopping.
        tensorboard: Also write events for TensorBoard into each cell's folder.
        quiet: Show errors and nothing else.
    """
    from rungs.cli import climb_commands

    options = {"data": data, "seeds": seeds, "only": only, "epochs": epochs, "images": images, "folder": out}
    if dry_run:
        climb_commands.plan(ladder, overrides, options, jobs, pack, skip_unreadable=skip_unreadable)
    else:
        how = {"skip_unreadable": skip_unreadable, "tensorboard": tensorboard, "jobs": jobs, "pack": pack}
        climb_commands.climb(ladder, overrides, options, how, quiet=quiet)


def tune(
    recipe: Positional[str],
    /,
    space: Space,
    data: Data = None,
    out: Where = None,
    trials: Number = None,
    workers: Number = None,
    sampler: Word = "tpe",
    pruner: Word = "median",
    metric: Word = "validation_accuracy",
    epochs: Number = None,
    images: Share = None,
    overrides: Override = (),
    storage: Address = None,
    top: HowMany = 3,
    seeds: HowMany = 3,
    sampler_seed: HowMany = 0,
    skip_unreadable: bool = False,
    quiet: bool = False,
) -> None:
    """Search a space by validation alone, re-run the best on fresh seeds, then score the winner on the test set, once.

    The same command goes on where a search was stopped. On another machine, with the folder on a shared disk or with
    the same --storage, it joins.

    Args:
        recipe: Name (see rungs list) or path of a TOML file.
        space: What is searched: a name (see rungs list spaces) or the path of a TOML file.
        data: Another source of images than the recipe's.
        out: Folder (default: searches/RECIPE-SPACE-DIGEST).
        trials: How many in all, on all machines (default: 30; with --sampler grid all its points).
        workers: Trials trained at once here (default: 1 on a GPU, else as many as there are cores, at most 4);
            0: in this process, for a debugger.
        sampler: tpe, random, grid or gp.
        pruner: median, hyperband or none: what ends a trial early that falls behind.
        metric: validation_accuracy or validation_loss, of a trial's best epoch.
        epochs: Of each trial and re-run; schedules change in proportion.
        images: Share of the training images that each trial uses, above 0 and at most 1.
        overrides: Change a field of the recipe, below all trials (repeatable).
        storage: Any storage of Optuna's: sqlite:///FILE, postgresql://…, mysql://… (default: a journal in the folder).
        top: How many of the best trials are re-run on fresh seeds.
        seeds: Fresh seeds for each of these and for the recipe as it was.
        sampler_seed: Of the sampler; the recipe's own seed trains.
        skip_unreadable: Leave unreadable files out instead of stopping.
        quiet: Show errors and nothing else.
    """
    from rungs.cli import tune_commands

    options: dict[str, object] = {
        "data": data,
        "trials": trials,
        "sampler": sampler,
        "pruner": pruner,
        "metric": metric,
    }
    options |= {"epochs": epochs, "images": images, "storage": storage, "top": top, "seeds": seeds}
    options |= {"sampler_seed": sampler_seed, "folder": out, "skip_unreadable": skip_unreadable}
    tune_commands.tune(recipe, space, overrides, options, workers, quiet=quiet)


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
    from rungs.cli import bench_commands
    from rungs.recipe import toml as recipes

    chosen = recipes.choose(recipe, overrides, data=data)
    bench_commands.bench(chosen, out, quiet=quiet, seconds=seconds, skip_unreadable=skip_unreadable)


def guard(folder: Positional[Path] = Path("runs"), /, json: bool = False) -> None:
    """Say how often each test set was opened by the runs and studies in a folder, by whom and what for.

    Args:
        folder: Folder of runs, of climbs or of searches, however deep (default: runs).
        json: Print everything as JSON.
    """
    from rungs.cli import guard_commands

    guard_commands.guard(folder, as_json=json)


def compare(runs: Runs, /, out: Where = None, json: bool = False) -> None:
    """Compare runs with the first: better, worse, or not to be told apart, and why.

    Runs of one recipe with different seeds are taken together. Comparing by the test set is a use of it: it is noted in
    the log of each run.

    Args:
        runs: Run folders, two or more; FOLDER:RUNG is a rung of a climb, with all of its seeds.
        out: Folder of record and report (default: comparisons/A-vs-B).
        json: Print the record as JSON, without its pictures.
    """
    from rungs.cli import compare_commands

    compare_commands.compare(runs, out, as_json=json)


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
    from rungs.cli import rates_commands

    how = {"data": data, "seed": seed, "steps": steps, "low": low, "high": high, "seeds": seeds, "checks": checks}
    rates_commands.lr_find(recipe, overrides, out, quiet=quiet, skip_unreadable=skip_unreadable, **how)


def diagnose(
    run: Positional[Path],
    /,
    try_: Try = False,
    seeds: Number = None,
    epochs: Number = None,
    images: Share = None,
    jobs: Number = None,
    only: Rules = (),
    data: Data = None,
    json: bool = False,
) -> None:
    """Say what is wrong with a run, on what evidence, and the command that cures it; with --try, what that buys.

    Args:
        run: Folder of a run that has ended.
        try_: Train the run as it was and each cure, with several seeds, and say what the cures bought.
        seeds: Seeds of each, from 0 (default: 3).
        epochs: Of the run's recipe; cures and schedules change in proportion.
        images: Share of the training images to use, above 0 and at most 1.
        jobs: Trainings at once (default: 1 on a GPU, else as many as there are cores, at most 4);
            0: in this process, for a debugger.
        only: Try the cure of this finding only (repeatable).
        data: Another source of images than the run's.
        json: Print the findings as JSON.
    """
    from rungs.cli import diagnose_commands

    options = {"seeds": seeds, "epochs": epochs, "images": images, "jobs": jobs, "only": only, "data": data}
    diagnose_commands.require_one_form(json, [(f"--{flag}", value) for flag, value in options.items()], try_)
    if try_:
        diagnose_commands.try_cures(run, {**options, "seeds": 3 if seeds is None else seeds})
    else:
        diagnose_commands.diagnose(run, as_json=json)
