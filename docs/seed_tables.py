"""The tables of docs/seeds.md: the claims of a ladder, all its rungs, and where its cells were trained."""

from __future__ import annotations

from dataclasses import dataclass

from rungs.recipe.spec import Claim
from rungs.report import format as fmt
from rungs.report import metric
from rungs.report.metric import with_tolerance
from rungs.run.record import Estimate
from rungs.study.ladder import origins
from rungs.study.ladder import words as facts
from rungs.study.ladder.record import Answer, LadderRecord, RungRecord
from rungs.study.ladder.spec import Ladder, seeds_of


@dataclass(frozen=True)
class Progress:
    """How many of a rung's planned cells have ended."""

    ended: int
    planned: int

    @property
    def all_ended(self) -> bool:
        """Whether the rung's numbers count."""
        return self.ended >= self.planned

    @property
    def words(self) -> str:
        """ "running: 1 of 3 cells"."""
        return f"running: {self.ended} of {fmt.many(self.planned, 'cell')}"


def progress(record: LadderRecord, name: str) -> Progress:
    """Return how far a rung is, by the plan in its record."""
    planned = {rung.name: rung.seeds for rung in record.planned}
    return Progress(_ended(record, name), planned.get(name, 1))


def running(ladder: Ladder, record: LadderRecord | None, name: str) -> str:
    """Return "running: 1 of 3 cells", or "" where all planned cells of a rung have ended."""
    found = Progress(0 if record is None else _ended(record, name), seeds_of(ladder)[name])
    return "" if found.all_ended else found.words


def _ended(record: LadderRecord, name: str) -> int:
    cells = [cell for rung in record.rungs if rung.name == name for cell in rung.cells]
    return sum(cell.has_ended for cell in cells)


def by_name(record: LadderRecord, name: str) -> RungRecord:
    """Return the rung of this name."""
    return next(rung for rung in record.rungs if rung.name == name)


# --- claims -------------------------------------------------------------------------------------------


def claims(ladder: Ladder, record: LadderRecord | None) -> str:
    """Return a table with a row for each claim, and for each claimed change."""
    rows = [
        "| rung | claimed | measured | n | verdict (where we expect a run like theirs) |",
        "|---|---|---|---|---|",
    ]
    for rung in ladder.rungs:
        if running(ladder, record, rung.name):
            rows += [_row(rung.name, claim(ladder, record, rung.name, one.metric)) for one in rung.claims]
        elif record is not None:
            rows += [_row(rung.name, _answered(by_name(record, rung.name), one)) for one in _answers(record, rung.name)]
    return "\n".join(rows) + "\n"


def _row(name: str, cells: tuple[str, ...]) -> str:
    return f"| `{name}` | {' | '.join(cells)} |"


def _answers(record: LadderRecord, name: str) -> tuple[Answer, ...]:
    return by_name(record, name).answers


def claim(ladder: Ladder, record: LadderRecord | None, name: str, measure: str) -> tuple[str, str, str, str]:
    """Return a claim, its measurement, the number of seeds, and the verdict."""
    if words := running(ladder, record, name):
        stated = next(one for rung in ladder.rungs if rung.name == name for one in rung.claims if one.metric == measure)
        return _stated(stated), words, fmt.NOTHING, fmt.NOTHING
    assert record is not None
    found = next(one for one in _answers(record, name) if one.metric == measure and one.kind == "value")
    return _answered(by_name(record, name), found)


def _stated(one: Claim) -> str:
    return f"{metric.metric_words(one.metric)} {with_tolerance(one.metric, one.value, one.tolerance)}"


def _answered(rung: RungRecord, one: Answer) -> tuple[str, str, str, str]:
    stated = f"{facts.claim_metric(one)} {facts.claim_words(one)}"
    if one.kind == "change":
        measured = fmt.NOTHING if one.measured is None else metric.difference(one.metric, one.measured)
        interval = ""
    else:
        measured = fmt.NOTHING if one.measured is None else metric.value(one.metric, one.measured)
        interval = _interval(one.metric, rung.estimates.get(one.metric))
    n = fmt.NOTHING if one.metric == "parameters" else fmt.many(one.n, "seed")
    return stated, f"**{measured}**{f' ({interval})' if interval else ''}", n, verdict(one)


