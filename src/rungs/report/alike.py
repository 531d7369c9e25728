"""In words: which images look alike, which stay together, and what a score is without those that do."""

from __future__ import annotations

from collections.abc import Sequence

from rungs.report import format as fmt
from rungs.run.record import DataRecord, EvalResult, GroupsRecord, NearPair

SAME, SUSPECT = "0.947", "0.90"
"""Similarities, as in `rungs.data.near`: of near duplicates and of suspects."""
PLAIN = "Images of little texture, such as an object before a white wall, count only if they are identical."
"""What the comparison leaves out: different ones would be alike, too."""
GROUPINGS = {
    "near-duplicates": "near duplicates",
    "folder": "images of one folder and near duplicates",
    "file-name": "images whose file names agree, and near duplicates",
    "column": "images that agree in a column of the table, and near duplicates",
    "time": "photos taken shortly after one another, and near duplicates",
}
"""What stays together, by the name of the grouping in a recipe."""


def searched(data: DataRecord) -> str:
    """Return in a sentence what was compared and what was found in two parts; "" of records of earlier versions."""
    if data.near_compared is None:
        return ""
    identical = f"Identical images in two parts: {_many(data.leaks)}."
    if not data.near_compared:
        return f"{identical} The images are too small to tell near duplicates by their looks: these were not searched."
    return (
        f"{identical} Near duplicates in two parts (similarity {SAME} or above among {fmt.count(data.near_compared)} "
        f"images): {_many(data.near)}; suspects ({SUSPECT} to {SAME}): {_many(data.suspects)}. {PLAIN}"
    )


def _many(by_part: dict[str, int]) -> str:
    return ", ".join(f"{fmt.count(n)} {part}" for part, n in by_part.items() if n) or "none found"


def pairs(found: Sequence[NearPair], compared: int) -> str:
    """Return in a sentence what was compared in a source and how many pairs look alike."""
    if not compared:
        return "the images are too small to tell near duplicates by their looks: only identical ones were searched for"
    suspects = sum(pair.suspect for pair in found)
    near = fmt.many(len(found) - suspects, "pair") if len(found) > suspects else "no pair"
    kept = "; a split keeps near duplicates in one part (data.groups)" if len(found) > suspects else ""
    return (
        f"near duplicates, identical images apart: {near} with a similarity of {SAME} or above among "
        f"{fmt.many(compared, 'image')}, and "
        f"{fmt.many(suspects, 'suspect') if suspects else 'no suspect'} ({SUSPECT} to {SAME}){kept}. {PLAIN}"
    )


def grouped(groups: GroupsRecord) -> str:
    """Return in a sentence which training images of the source stay together."""
    kept = f"{GROUPINGS[groups.by]} stay in one part: "
    if not groups.n:
        kept += "there are none"
    elif groups.n == 1:
        kept += f"1 group of {fmt.count(groups.images)} images"
    else:
        kept += f"{fmt.count(groups.n)} groups hold {fmt.count(groups.images)} images, the largest {groups.largest:,}"
    if groups.undated:
        kept += f"; {fmt.many(groups.undated, 'photo')} without an EXIF time stand alone"
    return kept[0].upper() + kept[1:]


def without_twins(result: EvalResult | None) -> str:
    """Return in a sentence a test accuracy without images that have a twin in training; "" where there are none."""
    if result is None or (found := result.without_twins) is None:
        return ""
    interval = f"95 % interval {fmt.interval(found.accuracy_interval)}, n = {fmt.count(found.n)}"
    have = "has" if found.twins == 1 else "have"
    return (
        f"{fmt.many(found.twins, 'test image')} {have} a near duplicate or a copy among the training images: "
        f"{fmt.percent(found.twins_accuracy)} of them are classified correctly, and {fmt.percent(found.accuracy)} of "
        f"the others ({interval})."
    )


def pair(one: NearPair) -> str:
    """Return the similarity of a pair in words: "0.962, mirrored, a suspect"."""
    words = ["" if one.similarity is None else f"{one.similarity:.3f}"]
    words += ["mirrored"] * one.mirrored + ["a suspect"] * one.suspect
    return ", ".join(word for word in words if word)
