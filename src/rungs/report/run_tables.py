"""Tables for the terminal, and the comparison of what was claimed with what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from rungs.recipe.spec import Claim
from rungs.report import format as fmt
from rungs.report.metric import bounds, is_loss, metric_words, value
from rungs.report.seeds import next_run
from rungs.run.record import EvalResult, FoldsScore, ModelRecord, RunRecord, mean_share
from rungs.run.reliability import wilson

PUBLISHED = ("cifar10", "cifar100")
"""Sources with a published test set: a claim is about the same images."""


FOLDS_CITED = "Nadeau and Bengio 2003, doi:10.1023/A:1024068626366"
"""Where the interval of a cross-validated accuracy is from."""


@dataclass(frozen=True)
class Comparison:
    """A claim and its measurement, formatted."""

    metric: str  # "test accuracy"
    claimed: str
    measured: str
    interval: str  # where another run is expected, with 95 % probability
    verdict: str
    agrees: bool | None  # or better; None: undecided
    source: str


def comparisons(record: RunRecord) -> tuple[Comparison, ...]:
    """Compare each claim of the recipe with this run's measurement.

    A claimed accuracy is compared with the interval in which another run is expected: one seed cannot tell the seed's
    share of a difference. Where fields of the recipe were changed, the claim is about something else: not judged, and
    not named beside other images than those that it is about.
    """
    if "data.source" in record.changed:
        return ()
    rows = [_compare(claim, record) for claim in record.recipe.claims if not claim.change]
    if not record.changed:
        return tuple(rows)
    what = f"not comparable: {', '.join(record.changed[:3])}{' and more' * (len(record.changed) > 3)} changed"
    return tuple(replace(row, verdict=what, agrees=None) for row in rows)


def _compare(claim: Claim, record: RunRecord) -> Comparison:
    if claim.metric in ("parameters", "highest_train_accuracy", "highest_test_accuracy"):
        return _compare_number(claim, record)
    result: EvalResult | None = getattr(record, claim.metric.rpartition("_")[0])
    metric, claimed = metric_words(claim.metric), value(claim.metric, claim.value)
    if result is None:
        return Comparison(metric, claimed, fmt.NOTHING, fmt.NOTHING, "not measured", None, claim.source)
    if is_loss(claim.metric):
        higher = result.loss - claim.value
        verdict = f"cannot tell with 1 seed ({abs(higher):.4f} {'higher' if higher > 0 else 'lower'})"
        return Comparison(metric, claimed, fmt.loss(result.loss), fmt.NOTHING, verdict, None, claim.source)
    published = record.data.source.partition(":")[0] in PUBLISHED
    same = claim.metric.startswith("train") or (claim.metric.startswith("test") and published)
    low, high = next_run(result, same_images=same, runs=claim.runs)
    inside = low <= claim.value + claim.tolerance and claim.value - claim.tolerance <= high
    agrees = None if inside else claim.value < low
    what = {None: "cannot tell with 1 seed", True: "better", False: "worse"}[agrees]
    difference = fmt.points(result.accuracy - claim.value)
    shown = (claimed, fmt.percent(result.accuracy), bounds(claim.metric, low, high), f"{what} ({difference})")
    return Comparison(metric, *shown, agrees, claim.source)


def _compare_number(claim: Claim, record: RunRecord) -> Comparison:
    """Compare a count, or a maximum over the epochs, which has no interval."""
    metric = metric_words(claim.metric)
    if claim.metric == "parameters":
        same = record.model.parameters == claim.value
        verdict = "equal" if same else "different"
        shown = (fmt.count(round(claim.value)), fmt.count(record.model.parameters), fmt.NOTHING)
        return Comparison(metric, *shown, verdict, same, claim.source)
    part = claim.metric.split("_")[1]
    values = [seen for row in record.history if (seen := getattr(row, f"{part}_accuracy")) is not None]
    if not values:
        return Comparison(
            metric, fmt.percent(claim.value), fmt.NOTHING, fmt.NOTHING, "not measured", None, claim.source
        )
    difference = f"{fmt.points(max(values) - claim.value)}, a maximum over {fmt.many(len(values), 'epoch')}"
    return Comparison(
        metric, fmt.percent(claim.value), fmt.percent(max(values)), fmt.NOTHING, difference, None, claim.source
    )


def verdict(record: RunRecord) -> str:
    """Return the outcome of a run in one sentence."""
    if record.test is not None:
        test = record.test
        score = f"{fmt.percent(test.accuracy)} of {fmt.count(test.n)} test images are classified correctly"
        sentence = f"{score} (95 % interval {fmt.interval(test.accuracy_interval)})."
    elif record.folds is not None:
        sentence = of_folds(record.folds)
    else:
        sentence = "There is no test score: the test set has not been opened."
    if record.status == "finished":
        return sentence
    ending = "The training diverged" if record.status == "diverged" else "The training was interrupted"
    return f"{ending}: {record.ending}. {sentence}"


def of_folds(score: FoldsScore) -> str:
    """Return what is known of the final net of a cross-validation."""
    tested = f"{fmt.percent(score.accuracy)} of {fmt.many(score.images, 'image')}"
    return (
        f"No image was kept to test this net: its accuracy is that of the {score.folds} folds before it, {tested} "
        f"(95 % interval {fmt.interval(score.interval)})."
    )


def calibrated(record: RunRecord) -> str:
    """Return in sentences what the temperature of a run does to its confidences; "" for a record of before it."""
    if not record.temperature_reason:
        return ""
    parts = {"validation": record.validation, "test": record.test}
    found = {name: (result, result.scaled) for name, result in parts.items() if result and result.scaled}
    if not found and record.folds is not None:
        return (
            f"rungs predict divides the logits by {record.temperature:.2f}, {record.temperature_reason} temperatures."
        )
    if not found:
        return f"Probabilities are those of the net as it was trained; its temperature was {record.temperature_reason}."
    errors = ", ".join(
        f"{name} {fmt.percent(result.calibration_error, 1)} before, {fmt.percent(scaled.calibration_error, 1)} after"
        for name, (result, scaled) in found.items()
    )
    fitted = f"{record.temperature:.2f}, a temperature {record.temperature_reason} (Guo et al. 2017, arXiv:1706.04599)"
    return (
        f"All scores here are of the net as it was trained. For its probabilities, rungs predict divides the logits by "
        f"{fitted}: the predicted classes stay the same. Calibration error: {errors}."
        f"{' On validation it is optimistic, since the temperature was fitted there.' if len(found) > 1 else ''}"
    )


def summary(record: RunRecord) -> Table:
    """Return the table printed after training: a line for each figure, with claims where the recipe has any."""
    claimed = {row.metric: f"{row.claimed}\n{row.verdict}" for row in comparisons(record)}
    table = Table(title=Text(f"{record.recipe.name}: {record.status}"), title_justify="left", show_header=bool(claimed))
    for head in ("", "measured", *(["claimed"] if claimed else [])):
        table.add_column(head, style="bold" if head == "measured" else "", no_wrap=not head)
    for name, found in _summary_rows(record):
        cells = [name, found, claimed.get(name, "")] if claimed else [name, found]
        table.add_row(*map(Text, cells))
    return table


def _summary_rows(record: RunRecord) -> list[tuple[str, str]]:
    rows = []
    for field in ("test", "test_tta", "validation", "validation_tta", "train"):
        result: EvalResult | None = getattr(record, field)
        if result is not None:
            interval = f"{fmt.interval(result.accuracy_interval)}\nn = {fmt.count(result.n)}"
            rows.append((metric_words(f"{field}_accuracy"), f"{fmt.percent(result.accuracy)}\n{interval}"))
            rows += _top5_rows(field, result)
            rows += _without_twins_rows(result)
            rows.append((metric_words(f"{field}_loss"), fmt.loss(result.loss)))
    if record.folds is not None:
        tested = f"{fmt.interval(record.folds.interval)}\nn = {fmt.count(record.folds.images)}"
        rows.insert(0, (f"accuracy of {record.folds.folds} folds", f"{fmt.percent(record.folds.accuracy)}\n{tested}"))
    if (scored := record.test or record.validation) is not None:
        rows.append(("calibration error", calibration(scored)))
    if record.status != "finished":
        rows.insert(0, (record.status, record.ending))
    done, planned = len(record.history), record.recipe.training.epochs
    machine = record.environment
    return [
        *rows,
        (
            f"{record.recipe.stopping.keep} epoch",
            f"{record.best_epoch or fmt.NOTHING} of {done} done, {planned} planned",
        ),
        ("time", fmt.seconds(record.wall_s)),
        ("peak memory", fmt.size(record.peak_memory_bytes)),
        ("parameters", fmt.count(record.model.parameters)),
        ("FLOPs per image", fmt.flops(record.model.flops)),
        *([("training FLOPs", fmt.flops(record.train_flops))] if record.train_flops else []),
        ("device", f"{machine.device}, {machine.precision}, ranks: {machine.ranks}"),
    ]


def _top5_rows(field: str, result: EvalResult) -> list[tuple[str, str]]:
    """Return the top-5 accuracy where there is one."""
    top5 = result.top5_accuracy
    return [] if top5 is None else [(f"{metric_words(f'{field}_accuracy')}, top 5", fmt.percent(top5))]


def _without_twins_rows(result: EvalResult) -> list[tuple[str, str]]:
    """Return the accuracy without images that have a twin in training, where there are such."""
    found = result.without_twins
    if found is None:
        return []
    interval = f"{fmt.interval(found.accuracy_interval)}\nn = {fmt.count(found.n)}"
    name = f"... without {fmt.many(found.twins, 'twin')} of training images"
    return [(name, f"{fmt.percent(found.accuracy)}\n{interval}")]


def calibration(result: EvalResult) -> str:
    """Return the calibration error of a score, and what is left of it with the net's temperature."""
    error, scaled = fmt.percent(result.calibration_error, 1), result.scaled
    if scaled is None:
        return error
    return f"{error}; {fmt.percent(scaled.calibration_error, 1)} with temperature {scaled.temperature:.2f}"


