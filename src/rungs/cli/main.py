"""The command line: flags, and handlers that hand over. Heavy imports stay inside the handlers."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import tyro
from tyro.conf import DisallowNone, FlagCreatePairsOff, Positional, PositionalMetavarFromFieldName, UseAppendAction

from rungs.cli.study import bench, climb, compare, diagnose, guard, lr_find, tune
from rungs.errors import UserError
from rungs.recipe.flags import Data, Family, Files, Number, Override, Part, Where


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
    from rungs.cli import run as cli_run
    from rungs.recipe import toml as recipes
    from rungs.training import train as training_train
    from rungs.training.screen import pick_screen

    chosen = recipes.choose(recipe, overrides, data=data, seed=seed)
    if resume and out is not None:
        training_train.require_run(out)
    folder = out or training_train.default_folder(chosen, resume=resume)
    record = training_train.train(
        chosen,
        folder=folder,
        resume=resume,
        skip_unreadable=skip_unreadable,
        tensorboard=tensorboard,
        screen=pick_screen(quiet=quiet),
    )
    cli_run.finish(record, folder, quiet=quiet)


def evaluate(
    run: Positional[Path],
    /,
    data: Data = None,
    part: Part = None,
    model: Where = None,
    skip_unreadable: bool = False,
    json: bool = False,
) -> None:
    """Score a run's weights on any set with the same classes.

    Args:
        run: Run folder or weights.safetensors.
        data: Source of images (default: the recipe's own).
        part: Part of the source (default: test where there is one, else all).
        model: Python file of the run's net, where that is your own; no file is loaded that you do not name.
        skip_unreadable: Leave unreadable files out instead of stopping.
        json: Print the whole result as JSON.
    """
    from rungs.cli import run as cli_run
    from rungs.ship import predict as ship_predict

    net = ship_predict.load(run, model=model)
    result = net.evaluate(data, part, skip_unreadable=skip_unreadable)
    cli_run.evaluation(result, net.classes, as_json=json)


def predict(run: Positional[Path], files: Files, /, model: Where = None, json: bool = False, csv: bool = False) -> None:
    """Print label and probability for image files.

    Args:
        run: Run folder or weights.safetensors.
        files: Images (JPEG, PNG, WebP, GIF, BMP).
        model: Python file of the run's net, where that is your own; no file is loaded that you do not name.
        json: Print JSON with all probabilities.
        csv: Print CSV with all probabilities.
    """
    from rungs.cli import run as cli_run
    from rungs.ship import predict as ship_predict

    if json and csv:
        raise UserError("two forms asked for", where="--json --csv", do="give one of them")
    cli_run.predictions(ship_predict.load(run, model=model), files, "json" if json else "csv" if csv else "table")


def report(run: Positional[Path], /) -> None:
    """Rebuild report.html and the figures of a run or a study from its record alone.

    Args:
        run: Folder of a run, a climb, a bench, a search, a comparison or a range test of rates.
    """
    from rungs.cli import run as cli_run

    cli_run.report(run)


def data(source: Positional[str], /, image_size: Number = None, sheet: Where = None) -> None:
    """Say what is in a source of images, and which files are unreadable, empty, duplicate or doubtful.

    Args:
        source: cifar10[:PATH], cifar100, digits, folder:PATH, parquet:PATH, hub:OWNER/NAME.
        image_size: Decode to this many pixels (default: the source's own size, else 64).
        sheet: Where to write the contact sheet (default: out/contact-NAME.png).
    """
    from rungs.cli import show

    show.contents(source, image_size, sheet)


def list_(family: Positional[Family] = "all", /) -> None:
    """List recipes, ladders, spaces, models, data sources and augmentations.

    Args:
        family: One of recipes, ladders, spaces, models, data, augments.
    """
    from rungs.cli import show

    show.families(family)


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
    from rungs.cli import show
    from rungs.recipe import toml as recipes

    chosen = recipes.choose(recipe, overrides, data=data)
    show.show(chosen, image_size, classes, out)
    if augment:
        show.show_augmented(chosen, out)


def doctor() -> None:
    """Say what this machine offers: device, precision, cores, versions, and where data is found."""
    from rungs.cli import show

    show.doctor()


CONFIG = (UseAppendAction, FlagCreatePairsOff, PositionalMetavarFromFieldName, DisallowNone)
COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "climb": climb,
    "tune": tune,
    "lr-find": lr_find,
    "bench": bench,
    "compare": compare,
    "evaluate": evaluate,
    "predict": predict,
    "report": report,
    "diagnose": diagnose,
    "guard": guard,
    "data": data,
    "list": list_,
    "show": show_,
    "doctor": doctor,
}


THE_SAME = "go on with the same command"
GOING_ON = {"train": f"{THE_SAME} and --resume", "climb": THE_SAME, "tune": THE_SAME, "diagnose": THE_SAME}
"""What takes up again a command that was stopped; the others begin anew."""


def main() -> None:
    """Run the command line; exit 2 on bad input, 130 or 143 on a signal, 1 on a training that diverged."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows only ASCII
    try:
        if sys.argv[1:] in (["-h"], ["--help"]):
            print(overview(), flush=True)
            return
        tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="rungs", description=DESCRIPTION, config=CONFIG)
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt as interrupt:
        signum = getattr(interrupt, "signum", None)
        kept = f"; what is done is kept: {again}" if signum and (again := GOING_ON.get("".join(sys.argv[1:2]))) else ""
        _say(f"{str(interrupt) or 'interrupted'}{kept}")
        sys.exit(128 + (signum or signal.SIGINT))
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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

    from rungs.cli.terminal import is_first_rank

    if is_first_rank():
        Console(stderr=True, soft_wrap=True, highlight=False, emoji=False).print(markup)


DESCRIPTION = "Climb from a baseline to an image classifier that you can trust, one measured change at a time."
