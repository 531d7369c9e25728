"""A rule about class weights that make one class outweigh the others."""

from __future__ import annotations

from rungs.diagnose import evidence
from rungs.diagnose.findings import OURS, warning
from rungs.run.record import Finding, RunRecord

UNEQUAL = 10.0
"""A class whose images together count ten times those of another outweighs it ..."""
CHANGED = 2.0
"""... by the weights, if without them it would be less than half of that ..."""
PREFERRED = 1.5
"""... and the net shows it: it predicts that class half as often again as there are images of it ..."""
OVERLOOKED = 0.5
"""... or recognises another class, of low weight, in less than half of its images."""
USEFUL = 3.0
"""Classes more unequal than this are worth balancing."""


def lopsided_weights(record: RunRecord) -> Finding | None:
    """Class weights in numbers that make the classes less equal, in a net that prefers the heavy ones."""
    weights, counts = record.recipe.training.class_weights, record.data.counts.get("train", ())
    result = record.validation or record.test
    if isinstance(weights, str) or result is None or len(weights) != len(counts) or min(counts) == 0:
        return None
    shown = counts if record.recipe.data.balance == "none" else tuple(1 for _ in counts)
    whole = [weight * n for weight, n in zip(weights, shown, strict=True)]
    plain = max(shown) / min(shown)
    ratio = max(whole) / min(whole)
    if ratio <= max(UNEQUAL, CHANGED * plain):
        return None
    heavy, light = whole.index(max(whole)), whole.index(min(whole))
    predicted, truth = sum(row[heavy] for row in result.confusion), sum(result.confusion[heavy])
    recall = result.recall[light]
    if predicted <= PREFERRED * truth and (recall is None or recall >= OVERLOOKED):
        return None
    names = record.data.classes
    text = (
        f"By training.class_weights all images of {names[heavy]!r} together count {ratio:.3g} times as much as those "
        f"of {names[light]!r}, though there are {counts[heavy]} and {counts[light]} of them. The net predicts "
        f"{names[heavy]!r} for {predicted} of {result.n} held-out images, of which {truth} are of that class."
    )
    return warning(
        "class-weights",
        "Class weights make one class outweigh the others",
        text,
        f"--set training.class_weights={'balanced' if plain > USEFUL else 'none'}",
        f"by the weights one class counts more than {UNEQUAL:g} times as much as another, and more than {CHANGED:g} "
        f"times what their images alone would give; and the net predicts it {PREFERRED:g} times as often as there are "
        f"images of it, or recognises the other in fewer than {100 * OVERLOOKED:.0f} % of its images",
        "Elkan 2001, The foundations of cost-sensitive learning, IJCAI: weights move the decisions between classes; "
        f"the numbers are {OURS}",
        evidence.bars(list(names), "images, weighted", [("by weight", whole), ("plain", list(shown))]),
    )
