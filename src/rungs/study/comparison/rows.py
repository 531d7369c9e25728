"""Differences between candidates, as rows of a table: fields of their recipes, code, machine and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rungs.recipe.identity import NO_RESULT, flat
from rungs.recipe.roles import has_role
from rungs.report import format as fmt
from rungs.run.record import RunRecord
from rungs.study.comparison.candidates import Group
from rungs.study.comparison.record import Row

NONE = "none"


def fields(groups: Sequence[Group]) -> tuple[Row, ...]:
    """Return the fields of the recipes, dotted, in which the candidates differ, with the value in each."""
    tables = [flat(msgspec.to_builtins(group.recipe)) for group in groups]
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = [
        Row(name=key, values=tuple(shown(table.get(key)) for table in tables))
        for key in keys
        if not has_role(key, "seed", *NO_RESULT)
    ]
    seeds = Row(name="seed", values=tuple(_joined(group, lambda r: str(r.recipe.seed)) for group in groups))
    return tuple(row for row in (seeds, *rows) if len(set(row.values)) > 1)


def shown(value: Any) -> str:
    """Return a value as written in a recipe; a list of tables as their names and fields."""
    if value is None:
        return NONE
    if isinstance(value, list | tuple) and value and all(isinstance(one, dict) for one in value):
        return "; ".join(_table(one) for one in value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode().replace(",", ", ")


def _table(table: dict[str, Any]) -> str:
    rest = " ".join(f"{name}={shown(value)}" for name, value in table.items() if name != "name")
    return f"{table.get('name', '')} {rest}".strip()


def others(groups: Sequence[Group]) -> tuple[Row, ...]:
    """Return what else differs: the code, the machine, the images."""
    kinds: tuple[tuple[str, Callable[[RunRecord], str]], ...] = (
        ("code", lambda record: "; ".join(record.code)),
        ("device", lambda record: record.environment.device),
        ("precision", lambda record: record.environment.precision),
        ("cores", lambda record: str(record.environment.cores)),
        ("training images", lambda record: fmt.count(sum(record.data.counts.get("train", ())))),
        ("validation images", lambda record: fmt.count(sum(record.data.counts.get("validation", ())))),
        ("test images", lambda record: fmt.count(sum(record.data.counts.get("test", ())))),
        ("ended", lambda record: record.ending),
        ("kept epoch", lambda record: str(record.best_epoch or NONE)),
    )
    rows = [Row(name=name, values=tuple(_joined(group, of) for group in groups)) for name, of in kinds]
    return tuple(row for row in rows if len(set(row.values)) > 1)


def _joined(group: Group, of: Callable[[RunRecord], str]) -> str:
    return ", ".join(dict.fromkeys(of(run.record) for run in group.runs))
