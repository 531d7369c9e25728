"""Rules about the classes: their sizes, and which of them are mixed up."""

from __future__ import annotations

from rungs.diagnose import evidence
from rungs.diagnose.findings import OURS, note, warning
from rungs.run.record import Finding, RunRecord

IMBALANCE = 3.0
"""Ratio of the largest to the smallest class from which accuracy no longer speaks for all classes."""
PAIR_SHARE = 3.0
"""A pair of classes that has three times its even share of all mistakes ..."""
PAIR_MISTAKES = 20
"""... and at least so many: fewer can be chance."""
PAIRS_TOLD = 3
"""Pairs that are named."""


def imbalance(record: RunRecord) -> Finding | None:
    """Classes of very unequal size."""
    counts = record.data.counts.get("train", ())
    if not counts or max(counts) <= IMBALANCE * max(1, min(counts)):
        return None
    rare = counts.index(min(counts))
    result = record.test or record.validation
    judged = sum(result.confusion[rare]) if result else 0
    recall = f"; of {judged} held-out ones {100 * result.recall[rare]:.0f} % are found" if result and judged else ""
    text = (
        f"{record.data.classes[rare]!r} has {counts[rare]} training images{recall}; the largest class has "
        f"{max(counts)}. Read precision and recall per class: accuracy is mostly about the large ones."
    )
    make = warning if result and judged and result.recall[rare] == 0 else note
    order = sorted(range(len(counts)), key=lambda k: counts[k])
    shown = [*order[:4], *order[-4:]] if len(order) > 8 else order
    picture = evidence.bars(
        [record.data.classes[k] for k in shown],
        "training images",
        [("images", [counts[k] for k in shown])],
        level=max(counts) / IMBALANCE,
        level_name="a third of the largest",
    )
    return make(
        "imbalance",
        "Unequal classes",
        text,
        None,
        f"the largest class has more than {IMBALANCE:g} times as many training images as the smallest",
        "Buda et al. 2018, arXiv:1710.05381, for what it does; the ratio is " + OURS,
        picture,
    )


def confused_pair(record: RunRecord) -> Finding | None:
    """The pairs of classes that are most often taken for each other."""
    result = record.test or record.validation
    k = len(record.data.classes)
    if result is None or k < 3:
        return None
    table, names = result.confusion, record.data.classes
    pairs = sorted(((table[i][j] + table[j][i], i, j) for i in range(k) for j in range(i)), reverse=True)
    wrong = sum(map(sum, table)) - sum(table[i][i] for i in range(k))
    even = PAIR_SHARE / (k * (k - 1) / 2)
    found = [pair for pair in pairs if pair[0] >= PAIR_MISTAKES and pair[0] / max(1, wrong) > even]
    if not found:
        return None
    many, i, j = found[0]
    text = (
        f"{table[j][i]} times {names[j]!r} was called {names[i]!r}, and {table[i][j]} times the other way round: "
        f"{100 * many / wrong:.0f} % of all {wrong} mistakes. Look at these pictures first."
    )
    if others := [f"{names[b]} and {names[a]} ({n})" for n, a, b in found[1:PAIRS_TOLD]]:
        text += f" Next: {', '.join(others)}."
    picture = evidence.bars(
        [f"{names[b]}, {names[a]}" for _, a, b in pairs[:5]],
        "mistakes",
        [("mistakes", [n for n, _, _ in pairs[:5]])],
        level=max(PAIR_MISTAKES, even * wrong),
        level_name="threshold",
    )
    return note(
        "confused-pair",
        f"{names[j]} and {names[i]} are mixed up",
        text,
        None,
        f"a pair of classes has {PAIR_SHARE:g} times its even share of all mistakes, and at least {PAIR_MISTAKES}",
        "Stehman 1997, doi:10.1016/S0034-4257(97)00083-7, for reading confusion matrices; the numbers are " + OURS,
        picture,
    )
