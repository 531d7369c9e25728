"""The figure of a cross-validation; those of its images are a run's (`rungs.report.run_figures`)."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rungs.report.style import BLUE, FAINT, INK, STYLE
from rungs.study.folds.record import FoldsRecord


@matplotlib.rc_context(STYLE)
def folds(record: FoldsRecord) -> Figure:
    """Accuracy of each fold with its interval over images, and of all folds with the interval that allows for both."""
    count = len(record.folds)
    figure = Figure(figsize=(5.6, 1.5 + 0.3 * (count + 1)), layout="constrained")
    axes = figure.add_subplot()
    accuracy, ends = 100 * record.result.accuracy, [100 * end for end in record.interval]
    axes.axvspan(ends[0], ends[1], color=FAINT, alpha=0.5, linewidth=0)
    axes.axvline(accuracy, color=INK, linewidth=1.2)
    rows = [(fold.accuracy, fold.accuracy_interval) for fold in record.folds]
    for y, (value, interval) in enumerate([*rows, (record.result.accuracy, record.interval)]):
        below, above = (max(0.0, 100 * abs(value - end)) for end in interval)
        look = {"color": INK, "marker": "D"} if y == count else {"color": BLUE, "marker": "o"}
        axes.errorbar(100 * value, y, xerr=[[below], [above]], markersize=5, elinewidth=1.4, **look)  # type: ignore[arg-type]
    axes.set_yticks(range(count + 1), [*(f"fold {fold.fold + 1}" for fold in record.folds), "all"])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy, %")
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.set_title("Accuracy of each fold")
    return figure
