"""The command line: the table of commands, and the handling of errors and signals."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn

import tyro
from tyro.conf import DisallowNone, FlagCreatePairsOff, Positional, PositionalMetavarFromFieldName, UseAppendAction

import rungs
from rungs.cli.diagnose import diagnose, guard
from rungs.cli.listing import list_
from rungs.cli.run import evaluate, predict, report, train
from rungs.cli.show import data, doctor, show_
from rungs.cli.storage import cache
from rungs.cli.study import bench, climb, compare, lr_find, merge, tune
from rungs.errors import UserError, closest
from rungs.training.memory import keep_freed_memory


def completion(shell: Positional[Literal["bash", "zsh"]], /) -> None:
    """Print a script for the shell that completes commands and flags.

    Args:
        shell: Which one.
    """
    print_it = ["--tyro-print-completion", shell]
    tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="rungs", args=print_it, config=CONFIG)


CONFIG = (UseAppendAction, FlagCreatePairsOff, PositionalMetavarFromFieldName, DisallowNone)
COMMANDS: dict[str, Callable[..., None]] = {
    "train": train,
    "climb": climb,
    "merge": merge,
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
    "cache": cache,
    "doctor": doctor,
    "completion": completion,
}


RESUME = "resume with the same command"
HOW_TO_RESUME = {"train": f"{RESUME} and --resume", "climb": RESUME, "tune": RESUME, "diagnose": RESUME}
"""How to resume an interrupted command; the others start over."""


def main() -> None:
    """Run the command line; exit 2 on bad input, 130 or 143 on a signal, 1 on a training that diverged."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows only ASCII
    try:
        _run(sys.argv[1:])
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt as interrupt:
        signum = getattr(interrupt, "signum", None)
        kept = f"; progress is kept: {again}" if signum and (again := HOW_TO_RESUME.get("".join(sys.argv[1:2]))) else ""
        _say(f"{str(interrupt) or 'interrupted'}{kept}")
        sys.exit(128 + (signum or signal.SIGINT))
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        if error.errno != errno.ENOSPC and error.filename is None:
            raise
        _fail(
            f"{error.filename or 'output'}: {error.strerror}\n  -> free space, fix permissions or choose another path"
        )


def _run(words: Sequence[str]) -> None:
    """Run a command.

    Raises:
        UserError: There is no such command, or whatever it raises.
    """
    command, *others = words or ["--help"]
    if command in ("-h", "--help"):
        print(overview(), flush=True)
        sys.exit(0 if words else 2)
    elif command in ("-V", "--version"):
        print(f"rungs {rungs.__version__}", flush=True)
    elif command in COMMANDS:
        keep_freed_memory()  # before torch is loaded
        # the parser of this one command: its hints on a wrong flag name no flag of another one
        tyro.cli(COMMANDS[command], prog=f"rungs {command}", args=others, config=CONFIG)
    else:
        raise UserError(f"no command {command!r}", do=f"{closest(command, COMMANDS)}rungs --help lists all commands")


def overview() -> str:
    """Return the text of `rungs --help`."""
    commands = [f"  {name:<12}{(do.__doc__ or '').partition(chr(10))[0]}" for name, do in COMMANDS.items()]
    usage = f"usage: rungs [-h] [-V] {{{','.join(COMMANDS)}}} ..."
    return "\n".join([usage, "", DESCRIPTION, "", *commands, "", "Details: rungs COMMAND --help"])


def _fail(message: str) -> NoReturn:
    from rich.markup import escape

    _say(f"[bold red]error[/] {escape(message)}")
    sys.exit(2)


def _say(markup: str) -> None:
    """Print on standard error, on the first rank only."""
    from rich.console import Console

    from rungs.cli.terminal import is_first_rank

    if is_first_rank():
        Console(stderr=True, soft_wrap=True, highlight=False, emoji=False).print(markup)


DESCRIPTION = "Climb from a baseline to an image classifier that you can trust, one measured change at a time."
