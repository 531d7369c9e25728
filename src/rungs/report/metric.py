"""A metric in words and its values as they are written."""

from __future__ import annotations

from rungs.report import format as fmt

METRICS = {"test_tta_accuracy": "test accuracy with TTA", "highest_test_accuracy": "test accuracy, maximum over epochs",
           "highest_train_accuracy": "train accuracy, maximum over epochs"}  # fmt: skip


def metric_words(metric: str) -> str:
    """Return "validation_accuracy" as "validation accuracy"."""
    return METRICS.get(metric, metric.replace("_", " "))


def value(metric: str, number: float | None) -> str:
    """Return a value of a metric as it is written: accuracies in %, losses with four digits, counts whole."""
    if number is None:
        return fmt.NOTHING
    if metric.endswith("accuracy"):
        return fmt.percent(number)
    return fmt.loss(number) if metric.endswith("loss") else fmt.count(round(number))


def bounds(metric: str, low: float | None, high: float | None) -> str:
    """Return an interval of a metric as it is written, as far as it can be; "" where there is none."""
    if low is None or high is None:
        return ""
    low, high = clipped(metric, low, high)
    if metric.endswith("accuracy"):
        return fmt.interval((low, high))
    return f"{value(metric, low)} {fmt.NOTHING} {value(metric, high)}"


def clipped(metric: str, low: float, high: float) -> tuple[float, float]:
    """Cut from an interval what no value can be: Student's t knows no bounds, accuracies lie in [0, 1], losses above 0.

    An interval that lies beyond as a whole becomes the bound.
    """
    most = 1.0 if metric.endswith("accuracy") else float("inf")
    return min(max(low, 0.0), most), min(max(high, 0.0), most)


def is_loss(metric: str) -> bool:
    """Tell whether less is better."""
    return metric.endswith("loss")
