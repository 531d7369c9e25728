"""The Python API: the same power as the command line.

from rungs import climb, load, train
record = train("lab-003", ["optim.lr=0.005"], data="folder:photos", folder="runs/mine")
print(load("runs/mine").predict(["cat.jpg"]))

if __name__ == "__main__":  # its worker processes read this file again
    ladder = climb("first-cnn", data="digits", seeds=3)
"""

from __future__ import annotations

import multiprocessing
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, count, takewhile
from pathlib import Path

from rungs import ladder as ladders
from rungs.diagnose import examine
from rungs.diagnose.interpretation import interpretation
from rungs.errors import UserError, did_you_mean
from rungs.evaluate.device import open_device
from rungs.recipe import identity, shorten
from rungs.recipe import toml as recipes
from rungs.recipe.spec import Recipe
from rungs.report import ladder_html, run_page
from rungs.run import looks
from rungs.run.folder import RunDir, write_whole
from rungs.run.record import EpochRow, RunRecord, to_json
from rungs.ship.bundle import load_weights
from rungs.ship.predict import Classifier
from rungs.study import climb as study
from rungs.study.bench import page as bench_html
from rungs.study.bench.advice import advise
from rungs.study.bench.measure import Tell, measure
from rungs.study.bench.record import BenchDir, BenchRecord
from rungs.study.ladder.record import LadderDir, LadderRecord
from rungs.study.summary import summarise
from rungs.training.device import open_world
from rungs.training.interrupt import Interrupts
from rungs.training.run import run_recipe
from rungs.training.screen import Screen


def train(
    recipe: str | Path | Recipe,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seed: int | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    skip_unreadable: bool = False,
    tensorboard: bool = False,
    screen: Screen | None = None,
    keep_going: Callable[[EpochRow], bool] = lambda row: True,
) -> RunRecord:
    """Train a recipe, write its run folder and its report, and return its record.

    Args:
        recipe: See `rungs.recipe.toml.choose`, as for `overrides`, `data` and `seed`.
        overrides: Changed fields.
        data: Another source.
        seed: Another seed.
        folder: Where; by default `runs/NAME-DIGEST`, a new one each time unless `resume`.
        resume: Go on with the run in the folder.
        skip_unreadable: Leave unreadable files out, and say so in the record.
        tensorboard: Also write events for TensorBoard.
        screen: What to show; nothing by default.
        keep_going: Asked after each epoch; answer False to stop.

    Raises:
        UserError: Anything that the caller can mend.
        rungs.training.interrupt.Interrupted: A signal; the run can be resumed.
    """
    chosen = recipes.choose(recipe, overrides, data=data, seed=seed)
    place = RunDir(folder or default_folder(chosen, resume=resume))
    with open_world() as world:
        record = run_recipe(
            chosen,
            place,
            world,
            resume=resume,
            skip_unreadable=skip_unreadable,
            tensorboard=tensorboard,
            screen=screen if world.is_main else None,
            keep_going=keep_going,
        )
        if world.is_main:
            seen = looks.read(place.looks)
            run_page.write(record, examine(record, seen), place, interpretation(record), seen)
    return record


@dataclass(frozen=True)
class Climb:
    """A ladder as it will be climbed: its cells, where they go, and how it differs from the ladder's file."""

    ladder: ladders.Ladder
    cells: tuple[ladders.Cell, ...]  # to train
    others: tuple[ladders.Cell, ...]  # of rungs left out: reported where they were trained before
    folder: LadderDir
    command: str
    reduced: tuple[str, ...]


def prepare_climb(
    ladder: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seeds: int | None = None,
    only: Sequence[str] = (),
    epochs: int | None = None,
    images: float | None = None,
    folder: str | Path | None = None,
) -> Climb:
    """Read a ladder and decide what is trained and where; nothing is written. Arguments as of `climb`.

    Raises:
        UserError: No such ladder or rung, a wrong field or value, no seeds, no epochs, no images.
    """
    chosen, usual = ladders.load(ladder)
    require_something(seeds, epochs, images)
    for one in overrides:
        ladders.require_no_business(one, f"--set {one}")
    base = recipes.choose(usual, overrides, data=data)
    require_known(base.data.source)
    every = ladders.cells(chosen, base, seeds=seeds, epochs=epochs, images=images)
    cells = ladders.cells(chosen, base, seeds=seeds, only=only, epochs=epochs, images=images)
    reduced = shorten.reductions(usual, base, overrides, epochs=epochs, images=images)
    options: list[tuple[str, object]] = [("--data", data), *(("--set", one) for one in overrides), ("--seeds", seeds)]
    options += [*(("--only", one) for one in only), ("--epochs", epochs), ("--images", images)]
    words = ["rungs", "climb", str(ladder)] + [w for flag, v in options if v is not None for w in (flag, str(v))]
    default = Path("climbs") / (f"{chosen.name}-{shorten.digest(base, epochs, images)}" if reduced else chosen.name)
    return Climb(
        ladder=chosen,
        cells=tuple(cells),
        others=tuple(cell for cell in every if cell not in cells),
        folder=LadderDir(folder or default),
        command=shlex.join(words),
        reduced=reduced,
    )


