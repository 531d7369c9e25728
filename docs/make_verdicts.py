"""Draw the small pictures of the verdicts in docs/ladders.md and docs/deciding.md.

Run it as `python docs/make_verdicts.py`. The intervals and verdicts are those of `rungs` for the example numbers below.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rungs.recipe.spec import Claim
from rungs.report.style import BLUE, INK, PURPLE, QUIET, STYLE
from rungs.study.differences import Change, compare
from rungs.study.ladder.claims import answer, measured
from rungs.study.variation import Pool

PICTURES = Path(__file__).parent / "verdicts"

POOL = Pool(0.0001, 14)
"""Eight rungs with three seeds whose runs vary by 0.4 points at 80 %."""

DIFFERENCES = {
    "real-gain": (0.021, 0.026, 0.017),
    "real-loss": (-0.022, -0.016, -0.027),
    "no-difference": (0.001, -0.002, 0.003, 0.0, -0.001, 0.002, 0.001, -0.002),
    "undecided": (0.003, 0.016, 0.009),
}
CLAIMS = {"within": 0.802, "better": 0.775, "worse": 0.823, "cannot-tell": 0.793}
COLOURS = {
    "real-gain": BLUE, "real-loss": PURPLE, "within": BLUE, "better": BLUE, "worse": PURPLE,
}  # fmt: skip


def main() -> None:
    """Draw all of them."""
    PICTURES.mkdir(exist_ok=True)
    for name, gains in DIFFERENCES.items():
        draw_difference(name, gains)
    for name, claimed in CLAIMS.items():
        draw_claim(name, claimed)


@matplotlib.rc_context(STYLE)
def draw_difference(name: str, gains: tuple[float, ...]) -> None:
    """Draw the interval of a difference against zero, the margin of "no difference" shaded."""
    base = dict.fromkeys(range(len(gains)), 0.8)
    change = Change("rung", "base", "validation_accuracy", {seed: 0.8 + gain for seed, gain in enumerate(gains)}, base)
    found = compare([change], {"validation_accuracy": POOL}, level=0.01)["rung"]
    assert found.verdict.replace(" ", "-") == name, found.words
    assert found.low is not None and found.high is not None
    figure, axes = panel((-4, 4), "points")
    axes.axvspan(-1, 1, color="#eaeef2", zorder=0)
    axes.axvline(0, color=INK, linewidth=1)
    whisker(axes, found.low, found.mean, found.high, COLOURS.get(name, QUIET), 0.0)
    figure.savefig(PICTURES / f"{name}.png", dpi=144, metadata={"Software": None})


@matplotlib.rc_context(STYLE)
def draw_claim(name: str, claimed: float) -> None:
    """Draw where a run is expected, the claim as a circle, and the margin around it shaded."""
    calm = Pool(0.0001, 14) if name != "cannot-tell" else Pool(0.0016, 14)
    found = answer(
        Claim(metric="test_accuracy", value=claimed, source=""), measured("test_accuracy", (0.797, 0.803, 0.8), calm)
    )
    assert found.verdict.replace(" ", "-") == name, found.why
    assert found.low is not None and found.high is not None and found.measured is not None
    figure, axes = panel((74, 86), "accuracy, %")
    axes.axvspan(100 * (claimed - found.margin), 100 * (claimed + found.margin), color="#eaeef2", zorder=0)
    axes.plot(100 * claimed, 0, "o", markersize=9, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.4)
    whisker(axes, found.low, found.measured, found.high, COLOURS.get(name, QUIET), 0.0)
    figure.savefig(PICTURES / f"claim-{name}.png", dpi=144, metadata={"Software": None})


def panel(limits: tuple[float, float], label: str) -> tuple[Figure, Axes]:
    """Return a small figure with one horizontal axis."""
    figure = Figure(figsize=(3.6, 0.78), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=limits, ylim=(-1, 1), yticks=())
    axes.set_xlabel(label, fontsize=8, labelpad=1)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(False)
    axes.spines[["left", "right", "top"]].set_visible(False)
    return figure, axes


def whisker(axes: Axes, low: float, mean: float, high: float, colour: str, y: float) -> None:
    """Draw a mean with its interval."""
    axes.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot([100 * low, 100 * high], [y, y], "|", color=colour, markersize=9, markeredgewidth=2)
    axes.plot(100 * mean, y, "o", color=colour, markersize=6)


if __name__ == "__main__":
    main()
