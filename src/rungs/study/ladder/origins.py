"""Where the cells of a ladder were trained: on which machines, by which versions of the code."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase

from msgspec.structs import replace

from rungs.report import format as fmt
from rungs.run.record import Environment
from rungs.study.ladder.record import CellRecord, LadderRecord, RungRecord
from rungs.study.ladder.words import named

MOST_NAMED = 6
"""Rungs with missing cells that are named; the rest is counted."""


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
    seconds: float  # of these cells together, from start to end


def machine_words(environment: Environment) -> str:
    """Return "AMD EPYC, 2 cores, fp32"."""
    ranks = f", {environment.ranks} ranks" if environment.ranks > 1 else ""
    return f"{environment.device}, {fmt.many(environment.cores, 'core')}{ranks}, {environment.precision}"


def stamped(record: LadderRecord) -> LadderRecord:
    """Return a record whose cells all say where they were trained.

    Those of earlier versions do not. They get the study's machine; and its commit, which was that of its first cell,
    where they were trained by the same version of the code.
    """
    usual, commit = machine_words(record.environment), record.environment.commit or ""
    first = next((cell.code for rung in record.rungs for cell in rung.cells if cell.code), ())

    def stamp(cell: CellRecord) -> CellRecord:
        if cell.machine or not cell.code:
            return cell
        return replace(cell, machine=usual, commit=commit if cell.code == first else "")

    rungs = (replace(rung, cells=tuple(map(stamp, rung.cells))) for rung in record.rungs)
    return replace(record, rungs=tuple(rungs))


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
            seconds=sum(cell.own_s for cell in cells),
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
    """Return the marks of a rung's cells: "A" or "A (seed 0), B (seeds 1, 2)"; "" where the ladder has one origin."""
    seeds: dict[str, list[int]] = {}
    for seed, mark in sorted(_by_seed(record, rung.name).items()):
        seeds.setdefault(mark, []).append(seed)
    if len(seeds) == 1:
        return next(iter(seeds))
    return ", ".join(f"{mark} ({named(record, of)})" for mark, of in seeds.items())


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
    ended = {rung.name: {cell.seed for cell in rung.cells if cell.has_ended} for rung in record.rungs}
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
    rungs = [f"{name} ({named(record, seeds)})" for name, seeds in left.items()]
    more = len(rungs) - MOST_NAMED + 1
    shown = rungs if len(rungs) <= MOST_NAMED else [*rungs[: MOST_NAMED - 1], f"{more} more rungs"]
    n = sum(map(len, left.values()))
    return f"{n} of {fmt.many(planned, 'cell')} {'is' if n == 1 else 'are'} not trained: {fmt.listed(shown)}"


def places(record: LadderRecord) -> tuple[str, ...]:
    """Return for each origin "A: 12 cells on AMD EPYC, 2 cores, fp32; rungs 0.1.0+…; 1 h 11 min summed over cells"."""
    return tuple(
        f"{f'{one.mark}: ' if one.mark else ''}{fmt.many(one.cells, 'cell')} on {one.machine}; {', '.join(one.code)}"
        f"{f'; commit {fmt.listed(one.commits)}' if one.commits else ''}; {fmt.seconds(one.seconds)} summed over cells"
        for one in origins(record)
    )
