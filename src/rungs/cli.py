"""The command line: flags, and handlers that hand over. Heavy imports stay inside the handlers."""

from __future__ import annotations

import errno
import io
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import tyro
from tyro.conf import DisallowNone, FlagCreatePairsOff, Positional, PositionalMetavarFromFieldName, UseAppendAction, arg

from rungs.errors import UserError

Override = Annotated[tuple[str, ...], arg(name="set", metavar="FIELD=VALUE", help_behavior_hint="")]
Data = Annotated[str | None, arg(metavar="SOURCE", help_behavior_hint="")]
Where = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
Number = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
Seconds = Annotated[float, arg(metavar="SECONDS")]
Share = Annotated[float | None, arg(metavar="SHARE", help_behavior_hint="")]
Rungs = Annotated[tuple[str, ...], arg(metavar="RUNG", help_behavior_hint="")]
Part = Annotated[
    Literal["train", "validation", "test", "all"] | None,
    arg(metavar="{train,validation,test,all}", help_behavior_hint=""),
]
Files = Positional[Annotated[tuple[Path, ...], arg(help_behavior_hint="")]]
Family = Literal["all", "recipes", "ladders", "models", "data", "augments"]


def train(
    recipe: Positional[str],
    /,
    data: Data = None,
    out: Where = None,
    seed: Number = None,
    overrides: Override = (),
    resume: bool = False,
    skip_unreadable: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
) -> None:
    """Train a recipe; leaves a run folder with weights, record and report.

    Args:
        recipe: Name (see rungs list) or path of a TOML file.
        data: Source of images: cifar10[:PATH], cifar100, digits, folder:PATH, parquet:PATH, hub:OWNER/NAME.
        out: Run folder (default: runs/NAME-DIGEST).
        seed: Seed of split, weights, order and augmentation.
        overrides: Change a field of the recipe, e.g. --set optim.lr=0.05 (repeatable).
        resume: Go on where the run in the folder stopped.
        skip_unreadable: Leave unreadable files out instead of stopping; the record names them.
        tensorboard: Also write events for TensorBoard.
        quiet: Show errors and nothing else.
    """
    from rungs import api, commands
    from rungs import recipe as recipes
    from rungs.training.screen import pick_screen

    chosen = recipes.choose(recipe, overrides, data=data, seed=seed)
    if resume and out is not None:
        api.require_run(out)
    folder = out or api.default_folder(chosen, resume=resume)
    record = api.train(
        chosen,
        folder=folder,
        resume=resume,
        skip_unreadable=skip_unreadable,
        tensorboard=tensorboard,
        screen=pick_screen(quiet=quiet),
    )
    commands.finish(record, folder, quiet=quiet)


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


def evaluate(
    run: Positional[Path],
    /,
    data: Data = None,
    part: Part = None,
    skip_unreadable: bool = False,
    json: bool = False,
) -> None:
    """Score a run's weights on any set with the same classes.

    Args:
        run: Run folder or weights.safetensors.
        data: Source of images (default: the recipe's own).
        part: Part of the source (default: test where there is one, else all).
        skip_unreadable: Leave unreadable files out instead of stopping.
        json: Print the whole result as JSON.
    """
    from rungs import api, commands

    net = api.load(run)
    result = net.evaluate(data, part, skip_unreadable=skip_unreadable)
    commands.evaluation(result, net.classes, as_json=json)


def predict(run: Positional[Path], files: Files, /, json: bool = False, csv: bool = False) -> None:
    """Print label and probability for image files.

    Args:
        run: Run folder or weights.safetensors.
        files: Images (JPEG, PNG, WebP, GIF, BMP).
        json: Print JSON with all probabilities.
        csv: Print CSV with all probabilities.
    """
    from rungs import api, commands

    if json and csv:
        raise UserError("two forms asked for", where="--json --csv", do="give one of them")
    commands.predictions(api.load(run), files, "json" if json else "csv" if csv else "table")


def report(run: Positional[Path], /) -> None:
    """Rebuild report.html and the figures of a run, a climb or a bench from its record alone.

    Args:
        run: Folder of a run, of a climb or of a bench.
    """
    from rungs import commands

    commands.report(run)


