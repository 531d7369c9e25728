"""The tables of a bench, for the terminal and the page: speeds, and time by phase and operation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rungs.report import format as fmt
from rungs.run.record import Finding
from rungs.study.bench.record import PHASES, BenchRecord, Kind, Point, Spread, Work
from rungs.study.bench.words import rate, seconds, ways


def verdict(record: BenchRecord) -> str:
    """Return a sentence on the shares of the ceiling that were reached."""
    training, inference = (fmt.percent(record.own(kind).share.median, 0) for kind in PHASES)
    ceiling = f"the chip's ceiling, a matrix product of {rate(record.ceilings.matmul.median)}"
    return f"Training reaches {training} and inference {inference} of {ceiling}."


def merits(record: BenchRecord) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and quartiles of the key figures."""
    ceilings = record.ceilings
    matmul, copy = ceilings.matmul, ceilings.copy
    size = fmt.shape((ceilings.matmul_size,) * 2)
    yield f"ceiling: matrix product, {ceilings.precision}", rate(matmul.median), f"{size}; {_rates(matmul)}"
    low, high = (fmt.size(round(value)) for value in (copy.low, copy.high))
    yield "ceiling: copy", f"{fmt.size(round(copy.median))}/s", f"{fmt.size(ceilings.copy_bytes)}; {low} to {high}/s"
    kinds: tuple[tuple[Kind, Work], ...] = (("training", record.training), ("inference", record.inference))
    for kind, work in kinds:
        own = record.own(kind)
        yield f"{kind}, batch of {own.batch_size}", f"{own.images_per_s:,.0f} images/s", _batch(own)
        yield "  share of the matrix product", fmt.percent(own.share.median, 0), _shares(own.share)
        bound = work.bound_s * own.batch_size / own.seconds.median
        done = f"{rate(own.flops_per_s)}; {fmt.flops(round(work.flops))} per image"
        yield "  share of the same operations at the ceilings", fmt.percent(bound, 0), done
    yield "peak memory", fmt.size(record.peak_memory_bytes), "of the GPU" if record.on_gpu else "of the process"


def _rates(spread: Spread) -> str:
    return f"{spread.low / 1e9:.3g} to {spread.high / 1e9:.3g} GFLOP/s"


def _shares(spread: Spread) -> str:
    return f"{100 * spread.low:.0f} to {fmt.percent(spread.high, 0)}, {fmt.many(spread.n, 'round')}"


def _batch(point: Point) -> str:
    spread = point.seconds
    return f"{seconds(spread.median)} per batch, {seconds(spread.low)} to {seconds(spread.high)}, n = {spread.n}"


def phase_rows(record: BenchRecord) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield batch, phase, share, median and quartiles of the recipe's own batches."""
    for kind in PHASES:
        own = record.own(kind)
        for i, phase in enumerate(own.phases):
            what = f"{kind}, batch of {own.batch_size}" if i == 0 else ""
            between = f"{seconds(phase.seconds.low)} to {seconds(phase.seconds.high)}"
            yield what, phase.name, fmt.percent(phase.share, 1), seconds(phase.seconds.median), between


def batch_rows(record: BenchRecord) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield kind, size, images/s, share of the ceiling, its quartiles, and the time of a batch."""
    for point in record.points:
        size = f"{point.batch_size}{' (recipe)' if point.own else ''}"
        share = (
            fmt.percent(point.share.median, 0),
            f"{100 * point.share.low:.0f} to {fmt.percent(point.share.high, 0)}",
        )
        yield point.kind, size, f"{point.images_per_s:,.0f}", *share, seconds(point.seconds.median)


def lever_rows(record: BenchRecord) -> Iterator[tuple[str, str, str]]:
    """Yield what a lever compares, what the recipe's way gains, and the quartiles or why it was not measured."""
    for lever in record.levers:
        gain = lever.gain
        if gain is None:
            yield ways(lever), "", f"not measured: {lever.why_not}"
        else:
            yield ways(lever), f"{gain.median:.2f}", f"{gain.low:.2f} to {gain.high:.2f}, {fmt.many(gain.n, 'round')}"


def summary(record: BenchRecord, findings: Sequence[Finding]) -> RenderableType:
    """Return the result of a bench for the terminal."""
    machine = record.environment
    where = f"{machine.device}, {fmt.many(record.threads, 'thread')}, {machine.precision}"
    shown = [_table(f"{record.recipe.name} on {where}", ("", "measured", "spread"), merits(record), bold=1)]
    phases = ("time by phase", "", "share", "per batch", "quartiles")
    shown.append(_table("", phases, phase_rows(record), bold=2))
    operations = ("operations of a training step", "share", "in torch")
    rows = ((row.kind, fmt.percent(row.share, 1), ", ".join(row.names[:2])) for row in record.operations)
    shown.append(_table("", operations, rows, bold=1))
    batches = ("batches", "images", "images/s", "of the ceiling", "quartiles", "per batch")
    shown.append(_table("", batches, batch_rows(record), bold=3))
    if record.levers:
        shown.append(_table("", ("levers: this recipe / other way", "speed", "spread"), lever_rows(record), bold=1))
    advice = [_advice(finding) for finding in findings]
    left_out = [Text(f"not measured: {words}", style="dim") for words in record.left_out]
    return Group(*shown, *left_out, *advice)


def _table(title: str, heads: Sequence[str], rows: Iterator[Sequence[str]], *, bold: int) -> Table:
    table = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE, pad_edge=False)
    for i, head in enumerate(heads):
        left = i == 0 or head in ("", "spread", "in torch")
        table.add_column(head, justify="left" if left else "right", style="bold" if i == bold else "", no_wrap=i < 2)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _advice(finding: Finding) -> Text:
    colour = {"warning": "yellow", "note": "blue", "good": "green"}[finding.level]
    text = Text.assemble((f"{finding.title}. ", f"bold {colour}"), finding.text)
    return text.append(f"\n  try {finding.cure}", style="bold") if finding.cure else text
