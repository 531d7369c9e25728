"""The sections of docs/seeds.md about searches: a table of two fields, the re-runs, and the seed's claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rungs.report import format as fmt
from rungs.run.record import from_json
from rungs.study.search import words as search_words
from rungs.study.search.record import Finalist, SearchRecord, TrialRecord
from rungs.study.search.verdict import current

ROOT = Path(__file__).parents[1]
RATE, BATCH = "optim.lr", "training.batch_size"
NOISE = 2.0
"""Standard errors by which two equal trials differ in one case of twenty (about 1.96)."""
CONVERGED = 0.99
"""A trial has converged in the first epoch whose validation accuracy is 99 % of its best."""


def read(name: str) -> SearchRecord:
    """Return a record of results/searches; what an earlier version did not write is computed from its finals."""
    path = ROOT / "results" / "searches" / f"{name}.json"
    return current(from_json(path.read_bytes(), SearchRecord, path))


def section(part: dict[str, Any]) -> list[str]:
    """Return the lines about one search: provenance, table and re-runs."""
    record = read(part["search"])
    lines = [f"### {part['title']}\n", f"{part['before'].strip()}\n"]
    lines += [f"![Validation accuracy over rate and batch](seeds/{part['search']}.png)\n", table(record)]
    return [*lines, finals(record), f"{provenance(record)}\n"]


def answers(part: dict[str, Any]) -> list[str]:
    """Return a bullet for each question that a search answers."""
    record = read(part["search"])
    return [f"- *{question['says']}* {ASK[question['ask']](record)}" for question in part["questions"]]


def provenance(record: SearchRecord) -> str:
    """Return how the record was made."""
    machine = record.environment
    many = fmt.many(sum(trial.state != "failed" for trial in record.trials), "trial")
    made = f"`{record.command}`: {many} of one seed, then {len(record.finalists)} finalists of {_seeds(record)} each"
    where = f"{machine.device} ({machine.precision}), torch {machine.torch}, {record.started[:10]}"
    validation = fmt.count(sum(record.data.counts["validation"]))
    return f"{made}; {where}. Scored on {validation} validation images; the search never opened the test set."


def _seeds(record: SearchRecord) -> str:
    return fmt.many(record.finalists[0].rerun.n, "fresh seed")


def at(record: SearchRecord, rate: float, batch: int) -> TrialRecord:
    """Return the trial at a point of the grid."""
    found = [t for t in record.trials if t.params[BATCH] == batch and abs(float(t.params[RATE]) / rate - 1) < 0.01]
    return max(found, key=lambda trial: trial.value or 0.0)


def rates(record: SearchRecord) -> list[float]:
    """Return the learning rates of the grid, in increasing order."""
    found = sorted({float(trial.params[RATE]) for trial in record.trials})
    return [rate for i, rate in enumerate(found) if i == 0 or rate > 1.01 * found[i - 1]]


def batches(record: SearchRecord) -> list[int]:
    """Return the batch sizes of the grid, in increasing order."""
    return sorted({int(trial.params[BATCH]) for trial in record.trials})


def table(record: SearchRecord) -> str:
    """Return the best validation accuracy of each point, in %, and its epoch."""
    heads = ["batch", *(f"rate {rate:.2g}" for rate in rates(record))]
    rows = [f"| {' | '.join(heads)} |", f"|---{'|---:' * (len(heads) - 1)}|"]
    for batch in batches(record):
        cells = [cell(at(record, rate, batch)) for rate in rates(record)]
        rows.append(f"| {batch} | {' | '.join(cells)} |")
    caption = (
        "Validation accuracy in %, with one seed; in parentheses the most accurate epoch, and how many were trained. "
        "In square brackets: ended early by the search, which stops trials that do worse than others did by then. "
        "Sampling of the validation images and seed-to-seed variation (from the re-runs) can put two equal cells "
        f"{100 * noise(record):.1f} points apart."
    )
    return "\n".join([*rows, f"\n{caption}\n"])


def cell(trial: TrialRecord) -> str:
    """Return "81.3 (14 of 20)"; a pruned trial's in square brackets."""
    if trial.value is None:
        return trial.state
    curve = [value or 0.0 for value in trial.curve]
    text = f"{100 * trial.value:.1f} ({curve.index(max(curve)) + 1} of {trial.epochs})"
    return f"[{text}]" if trial.state == "pruned" else text


def noise(record: SearchRecord) -> float:
    """Return how far apart two equal trials may be, by the sampling of images and seed-to-seed variation.

    The variance of an accuracy over images, p (1 - p) / n, plus that over seeds, pooled over the finalists' re-runs.
    """
    best = max(trial.value or 0.0 for trial in record.trials)
    sds = [one.rerun.sd for one in record.finalists if one.rerun.sd is not None]
    variance = best * (1 - best) / sum(record.data.counts["validation"]) + sum(sd**2 for sd in sds) / max(1, len(sds))
    return float(NOISE * (2 * variance) ** 0.5)