def require_something(seeds: int | None, epochs: int | None, images: float | None) -> None:
    """Refuse to climb with nothing to train.

    Raises:
        UserError: No seeds, no epochs, or no share of the images.
    """
    for flag, number in (("--seeds", seeds), ("--epochs", epochs)):
        if number is not None and number < 1:
            raise UserError(f"{number} leaves nothing to train", where=flag, do="give 1 or more")
    if images is not None and not 0 < images <= 1:
        do = "give a number above 0, at most 1"
        raise UserError(f"{images:g} is no share of the images", where="--images", do=do)


def climb(
    ladder: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    seeds: int | None = None,
    only: Sequence[str] = (),
    epochs: int | None = None,
    images: float | None = None,
    jobs: int | None = None,
    pack: int | None = None,
    folder: str | Path | None = None,
    skip_unreadable: bool = False,
    tensorboard: bool = False,
    tell: study.Tell = lambda outcome, done, of: None,
) -> LadderRecord:
    """Train every cell of a ladder that is not trained yet, write its record and its report, and return the record.

    Args:
        ladder: A shipped ladder's name or the path of a TOML file.
        overrides: Changed fields of the base recipe, below all rungs.
        data: Another source.
        seeds: How many, from 0; by default the ladder's own number.
        only: Names of rungs; all by default.
        epochs: Of the base recipe; other rungs and all schedules change in proportion.
        images: Share of the training images of every rung, above 0, at most 1.
        jobs: Cells (or packs) at once; by default one on a GPU, else as many as there are cores, at most 4.
        pack: Seeds of a rung that one process trains as one net of nets, where they can be packed; by default 1.
        folder: Where; by default `climbs/NAME`, with a digest behind it where the study is not the ladder file's.
        skip_unreadable: Leave unreadable files out.
        tensorboard: Also write events into each run folder.
        tell: Called with each outcome.

    Raises:
        UserError: Anything that the caller can mend.
        rungs.training.interrupt.Interrupted: SIGINT or SIGTERM; workers keep what they have, the same call goes on.
    """
    options = {"data": data, "seeds": seeds, "only": only, "epochs": epochs, "images": images, "folder": folder}
    plan = prepare_climb(ladder, overrides, **options)  # type: ignore[arg-type]
    jobs = study.default_jobs() if jobs is None else jobs
    pack = 1 if pack is None else pack
    require_startable(("--jobs", jobs, study.JOBS_ALLOWED), ("--pack", pack, study.PACK_ALLOWED))
    plan.folder.prepare()
    with plan.folder.locked():
        _require_same_study(plan)
        with Interrupts().heeded():
            outcomes = study.climb(
                plan.cells,
                plan.folder.path,
                jobs=jobs,
                pack=pack,
                skip_unreadable=skip_unreadable,
                tensorboard=tensorboard,
                tell=tell,
            )
        outcomes += study.trained_before(plan.others, plan.folder.path)
        record = summarise(plan.ladder, outcomes, command=plan.command, reduced=plan.reduced)
        write_whole(plan.folder.record, to_json(record))
        _note_comparisons(record, plan.folder)
        ladder_html.write(record, plan.folder.path)
    return record


def _note_comparisons(record: LadderRecord, folder: LadderDir) -> None:
    """Log the rungs that were compared by their test scores, once each."""
    known = {look.purpose for look in looks.read(folder.looks)}
    for rung in record.rungs:
        found = rung.difference
        if found is not None and found.metric.startswith("test"):
            purpose = f"{rung.name} against {found.against}, whose validation images are others; {found.n} seeds"
            images = sum(record.data.counts.get("test", ()))
            if purpose not in known:
                looks.note(folder.looks, "compared", purpose, images, record.data.hashes.get("test", ""))


