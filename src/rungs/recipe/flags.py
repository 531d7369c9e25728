"""Options of a command: one frozen dataclass gives its flags, its Python signature and the echoed command.

A field's type holds what tyro needs beyond Python's types; the text below the field is its help. Fields with
`compare=False` set where, how fast or how verbosely a command works, not its result: they are not echoed.
"""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_args, get_type_hints

from tyro.conf import Positional, arg

from rungs.recipe import spec
from rungs.recipe.spec import Recipe

RecipeName = Positional[Annotated[str | Path | Recipe, arg(constructor=str, metavar="RECIPE", help_behavior_hint="")]]
PathOrName = Positional[Annotated[str | Path, arg(constructor=str, help_behavior_hint="")]]
Override = Annotated[tuple[str, ...], arg(name="set", metavar="FIELD=VALUE", help_behavior_hint="")]
Data = Annotated[str | None, arg(metavar="SOURCE", help_behavior_hint="")]
Column = Annotated[str | None, arg(metavar="COLUMN", help_behavior_hint="")]
Layout = Annotated[spec.Layout | None, arg(metavar=f"{{{','.join(get_args(spec.Layout))}}}", help_behavior_hint="")]
Where = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
Folder = Annotated[str | Path | None, arg(name="out", constructor=Path, metavar="PATH", help_behavior_hint="")]
Out = Annotated[str | Path, arg(name="out", constructor=Path, metavar="PATH", help_behavior_hint="")]
Number = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
HowMany = Annotated[int, arg(metavar="N")]
Seconds = Annotated[float, arg(metavar="SECONDS")]
Rate = Annotated[float, arg(metavar="RATE")]
OptionalRate = Annotated[float | None, arg(metavar="RATE", help_behavior_hint="")]
Share = Annotated[float | None, arg(metavar="SHARE", help_behavior_hint="")]
Word = Annotated[str, arg(metavar="NAME")]
Rungs = Annotated[tuple[str, ...], arg(metavar="RUNG", help_behavior_hint="")]
Rules = Annotated[tuple[str, ...], arg(metavar="RULE", help_behavior_hint="")]
Address = Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="")]
Try = Annotated[bool, arg(name="try")]
Part = Annotated[
    Literal["train", "validation", "test", "all"] | None,
    arg(metavar="{train,validation,test,all}", help_behavior_hint=""),
]
Files = Positional[Annotated[tuple[Path, ...], arg(help_behavior_hint="")]]
Runs = Positional[Annotated[tuple[str | Path, ...], arg(metavar="RUN", help_behavior_hint="")]]
Climbs = Positional[Annotated[tuple[str | Path, ...], arg(metavar="CLIMB", help_behavior_hint="")]]
Family = Literal["all", "recipes", "ladders", "spaces", "models", "data", "augments"]

_POSITIONAL = get_args(Positional[int])[1]  # tyro's mark
P = ParamSpec("P")
Options = TypeVar("Options")
Plan = TypeVar("Plan")
R = TypeVar("R")


def door(
    name: str, options: Callable[P, Options], prepare: Callable[[Options], Plan], run: Callable[[Plan], R]
) -> Callable[P, R]:
    """Return a function of the Python API that takes the arguments of a dataclass of options.

    Args:
        name: Of the function, `rungs.NAME`.
        options: The dataclass.
        prepare: From options to a plan; nothing is written.
        run: From the plan to its result; its docstring is the function's.
    """

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return run(prepare(options(*args, **kwargs)))

    signature = inspect.signature(options)
    fields = getattr(options, "__name__", "")
    call.__doc__ = f"{inspect.getdoc(run)}\n\nThe arguments are the fields of `{fields}`, which also raises UserError."
    call.__name__ = call.__qualname__ = name
    call.__signature__ = signature.replace(return_annotation=inspect.signature(run).return_annotation)  # type: ignore[attr-defined]
    return call


def echo(command: str, options: Any, *, only: tuple[str, ...] | None = None) -> str:
    """Return the command line that repeats a command; defaults are left out.

    Args:
        command: The name of the command, "climb".
        options: An instance of a dataclass of options.
        only: Names of the fields to echo; by default all with `compare=True`.
    """
    hints = get_type_hints(type(options), include_extras=True)
    words: list[str] = []
    for field in dataclasses.fields(options):
        value, kind = getattr(options, field.name), getattr(hints[field.name], "__metadata__", ())
        if not field.compare or (only is not None and field.name not in only):
            continue
        if _POSITIONAL in kind:
            words += [_written(one) for one in _each(value)]
        elif value != field.default:
            given = next((one.name for one in kind if getattr(one, "name", None)), field.name)
            words += _flag(f"--{given.replace('_', '-')}", value)
    return shlex.join(["rungs", command, *words])


def _flag(flag: str, value: object) -> list[str]:
    if value is True:
        return [flag]
    return [word for one in _each(value) for word in (flag, _written(one))]


def _each(value: object) -> Sequence[object]:
    """Return the values of a flag that may be repeated; in Python they may be a list, too."""
    return value if isinstance(value, tuple | list) else (value,)


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.12g}"
    return str(getattr(value, "name", value) if not isinstance(value, Path) else value)