def finals(record: SearchRecord) -> str:
    """Return the re-runs as a table, and the verdict."""
    heads = ["finalist", "its values", "in the search", "on fresh seeds", "corrected for the choice", "optimistic by"]
    rows = [f"| {' | '.join(heads)} |", "|---|---|---:|---:|---:|---:|"]
    rows += [f"| {' | '.join(_finalist(record, one))} |" for one in record.finalists]
    return "\n".join(rows) + f"\n\n{record.verdict}\n"


def _finalist(record: SearchRecord, one: Finalist) -> tuple[str, ...]:
    """Return the cells of a finalist; the winner's interval is that of its corrected value."""
    corrected, optimism = search_words.corrected(record, one), search_words.optimism(record, one)
    rerun, right = fmt.percent(one.rerun.mean), fmt.NOTHING
    if corrected is None:
        rerun += f" ({search_words.estimate_bounds(record, one.rerun)})"
    else:
        right = f"**{fmt.percent(corrected.mean)}** ({search_words.estimate_bounds(record, corrected)})"
    values = ", ".join(f"`{words}`" for words in one.overrides) or "the original recipe"
    by = fmt.NOTHING if optimism is None else fmt.points(optimism.mean)
    return one.name, values, fmt.percent(one.searched), rerun, right, by


def best_batch(record: SearchRecord) -> str:
    """Rank the batch sizes, each at its best learning rate."""
    best = {b: max((at(record, r, b) for r in rates(record)), key=lambda t: t.value or 0.0) for b in batches(record)}
    ranked = sorted(best.items(), key=lambda item: -(item[1].value or 0.0))
    cells = [f"{b}: {100 * (t.value or 0):.1f} at rate {float(t.params[RATE]):.2g}" for b, t in ranked]
    top = ranked[0][1].value or 0.0
    equal = [str(b) for b, t in ranked if top - (t.value or 0.0) < noise(record)]
    verdict = "no clear difference" if len(equal) > 1 else "clearly the best"
    return f"Each batch at its best rate, in %: {'; '.join(cells)}. With this much data, {_join(equal)}: {verdict}."


def best_rate(record: SearchRecord) -> str:
    """Rank the seed's three rates at its batch of 64, and name the best rate of each batch."""
    three = sorted(((at(record, rate, 64).value or 0.0, rate) for rate in (0.0001, 0.001, 0.01)), reverse=True)
    cells = ", ".join(f"{rate:g} {100 * value:.1f}" for value, rate in three)
    apart = three[0][0] - three[1][0] >= noise(record)
    verdict = f"{three[0][1]:g} is the best of these three" if apart else "the first two do not clearly differ"
    grown = {b: max(rates(record), key=lambda r, b=b: at(record, r, b).value or 0.0) for b in batches(record)}
    growth = ", ".join(f"{b}: {rate:.2g}" for b, rate in grown.items())
    return f"With batches of 64, in %: {cells}; {verdict}. The best rate of each batch: {growth}."


def extremes(record: SearchRecord) -> str:
    """Return how the smallest and the largest rates did with batches of 64."""
    low, high = at(record, rates(record)[0], 64), at(record, rates(record)[-1], 64)
    sentences = []
    for name, trial in (("smallest", low), ("largest", high)):
        curve = [value or 0.0 for value in trial.curve]
        rising = bool(curve) and curve.index(max(curve)) >= len(curve) - 2
        end = "and was still rising" if rising else "and was no longer rising"
        how = trial.ending if trial.state in ("failed", "pruned") or "diverged" in trial.ending else end
        sentences.append(
            f"the {name}, {float(trial.params[RATE]):.2g}, reached {100 * (trial.value or 0):.1f} % in {trial.epochs} "
            f"epochs ({how})"
        )
    lost = [f"{float(t.params[RATE]):.2g} with batches of {t.params[BATCH]}" for t in record.trials if t.diverged]
    diverged = f" Diverged: {_join(lost)}." if lost else " None diverged."
    return f"With batches of 64 {'; '.join(sentences)}.{diverged}"


def quick(record: SearchRecord) -> str:
    """Return how many epochs and steps each batch needs, at its best rate, to nearly reach its best."""
    images, cells = sum(record.data.counts["train"]), []
    for batch in batches(record):
        trial = max((at(record, rate, batch) for rate in rates(record)), key=lambda t: t.value or 0.0)
        curve = [value or 0.0 for value in trial.curve]
        epochs = next(i for i, value in enumerate(curve, 1) if value >= CONVERGED * max(curve))
        cells.append(f"{batch}: {epochs} epochs, {epochs * -(-images // batch):,} steps")
    return f"To 99 % of its best accuracy, at its best rate: {'; '.join(cells)}."


def _join(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


ASK = {"best_batch": best_batch, "best_rate": best_rate, "extremes": extremes, "quick": quick}
"""The questions that seeds.toml may ask about a search."""
