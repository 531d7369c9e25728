"""The names of metrics, and the format of their values, differences, intervals and spreads, all in one place.

An accuracy is a fraction of 1, written in % (its differences in points), and more is better. Where a metric's name ends
with "loss", less is better, and it is written with four digits. Costs have their units; what is left is a count.
"""

from __future__ import annotations

from collections.abc import Callable

from rungs.report import format as fmt
from rungs.run.record import Estimate

WORDS = {
    "validation_tta_accuracy": "validation accuracy with TTA",
    "validation_tta_loss": "validation loss with TTA",
    "test_tta_accuracy": "test accuracy with TTA",
    "test_tta_loss": "test loss with TTA",
    "validation_balanced_accuracy": "validation recall, mean of classes",
    "highest_test_accuracy": "test accuracy, maximum over epochs",
    "highest_train_accuracy": "train accuracy, maximum over epochs",
    "train_flops": "training compute",
    "train_s": "training time",
    "peak_memory_bytes": "peak memory",
}
"""Of metrics whose keys do not read as names."""
COSTS: dict[str, Callable[[float], str]] = {
    "epochs": lambda number: f"{number:g}",
    "train_flops": lambda number: fmt.flops(round(number)),
    "train_s": fmt.seconds,
    "peak_memory_bytes": lambda number: fmt.size(round(number)),
}


def metric_words(metric: str) -> str:
    """Return "validation_accuracy" as "validation accuracy"."""
    return WORDS.get(metric, metric.replace("_", " "))


def is_loss(metric: str) -> bool:
    """Return whether less is better."""
    return metric.endswith("loss")


def is_accuracy(metric: str) -> bool:
    """Return whether a metric is a fraction of 1."""
    return metric.endswith("accuracy")


# --- values -------------------------------------------------------------------------------------------


def value(metric: str, number: float | None) -> str:
    """Return a value of a metric as it is written: "82.94 %", "0.5123", "1,234"."""
    if number is None:
        return fmt.NOTHING
    if is_accuracy(metric):
        return fmt.percent(number)
    if is_loss(metric):
        return fmt.loss(number)
    return COSTS[metric](number) if metric in COSTS else fmt.count(round(number))


def bounds(metric: str, low: float | None, high: float | None) -> str:
    """Return an interval of a metric for a table, "82.19 – 83.66 %", clipped to what is possible; "" for none."""
    if low is None or high is None:
        return ""
    low, high = clipped(metric, low, high)
    if is_accuracy(metric):
        return fmt.interval((low, high))
    return f"{value(metric, low)} {fmt.NOTHING} {value(metric, high)}"


def between(metric: str, low: float, high: float) -> str:
    """Return an interval of a metric for a sentence, "82.19 to 83.66 %", clipped to possible values."""
    low, high = clipped(metric, low, high)
    first = value(metric, low)
    return f"{first.removesuffix(' %') if is_accuracy(metric) else first} to {value(metric, high)}"


def with_tolerance(metric: str, number: float, tolerance: float) -> str:
    """Return a value that holds give or take a tolerance, "80 ± 0.5 %"; without one just the value."""
    shown = value(metric, number)
    if not tolerance:
        return shown
    return f"{shown.removesuffix(' %')} ± {100 * tolerance:g} %" if is_accuracy(metric) else f"{shown} ± {tolerance:g}"


def spread(metric: str, estimate: Estimate) -> str:
    """Return how much seeds differ: "± 0.31 sd", points for accuracies."""
    if estimate.sd is None:
        return "one seed"
    return f"± {100 * estimate.sd:.2f} sd" if is_accuracy(metric) else f"± {estimate.sd:.4f} sd"


def clipped(metric: str, low: float, high: float) -> tuple[float, float]:
    """Cut from an interval what no value can be: Student's t knows no bounds, accuracies lie in [0, 1], losses above 0.

    An interval that lies beyond as a whole becomes the bound.
    """
    most = 1.0 if is_accuracy(metric) else float("inf")
    return min(max(low, 0.0), most), min(max(high, 0.0), most)


# --- differences, of losses or accuracies -------------------------------------------------------------


def signed(metric: str, change: float) -> str:
    """Return a difference without its unit, "+1.12" or "-0.0123"; never "-0.00"."""
    return f"{change:+z.4f}" if is_loss(metric) else f"{100 * change:+z.2f}"


def difference(metric: str, change: float) -> str:
    """Return a difference: "+1.12 points", or "-0.0123" of a loss."""
    return signed(metric, change) + ("" if is_loss(metric) else " points")


def amount(metric: str, change: float) -> str:
    """Return how large a difference is, whichever its sign: "1.12 points"."""
    return difference(metric, change).lstrip("+-")


def difference_bounds(metric: str, low: float | None, high: float | None) -> str:
    """Return the interval of a difference: "-0.10 to +2.30"; "" where there is none."""
    return "" if low is None or high is None else f"{signed(metric, low)} to {signed(metric, high)}"


def verb(metric: str, change: float) -> str:
    """Return what a change does: it "gains" or "loses", or it "raises the loss by" so much."""
    if is_loss(metric):
        return "raises the loss by" if change > 0 else "lowers the loss by"
    return "gains" if change > 0 else "loses"