def verdict(one: Answer) -> str:
    """Return the verdict, with the interval in which we expect what one run like theirs would have."""
    words, change = facts.claim_verdict(one), one.kind == "change"
    if one.verdict in ("better", "worse"):
        words = {"better": "more", "worse": "less"}[words] if change else words
        words += " than claimed"
    if one.low is None or one.high is None:
        return words
    between = metric.difference_bounds if change else metric.between
    return f"{words} ({between(one.metric, one.low, one.high)})"


def _interval(measure: str, estimate: Estimate | None) -> str:
    return "" if estimate is None else metric.bounds(measure, estimate.low, estimate.high)


# --- all rungs ----------------------------------------------------------------------------------------


def rungs(ladder: Ladder, record: LadderRecord) -> str:
    """Return a table with a row for each rung."""
    several = len(origins.origins(record)) > 1
    rows = ["| rung | validation accuracy | test accuracy | n | difference | verdict |", "|---|---|---|---|---|---|"]
    waiting: dict[str, list[str]] = {}
    for rung in ladder.rungs:
        if words := running(ladder, record, rung.name):
            waiting.setdefault(words, []).append(f"`{rung.name}`")
            continue
        found = by_name(record, rung.name)
        mark = f" ({origins.marks(record, found)})" if several else ""
        parts = [_accuracy(found, part) for part in ("validation_accuracy", "test_accuracy")]
        n = str(max((e.n for e in found.estimates.values()), default=0))
        rows.append(f"| `{rung.name}`{mark} | {' | '.join((*parts, n, *_difference(ladder, record, found)))} |")
    rows += [
        f"| {', '.join(names)} | {words}{' each' * (len(names) > 1)} | | | | |" for words, names in waiting.items()
    ]
    return "\n".join(rows) + "\n"


def _accuracy(rung: RungRecord, part: str) -> str:
    estimate = rung.estimates.get(part)
    if estimate is None:
        return facts.how_ended(rung) or fmt.NOTHING
    return f"{metric.value(part, estimate.mean)} ({_interval(part, estimate)})"


def _difference(ladder: Ladder, record: LadderRecord, rung: RungRecord) -> tuple[str, str]:
    found = rung.difference
    if found is None or running(ladder, record, found.against):
        return fmt.NOTHING, fmt.NOTHING
    ends = metric.difference_bounds(found.metric, found.low, found.high)
    part = "" if found.metric == "validation_accuracy" else ", on test"
    between = origins.across(record, rung)
    size = f"{metric.difference(found.metric, found.mean)}{f' ({ends})' if ends else ''}"
    return f"{size} to `{found.against}`{part}{f'; {between}' if between else ''}", found.verdict


def folded(title: str, body: str) -> str:
    """Return text that a reader unfolds."""
    return f"<details><summary>{title}</summary>\n\n{body}\n</details>\n"


def provenance(ladder: Ladder, record: LadderRecord | None) -> str:
    """Return how the record was made: commands, machines, versions, time."""
    command = f"rungs climb {ladder.name}"
    if record is None:
        cells = sum(seeds_of(ladder).values())
        return f"Command: `{command}`; running: 0 of {fmt.many(cells, 'cell')}.\n"
    left = {name: len(seeds) for name, seeds in origins.missing(record).items()}
    state = f" Running: {sum(left.values())} cells of {fmt.many(len(left), 'rung')} are left." if left else ""
    where = " ".join(f"{one[0].upper()}{one[1:]}." for one in origins.places(record))
    days = dict.fromkeys((record.started[:10], record.finished[:10]))
    n = facts.seeds_note(record).replace("bars: ", "")
    return f"Trained by `{record.command}`, {' to '.join(days)}. {where}{state} Intervals: {n}.\n"