def data(source: Positional[str], /, image_size: Number = None, sheet: Where = None) -> None:
    """Say what is in a source of images, and which files are unreadable, empty, duplicate or doubtful.

    Args:
        source: cifar10[:PATH], cifar100, digits, folder:PATH, parquet:PATH, hub:OWNER/NAME.
        image_size: Decode to this many pixels (default: the source's own size, else 64).
        sheet: Where to write the contact sheet (default: out/contact-NAME.png).
    """
    from rungs import commands

    commands.contents(source, image_size, sheet)


def list_(family: Positional[Family] = "all", /) -> None:
    """List recipes, ladders, models, data sources and augmentations.

    Args:
        family: One of recipes, ladders, models, data, augments.
    """
    from rungs import commands

    commands.families(family)


def show_(
    recipe: Positional[str],
    /,
    data: Data = None,
    overrides: Override = (),
    image_size: Number = None,
    classes: Number = None,
    out: Path = Path("out"),
    augment: bool = False,
) -> None:
    """Show a recipe: resolved, its layers as table and drawing, its augmentations as pictures.

    Args:
        recipe: Name or path.
        data: Another source of images.
        overrides: Change a field, e.g. --set model.stem=imagenet (repeatable).
        image_size: Pixels to draw the net for (default: the recipe's, else the source's where that is known, else 64).
        classes: Classes to draw the net for (default: the source's where that is known, else 10).
        out: Folder for the pictures.
        augment: Also write a contact sheet of augmented images (loads the data).
    """
    from rungs import commands
    from rungs import recipe as recipes

    chosen = recipes.choose(recipe, overrides, data=data)
    commands.show(chosen, image_size, classes, out)
    if augment:
        commands.show_augmented(chosen, out)


def doctor() -> None:
    """Say what this machine offers: device, precision, cores, versions, and where data is found."""
    from rungs import commands

    commands.doctor()


CONFIG = (UseAppendAction, FlagCreatePairsOff, PositionalMetavarFromFieldName, DisallowNone)
COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "climb": climb,
    "bench": bench,
    "evaluate": evaluate,
    "predict": predict,
    "report": report,
    "data": data,
    "list": list_,
    "show": show_,
    "doctor": doctor,
}


def main() -> None:
    """Run the command line; exit 2 on bad input, 130 or 143 on a signal, 1 on a training that diverged."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows only ASCII
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(overview())
        return
    try:
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="rungs", description=DESCRIPTION, config=CONFIG)
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt as interrupt:
        signum = getattr(interrupt, "signum", None)
        resume = "" if "climb" in sys.argv[1:2] else " and --resume"
        kept = f"; what is done is kept: go on with the same command{resume}" if signum else ""
        _say(f"{str(interrupt) or 'interrupted'}{kept}")
        sys.exit(128 + (signum or signal.SIGINT))
    except OSError as error:
        if error.errno == errno.EPIPE:
            sys.exit(0)
        if error.errno != errno.ENOSPC and error.filename is None:
            raise
        _fail(f"{error.filename or 'output'}: {error.strerror}\n  -> make room or rights, or choose another place")


def overview() -> str:
    """Return what `rungs --help` says; tyro would take twice as long to find it out."""
    commands = [f"  {name:<10}{(do.__doc__ or '').partition(chr(10))[0]}" for name, do in COMMANDS.items()]
    usage = f"usage: rungs [-h] {{{','.join(COMMANDS)}}} ..."
    return "\n".join([usage, "", DESCRIPTION, "", *commands, "", "More of each: rungs COMMAND --help"])


def _fail(message: str) -> NoReturn:
    from rich.markup import escape

    _say(f"[bold red]error[/] {escape(message)}")
    sys.exit(2)


def _say(markup: str) -> None:
    """Print on standard error, of several ranks only the first."""
    from rich.console import Console

    from rungs.commands import is_first_rank

    if is_first_rank():
        Console(stderr=True, soft_wrap=True, highlight=False, emoji=False).print(markup)


DESCRIPTION = "Climb from a baseline to an image classifier that you can trust, one measured change at a time."
