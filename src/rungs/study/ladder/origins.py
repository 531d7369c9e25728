"""Where the cells of a ladder were trained: on which machines, by which versions of the code."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase

from msgspec.structs import replace

from rungs.report import format as fmt
from rungs.run.record import Environment
from rungs.study.ladder.record import CellRecord, LadderRecord, RungRecord


@dataclass(frozen=True)
class Origin:
    """A machine and a version of the code, and what they trained.

    Commits that compute alike are one version: `code` holds a hash of the parts that affect results.
    """

    mark: str  # "A"; "" where a ladder has a single origin
    machine: str
    code: tuple[str, ...]  # versions of rungs and torch; several: a cell was resumed by other code
    commits: tuple[str, ...]
    cells: int
    train_s: float  # of these cells together, from start to end


def machine_words(environment: Environment) -> str:
    """Return "AMD EPYC, 2 cores, fp32"."""
    ranks = f", {environment.ranks} ranks" if environment.ranks > 1 else ""
    return f"{environment.device}, {fmt.many(environment.cores, 'core')}{ranks}, {environment.precision}"


def stamped(record: LadderRecord) -> LadderRecord:
    """Return a record whose cells all say where they were trained.

    Those of earlier versions do not: they get the study's machine and commit, which were those of its first cell.
    """
    usual, commit = machine_words(record.environment), record.environment.commit or ""
    rungs = tuple(
        replace(
            rung,
            cells=tuple(
                cell if cell.machine or not cell.code else replace(cell, machine=usual, commit=commit)
                for cell in rung.cells
            ),
        )
        for rung in record.rungs
    )
    return replace(record, rungs=rungs)


def origins(record: LadderRecord) -> tuple[Origin, ...]:
    """Return every origin of a record's cells, in order of first use."""
    found: dict[tuple[str, tuple[str, ...]], list[CellRecord]] = {}
    for rung in stamped(record).rungs:
        for cell in rung.cells:
            if cell.machine:
                found.setdefault(_key(cell), []).append(cell)
    return tuple(
        Origin(
            mark=_mark(i) if len(found) > 1 else "",
            machine=machine,
            code=code,
            commits=tuple(dict.fromkeys(cell.commit for cell in cells if cell.commit)),
            cells=len(cells),
            train_s=sum(cell.values.get("wall_s", 0.0) for cell in cells),
        )
        for i, ((machine, code), cells) in enumerate(found.items())
    )


def _key(cell: CellRecord) -> tuple[str, tuple[str, ...]]:
    return cell.machine, cell.code


def _mark(i: int) -> str:
    """Return A to Z, then A2, B2 and so on."""
    turn, letter = divmod(i, len(ascii_uppercase))
    return ascii_uppercase[letter] + (str(turn + 1) if turn else "")


def marks(record: LadderRecord, rung: RungRecord) -> str:
    """Return the marks of a rung's cells, each once: "A, B"; "" where the ladder has a single origin."""
    return ", ".join(dict.fromkeys(mark for _, mark in sorted(_by_seed(record, rung.name).items()) if mark))


def across(record: LadderRecord, rung: RungRecord) -> str:
    """Return between which origins a rung's difference compares: "A against B"; "" where all pairs share theirs."""
    if rung.difference is None:
        return ""
    mine, base = (_by_seed(record, name) for name in (rung.name, rung.difference.against))
    pairs = [(mine[seed], base[seed]) for seed in sorted(mine.keys() & base.keys())]
    return ", ".join(dict.fromkeys(f"{one} against {two}" for one, two in pairs if one != two))


def _by_seed(record: LadderRecord, name: str) -> dict[int, str]:
    """Return the mark of each cell of a rung, by seed."""
    known = {(one.machine, one.code): one.mark for one in origins(record)}
    rungs = [rung for rung in stamped(record).rungs if rung.name == name]
    return {cell.seed: known[_key(cell)] for rung in rungs for cell in rung.cells if cell.machine}


def missing(record: LadderRecord) -> dict[str, tuple[int, ...]]:
    """Return the planned seeds of each rung that have not ended, for the rungs that have any."""
    ended = {
        rung.name: {cell.seed for cell in rung.cells if cell.status in ("finished", "diverged")}
        for rung in record.rungs
    }
    left = {
        rung.name: tuple(seed for seed in range(rung.seeds) if seed not in ended.get(rung.name, ()))
        for rung in record.planned
    }
    return {name: seeds for name, seeds in left.items() if seeds}


def missing_words(record: LadderRecord) -> str:
    """Return "8 of 36 cells are not trained: adam (seeds 1, 2), …"; "" where none is missing or none was planned."""
    left, planned = missing(record), sum(rung.seeds for rung in record.planned)
    if not left:
        return ""
    seeds = {name: f"{'seed' if len(of) == 1 else 'seeds'} {', '.join(map(str, of))}" for name, of in left.items()}
    named = [f"{name} ({words})" for name, words in seeds.items()]
    shown = (
        named if len(named) <= MOST_NAMED else [*named[: MOST_NAMED - 1], f"{len(named) - MOST_NAMED + 1} more rungs"]
    )
    n = sum(map(len, left.values()))
    return f"{n} of {fmt.many(planned, 'cell')} {'is' if n == 1 else 'are'} not trained: {fmt.listed(shown)}"


MOST_NAMED = 6
"""Rungs with missing cells that are named; the rest is counted."""


def places(record: LadderRecord) -> tuple[str, ...]:
    """Return for each origin "A: 12 cells on AMD EPYC, 2 cores, fp32; rungs 0.1.0+7d1774f70e80; 1 h 11 min"."""
    return tuple(
        f"{f'{one.mark}: ' if one.mark else ''}{fmt.many(one.cells, 'cell')} on {one.machine}; {', '.join(one.code)}"
        f"{f'; commit {fmt.listed(one.commits)}' if one.commits else ''}; {fmt.seconds(one.train_s)}"
        for one in origins(record)
    )
