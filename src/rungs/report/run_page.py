"""The report of a run: one HTML file that needs no network, and its figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from rungs.recipe import toml as recipes
from rungs.report import alike, evidence, layers, run_figures, run_looks, run_tables
from rungs.report import format as fmt
from rungs.report.page import Drawing, compact, lay_out
from rungs.run.folder import RunDir
from rungs.run.looks import Look, openings, own
from rungs.run.record import EvalResult, Finding, RunRecord
from rungs.run.rerun import command


def write(
    record: RunRecord,
    findings: Sequence[Finding],
    folder: RunDir,
    interpretation: str = "",
    looks: tuple[Look, ...] = (),
) -> Path:
    """Write the page of a run from its record, and return its path.

    Args:
        record: The result of the run.
        findings: What `rungs.diagnose.examine` saw in it.
        folder: Where the run lives.
        interpretation: Of its curves, by `rungs.diagnose.interpretation`.
        looks: From the run's log.
    """
    drawings = [*_drawn(record), *_evidence(findings)]
    _tidy(folder, {one.name for one in drawings})
    facts = _facts(record, findings, interpretation, own(looks, record))
    return lay_out("rungs.report/run.html", facts, drawings, folder.report)


def scored(record: RunRecord) -> tuple[str, EvalResult] | None:
    """Return the part that the report shows in detail, with its name: the test set, else validation."""
    if record.test is not None:
        return "test", record.test
    return None if record.validation is None else ("validation", record.validation)


def _drawn(record: RunRecord) -> Iterator[Drawing]:
    """Yield the figures."""
    epochs = len(record.history)
    alt = f"Loss, accuracy and learning rate over {fmt.many(epochs, 'epoch')}"
    alt += f"; the weights are those of epoch {record.best_epoch}" if record.best_epoch else ""
    yield Drawing("learning-curves", alt, run_figures.learning_curves(record))
    if detail := scored(record):
        part, result = detail
        classes = record.data.classes
        about = f"Confusion matrix of {result.n} {part} images, {len(classes)} classes"
        yield Drawing("confusion-counts", f"{about}: counts", run_figures.confusion(result, classes, normalised=False))
        yield Drawing(
            "confusion-percent", f"{about}: per cent of each true class", run_figures.confusion(result, classes, True)
        )
        alt = f"Accuracy over confidence; calibration error {result.calibration_error:.3f}"
        alt += f", with the temperature {result.scaled.calibration_error:.3f}" if result.scaled else ""
        yield Drawing("calibration", alt, run_figures.calibration(result))
    depth = fmt.many(len(record.model.layers), "layer")
    alt = f"The {depth} of {record.model.name} as a row of boxes; the table below lists them"
    yield Drawing("layers", alt, layers.layers(record.model, record.data.image_size))


def _evidence(findings: Sequence[Finding]) -> Iterator[Drawing]:
    """Yield the picture of each finding that has one, as `_drawn` does."""
    for finding in findings:
        if finding.evidence is not None:
            seen = finding.evidence
            yield Drawing(f"finding-{finding.rule}", f"{finding.title}: {evidence.alt(seen)}", evidence.draw(seen))


def _tidy(folder: RunDir, kept: Collection[str]) -> None:
    """Delete the pictures of findings that no longer apply."""
    for path in folder.figures.glob("finding-*"):
        if path.stem not in kept:
            path.unlink(missing_ok=True)


def _facts(
    record: RunRecord, findings: Sequence[Finding], interpretation: str, looks: tuple[Look, ...]
) -> dict[str, Any]:
    """Return the template's variables."""
    part, result = scored(record) or ("", None)
    return {
        "record": record,
        "findings": findings,
        "verdict": run_tables.verdict(record),
        "comparisons": run_tables.comparisons(record),
        "calibrated": run_tables.calibrated(record),
        "means": run_tables.means(result) if result else (),
        "intervals": [run_tables.recall_interval(result, k) for k in range(len(result.recall))] if result else (),
        "without_twins": alike.without_twins(record.test),
        "searched": alike.searched(record.data),
        "grouped": alike.grouped(record.data.groups) if record.data.groups else "",
        "pairs": [(pair, alike.pair(pair)) for pair in record.data.near_pairs if pair.pictures],
        "part": part,
        "result": result,
        "toml": compact(recipes.to_toml(record.recipe)),
        "monitor": _monitor(record, looks),
        "commands": {f.rule: command(record, f.cure) for f in findings if f.cure},
        "looks": run_looks.rows(looks),
        "opened": run_looks.opened(looks),
        "flattered": run_looks.flattered(record),
        "trained_on": _trained_on(record),
        "interpretation": interpretation,
    }


def _trained_on(record: RunRecord) -> str:
    """Return what it was trained on: the recipe's own text may describe other images."""
    data = record.data
    images = fmt.many(sum(data.counts.get("train", ())), "image")
    size = f"{data.image_size} × {data.image_size} pixels"  # noqa: RUF001
    return f"{record.model.name}, trained on {data.source}: {images} of {len(data.classes)} classes, {size}"


def _monitor(record: RunRecord, looks: tuple[Look, ...]) -> str:
    """Return how the weights were chosen, and how often the test set was opened."""
    opened = f" {found}" if (found := run_looks.opened(looks)) else ""
    if record.best_epoch is None:
        return "No epoch was finished, so there are no weights to keep."
    if all(row.validation_loss is None for row in record.history):
        if record.folds is not None:
            return f"It was trained for {fmt.many(len(record.history), 'epoch')}, the mean of the folds' kept epochs."
        return f"There is no validation set: the weights are those of the last epoch, {record.best_epoch}.{opened}"
    by = {"validation_loss": "the smallest validation loss", "validation_accuracy": "the highest validation accuracy"}
    chosen = f"The weights are those of epoch {record.best_epoch}, chosen by {by[record.recipe.stopping.monitor]}"
    if record.recipe.stopping.keep == "last":
        chosen = f"The weights are those of the last epoch, {record.best_epoch}, as the recipe says"
    if not record.test:
        return f"{chosen}.{opened}"
    if opened and openings(looks) > 1:
        return f"{chosen}; nothing was chosen by the test set while it was trained.{opened}"
    if record.recipe.evaluation.watch_test:
        return f"{chosen}. The recipe scores the test set after every epoch; nothing was chosen by it."
    return f"{chosen}; the test set was opened once, after that."
