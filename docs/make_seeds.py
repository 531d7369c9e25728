"""Write docs/seeds.md, its pictures and the rows of docs/measured.md from the records in results/.

Run it as `python docs/make_seeds.py`.

docs/seeds.toml holds the story of each seed and the questions to ask about its records; every number, verdict and
sentence about a measurement comes from a record.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import make_searches

from rungs.report import format as fmt
from rungs.report import metric
from rungs.report.style import save
from rungs.run.record import from_json
from rungs.study.ladder import words as facts
from rungs.study.ladder.record import LadderRecord, RungRecord
from rungs.study.ladder.staircase import staircase
from rungs.study.ladder.tables import markdown
from rungs.study.search.slices import over_pairs

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "seeds"


def main() -> None:
    """Write the page and its pictures."""
    PICTURES.mkdir(exist_ok=True)
    for path in sorted((ROOT / "results").glob("*.json")):
        save(staircase(read(path.stem)), PICTURES / path.stem)
        (PICTURES / f"{path.stem}.svg").unlink()  # a page on the web shows the PNG
    for path in sorted((ROOT / "results" / "searches").glob("*.json")):
        save(over_pairs(make_searches.read(path.stem)), PICTURES / path.stem)
        (PICTURES / f"{path.stem}.svg").unlink()
    (ROOT / "docs" / "seeds.md").write_text(page(), encoding="utf-8")
    measured = ROOT / "docs" / "measured.md"
    measured.write_text(with_rows(measured.read_text(encoding="utf-8")), encoding="utf-8")


def read(name: str) -> LadderRecord:
    """Return a record of results/."""
    path = ROOT / "results" / f"{name}.json"
    return from_json(path.read_bytes(), LadderRecord, path)


def stories() -> dict[str, Any]:
    """Return the content of docs/seeds.toml."""
    return tomllib.loads((ROOT / "docs" / "seeds.toml").read_text(encoding="utf-8"))


def with_rows(measured: str) -> str:
    """Return docs/measured.md with one row for each seed between its two marks."""
    start, end = "<!-- seeds -->\n", "<!-- /seeds -->"
    before, rest = measured.split(start)
    heads = "| seed, and one rung of it | claimed | measured | n | verdict |\n|---|---|---|---|---|\n"
    rows = "".join(row(seed) for seed in stories()["seeds"])
    return f"{before}{start}{heads}{rows}{end}{rest.split(end)[1]}"


def row(seed: dict[str, Any]) -> str:
    """Return the row of a seed: its best claim next to the measurement."""
    headline = seed["headline"]
    if "recipe" in headline:  # a single run in full, where the ladder's study is smaller than the seed's
        shown = headline["claimed"], headline["measured"], headline["n"], headline["verdict"]
        return f"| [{seed['title']}](seeds.md): `{headline['recipe']}`, the recipe | {' | '.join(shown)} |\n"
    record, name = read(headline["record"]), headline["rung"]
    rung = by_name(record, name)
    found = next(one for one in rung.answers if one.metric == headline["metric"])
    estimate = rung.estimates[found.metric]
    words, interval = metric.metric_words(found.metric), metric.bounds(found.metric, estimate.low, estimate.high)
    measured = f"**{metric.value(found.metric, estimate.mean)}**{f' ({interval})' if interval else ''}"
    verdict = facts.claim_verdict(found)
    if found.verdict == "not comparable":
        measured, verdict = fmt.NOTHING, f"not comparable: {'; '.join(record.reduced)}"
    seeds = fmt.many(estimate.n, "seed")
    cells = (f"[{seed['title']}](seeds.md): `{name}`", f"{words} {facts.claim_words(found)}", measured, seeds, verdict)
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    """Return the whole page."""
    texts = stories()
    return texts["intro"].strip() + "\n" + "".join(chapter(one) for one in texts["seeds"])


def chapter(seed: dict[str, Any]) -> str:
    """Return the chapter of one seed: its story, then each record with its picture, table and questions."""
    lines = [f"\n## {seed['title']}\n", f"{seed['story'].strip()}\n"]
    for part in seed["records"]:
        record = read(part["record"])
        lines += [f"\n### {part['title']}\n", f"{provenance(record)}\n"]
        if "before" in part:
            lines.append(f"{part['before'].strip()}\n")
        lines += [f"![Accuracy of each rung, with claims](seeds/{part['record']}.png)\n", markdown(record)]
        answers = [answer(record, question) for question in part.get("questions", ())]
        if answers:
            lines += ["**What was true, and what was not**\n", "\n".join(answers) + "\n"]
        if "after" in part:
            lines.append(f"{part['after'].strip()}\n")
    for part in seed.get("searches", ()):
        lines += make_searches.section(part)
    return "\n".join(lines)


def provenance(record: LadderRecord) -> str:
    """Return how the record was made."""
    machine = record.environment
    n = fmt.many(len(record.seeds), "seed")
    made = f"`{record.command}`, {n} a rung, {fmt.seconds(record.train_s)} of training in all"
    where = f"{machine.device} ({machine.cores} cores, {machine.precision}), torch {machine.torch}"
    return f"{made}, on an {where}, {record.started[:10]} to {record.finished[:10]}. {facts.headline(record)}"


def answer(record: LadderRecord, question: dict[str, str]) -> str:
    """Return a bullet: the author's words, whether they hold here, and the record's evidence."""
    names = question.get("rungs", ())
    verdict = f"**{verdict_on(record, question['expects'], *names)}** " if "expects" in question else ""
    return f"- *{question['says']}* {verdict}{ASK[question['ask']](record, *names)}"


def verdict_on(record: LadderRecord, expected: str, *names: str) -> str:
    """Return whether all rungs differ from the rung they build on as expected, by a "gain" or a "loss"."""
    found = [difference.verdict for name in names if (difference := by_name(record, name).difference)]
    other = {"gain": "loss", "loss": "gain"}[expected]
    if f"real {other}" in found:
        return "Not true here." if set(found) == {f"real {other}"} else "Not true of all."
    if found and set(found) == {f"real {expected}"}:
        return "True here."
    if "undecided" in found or not found:
        return f"Undecided with {fmt.many(len(record.seeds), 'seed')}."
    return "No such difference here."


def by_name(record: LadderRecord, name: str) -> RungRecord:
    """Return the rung of this name."""
    return next(rung for rung in record.rungs if rung.name == name)


def compared(record: LadderRecord, *names: str) -> str:
    """Return how each rung compares with the one that it builds on."""
    sentences = []
    for name in names:
        difference = by_name(record, name).difference
        if difference is None:
            sentences.append(f"`{name}`: {facts.how_ended(by_name(record, name)) or 'not measured'}")
        else:
            part = "" if difference.metric == "validation_accuracy" else " on test"
            sentences.append(f"`{name}` against `{difference.against}`{part}: {difference.words}")
    return "; ".join(sentences) + "."


def ranked(record: LadderRecord, *names: str) -> str:
    """Rank rungs by their mean validation accuracy, with test accuracy and steps to convergence."""
    rungs = [by_name(record, name) for name in names]
    rungs.sort(key=lambda rung: -(facts.mean(rung, "validation_accuracy") or 0))
    cells = []
    for rung in rungs:
        value, test = (rung.estimates.get(f"{part}_accuracy") for part in ("validation", "test"))
        if value is None or test is None:
            cells.append(f"`{rung.name}` {facts.how_ended(rung)}")
        else:
            steps = f"{facts.mean(rung, 'convergence_steps'):,.0f} steps"
            cells.append(f"`{rung.name}` {100 * value.mean:.1f} (test {100 * test.mean:.1f}, {steps})")
    return f"From best to worst on validation, in % (test, and steps until it converged): {', '.join(cells)}."


def steps(record: LadderRecord, *names: str) -> str:
    """Return how many steps each rung needs to converge, and the cost of a step."""
    rungs = [rung for name in names if facts.finished(rung := by_name(record, name))]
    numbers = [facts.mean(rung, "convergence_steps") or 0 for rung in rungs]
    costs = [facts.mean(rung, "step_s") or 0 for rung in rungs]
    times = [fmt.seconds(facts.mean(rung, "train_s") or 0) for rung in rungs]
    cells = [
        f"`{rung.name}` {number:,.0f} steps of {1000 * cost:.0f} ms ({time} in all)"
        for rung, number, cost, time in zip(rungs, numbers, costs, times, strict=True)
    ]
    ratio = (
        f"steps differ by a factor of {max(numbers) / min(numbers):.1f}, their cost by {max(costs) / min(costs):.1f}"
    )
    return f"{', '.join(cells)}: {ratio}."


def findings(record: LadderRecord, *names: str) -> str:
    """Return the report's reading of each rung's curves, with its warnings."""
    sentences = []
    for name in names:
        rung = by_name(record, name)
        kinds = [finding.title.lower() for finding, _ in facts.found(rung) if finding.level == "warning"]
        named = f" The report warns of: {', '.join(kinds)}." if kinds else ""
        sentences.append(f"`{name}`: {rung.cells[0].interpretation}{named}")
    return " ".join(sentences)


def maxima(record: LadderRecord, *names: str) -> str:
    """Compare the maximum over the epochs on the test set with the epoch that validation chose."""
    sentences = []
    for name in names:
        rung = by_name(record, name)
        highest, chosen = facts.mean(rung, "highest_test_accuracy"), facts.mean(rung, "test_accuracy")
        if highest is not None and chosen is not None:
            optimism = f"is optimistic by {100 * (highest - chosen):.2f} points"
            sentences.append(
                f"`{name}`: {fmt.percent(highest)} is the maximum over epochs on test, {fmt.percent(chosen)} is what "
                f"validation chose, so the maximum {optimism}"
            )
    return "; ".join(sentences) + "."


def floor(record: LadderRecord, *names: str) -> str:
    """Return the smallest training loss of each rung and the floor of a softmax applied twice."""
    lowest = {name: min(min(c.curves["train_loss"]) for c in facts.finished(by_name(record, name))) for name in names}
    cells = ", ".join(f"`{name}` {value:.3f}" for name, value in lowest.items())
    return f"The smallest training loss: {cells}; the floor of a softmax applied twice is ln(1 + 9/e) = 1.461."


ASK = {
    "compared": compared,
    "ranked": ranked,
    "steps": steps,
    "findings": findings,
    "maxima": maxima,
    "floor": floor,
}
"""The questions that seeds.toml may ask about a record."""


if __name__ == "__main__":
    main()