def layers(model: ModelRecord) -> Table:
    """A row per layer: output shape, parameters, FLOPs of one image; the sums below."""
    title = Text(f"{model.name}: layers, for one image")
    table = Table(title=title, title_justify="left", show_footer=True, box=SIMPLE, pad_edge=False)
    table.add_column("layer", "total", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("what")
    table.add_column("output", justify="right", no_wrap=True)
    table.add_column("parameters", fmt.count(model.parameters), justify="right", no_wrap=True)
    table.add_column("FLOPs", fmt.flops(model.flops), justify="right", no_wrap=True)
    for row in model.layers:
        numbers = (fmt.count(row.parameters) if row.parameters else "", fmt.flops(row.flops) if row.flops else "")
        table.add_row(*map(Text, (row.name, row.kind, _compact(row.detail), fmt.shape(row.output), *numbers)))
    return table


def _compact(detail: str) -> str:
    """Return "3->64, 7x7, stride 2, pad 3" as "3->64, 7x7 /2, pad 3"; a stride of 1 is omitted."""
    return detail.replace(", stride 1", "").replace(", stride ", " /")


def per_class(result: EvalResult, classes: Sequence[str]) -> Table:
    """Precision, recall with its interval and F1 of each class, and its images; below, their means over classes."""
    table = Table(title="per class", title_justify="left", show_footer=True)
    precision, recall, f1 = means(result)[1:]
    feet = (means(result)[0], precision, recall, "", f1, "")
    for head, foot in zip(("class", "precision", "recall", "95 %", "F1", "images"), feet, strict=True):
        table.add_column(head, foot, justify="left" if head == "class" else "right")
    for k, name in enumerate(classes):
        precision, recall, f1 = (fmt.percent(values[k], 1) for values in (result.precision, result.recall, result.f1))
        images = fmt.count(sum(result.confusion[k]))
        cells = (fmt.named(name), precision, recall, recall_interval(result, k), f1, images)
        table.add_row(*map(Text, cells))
    return table


def recall_interval(result: EvalResult, k: int) -> str:
    """Return the 95 % interval (Wilson) of the recall of class k; "" where it has no images."""
    images = sum(result.confusion[k])
    return fmt.interval(wilson(result.confusion[k][k], images)) if images else ""


def means(result: EvalResult) -> tuple[str, ...]:
    """Return the row of means over the classes that have images: how many, precision, recall, F1."""
    found = [mean_share(shares) for shares in (result.precision, result.recall, result.f1)]
    return f"mean of {fmt.many(found[0][1], 'class', 'classes')}", *(fmt.percent(mean, 1) for mean, _ in found)