def require_startable(*numbers: tuple[str, int, int], what: str = "climb") -> None:
    """Refuse what would start itself again in each of its workers, or on each rank, and numbers out of range.

    Args:
        numbers: Flag, its number, and the largest allowed.
        what: A climb, or a tune.

    Raises:
        UserError: It is one of these.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # what Python itself asks before it starts one
        said = f"a worker of a {what} read your script again and came to its {what}(…)"
        do = 'put what starts the climb under  if __name__ == "__main__":'.replace("climb", what)
        raise UserError(said, where=f"rungs.{what}", do=do)
    if "WORLD_SIZE" in os.environ:
        raise UserError(f"a {what} starts its own processes", where="torchrun", do=f"start it alone: rungs {what} …")
    for flag, number, most in numbers:
        if not 1 <= number <= most:
            raise UserError(f"{number} is not from 1 to {most}", where=flag, do="give a number between these")


def _require_same_study(plan: Climb) -> None:
    """Refuse to write over the record of another study."""
    if not plan.folder.record.is_file():
        return
    before = plan.folder.read_record()
    if (before.name, before.reduced) != (plan.ladder.name, plan.reduced):
        what = f"this folder holds another study, made by: {before.command}"
        raise UserError(what, where=plan.folder.path, do="give another --out")


def require_known(source: str) -> None:
    """Refuse a data source that does not exist, before any process is started for it.

    Raises:
        UserError: No such kind of source.
    """
    from rungs.data import DATASETS

    name = source.partition(":")[0]
    if name not in DATASETS:
        raise UserError(f"no data source {name!r}", where=source, do=did_you_mean(name, list(DATASETS)))


SHORTEST_S, LONGEST_S = 1, 3600
"""Budgets of a bench that make sense."""


def bench(
    recipe: str | Path | Recipe = "lab-003",
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    folder: str | Path | None = None,
    seconds: float = 30,
    skip_unreadable: bool = False,
    tell: Tell = lambda text: None,
) -> BenchRecord:
    """Measure how fast a recipe trains and infers here, beside what the chip can do; write the record and its report.

    Args:
        recipe: See `rungs.recipe.toml.choose`, as for `overrides` and `data`.
        overrides: Changed fields.
        data: Another source.
        folder: Where; by default `runs/bench-NAME`, a new one each time.
        seconds: Budget of the measuring, from 1 to 3600; slow batch sizes are left out to keep to it.
        skip_unreadable: Leave unreadable files out.
        tell: Called with what happens now.

    Raises:
        UserError: Anything that the caller can mend.
    """
    chosen = recipes.choose(recipe, overrides, data=data)
    if not SHORTEST_S <= seconds <= LONGEST_S:
        do = "give a number between these"
        raise UserError(f"{seconds:g} is not from {SHORTEST_S} to {LONGEST_S}", where="--seconds", do=do)
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError("a bench measures one process", where="torchrun", do="start it alone: rungs bench …")
    place = BenchDir(folder or bench_folder(chosen))
    place.require_free()
    require_known(chosen.data.source)
    place.prepare()
    with place.locked(), open_world() as world:
        record = measure(chosen, world, seconds=seconds, skip_unreadable=skip_unreadable, tell=tell)
        write_whole(place.record, to_json(record))
        bench_html.write(record, advise(record), place)
    return record


def bench_folder(recipe: Recipe) -> Path:
    """Return `runs/bench-NAME`; where that is taken the next number behind it."""
    first = Path("runs") / f"bench-{recipe.name}"
    candidates = chain([first], (first.with_name(f"{first.name}-{n}") for n in count(2)))
    return next(path for path in candidates if not path.exists())


def load(run: str | Path) -> Classifier:
    """Load the net of a run folder (or of a weights' file) to predict with.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = Path(run)
    place = RunDir(path if path.is_dir() else path.parent)
    return Classifier(load_weights(run, open_device()), place.looks if place.holds_run() else None)


def require_run(folder: Path) -> None:
    """Refuse to resume where there is nothing: a mistyped folder would start a whole training.

    Raises:
        UserError: The folder holds no run.
    """
    if not RunDir(folder).holds_run():
        raise UserError("no run to resume here", where=folder, do="check --out, or leave --resume out to start")


def default_folder(recipe: Recipe, *, resume: bool = False) -> Path:
    """Return `runs/NAME-DIGEST`; where that is taken the next number behind it, or with `resume` the last taken.

    Raises:
        UserError: With `resume`, there are runs of this recipe's name and all have other settings.
    """
    first = Path("runs") / f"{recipe.name}-{identity.digest(recipe)[:6]}"
    candidates = chain([first], (first.with_name(f"{first.name}-{n}") for n in count(2)))
    taken = list(takewhile(Path.exists, candidates))
    runs = [path for path in taken if RunDir(path).holds_run()]
    if resume and runs:
        return runs[-1]
    others = sorted(str(path) for path in first.parent.glob(f"{recipe.name}-*") if RunDir(path).holds_run())
    if resume and others:
        do = f"give the same --set, --data and --seed as then, or its folder: --out {' or '.join(others[-3:])}"
        raise UserError(f"no run of {recipe.name} with these settings to resume", where=first.parent, do=do)
    return first.with_name(f"{first.name}-{len(taken) + 1}") if taken else first
