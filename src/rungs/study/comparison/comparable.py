"""What may be compared: same data, same images, same scoring; and if not, why and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from rungs.errors import UserError
from rungs.run.record import DataRecord, RunRecord
from rungs.study.comparison.candidates import Given, Group
from rungs.study.comparison.record import Part
from rungs.study.same_images import decoding, place_free, same_images, same_split


@dataclass(frozen=True)
class Images:
    """Whether two runs were scored on the same images."""

    same: bool
    why: str = ""  # why not
    note: str = ""  # how that is known, where it is not by their hash


def require_same_data(first: Given, other: Given) -> None:
    """Refuse two runs trained on different data.

    Raises:
        UserError: Their classes differ, or their sources, or the images of one source.
    """
    one, two = first.record.data, other.record.data
    if one.classes != two.classes:
        what = f"different classes from {first.folder.path}: {_first_words(two)}, not {_first_words(one)}"
        raise UserError(what, where=other.folder.path, do="compare runs with the same classes")
    known = one.hashes.keys() & two.hashes.keys() & {"test", "validation"}
    if any(one.hashes[part] == two.hashes[part] for part in known):
        return
    if place_free(one.source) != place_free(two.source):
        what = f"different data from {first.folder.path}: {two.source}, not {one.source}"
        do = "compare runs of one data set; to score a run on another: rungs evaluate RUN --data SOURCE"
        raise UserError(what, where=other.folder.path, do=do)
    alike = decoding(first.record) == decoding(other.record)
    if alike and any(same_split(first.record, other.record, part) for part in known):
        what = f"not the same images as {first.folder.path}, though both use {two.source}: the data changed in between"
        raise UserError(what, where=other.folder.path, do="retrain one of them on the current data")


def _first_words(data: DataRecord) -> str:
    shown = ", ".join(data.classes[:4])
    return f"{len(data.classes)} ({shown}{', …' if len(data.classes) > 4 else ''})"


def images(first: Given, second: Given, part: Part) -> Images:
    """Return whether two runs, both with scores on a part, saw the same images there."""
    one, two = first.on(part), second.on(part)
    if one is None or two is None:
        return Images(False, "one has no score there")
    a, b = first.record, second.record
    old = next((run for run, result in ((first, one), (second, two)) if result.per_image is None), None)
    if old is not None or not (part in a.data.hashes and part in b.data.hashes):
        which = (old or (first if part not in a.data.hashes else second)).folder.path
        why = f"the record of {which} has no per-image results (it was made by an earlier version)"
        return Images(False, f"{why}: retrain that run")
    if a.data.hashes[part] == b.data.hashes[part]:
        return Images(True)
    labels = one.per_image is not None and two.per_image is not None and one.per_image.truth == two.per_image.truth
    decoded = _decoded(a, b)
    if same_images(a, b, part, same_labels=labels):
        known = "their files" if part in a.data.members and part in b.data.members else "source and labels"
        return Images(True, note=f"the {part} images were decoded {decoded}; {known} show that they are the same")
    if a.recipe.seed != b.recipe.seed:
        what = f"the {part} images were split with different seeds ({a.recipe.seed} and {b.recipe.seed})"
        return Images(False, f"{what}, so they differ: train both with one --seed")
    if decoded and same_split(a, b, part):
        what = f"the {part} images were decoded {decoded}, which changes which look alike, and so the split"
        return Images(False, f"{what}: decode both alike, or train both with data.groups none")
    what = f"the {part} images were split with different sizes or groups (data.test, data.validation, data.groups)"
    return Images(False, f"{what}, so they differ: train both with one split")


def _decoded(one: RunRecord, two: RunRecord) -> str:
    """Return how the decoding of two runs differs, "to 32 and 64 pixels"; "" if it does not."""
    (size, how, crop), (other_size, other_how, other_crop) = decoding(one), decoding(two)
    found = [f"to {size} and {other_size} pixels"] * (size != other_size)
    found += [f"with {how} and {other_how} resizing"] * (how != other_how)
    found += [f"with crops of {crop:g} and {other_crop:g}"] * (crop != other_crop)
    return " and ".join(found)


def unscored(group: Group, part: Part) -> str:
    """Return why a candidate has no score on a part; "" where it has one."""
    if any(run.on(part) is not None for run in group.runs):
        return ""
    record = group.runs[0].record
    if record.status == "diverged":
        return f"the training of {group.name} diverged ({record.ending}), so it has no score"
    if record.status == "interrupted":
        return f"{group.name} was interrupted, so it has no score: resume it with --resume"
    if part == "validation":
        return f"{group.name} has no validation set"
    closed = not record.recipe.evaluation.score_test
    return f"{group.name} {'keeps its test set closed (evaluation.score_test)' if closed else 'has no test set'}"


def otherwise_scored(first: Group, second: Group, part: Part) -> str:
    """Return how the protocols of two candidates on a part differ so that scores are not comparable; "" if not."""
    if part == "validation" and first.recipe.augment.validation != second.recipe.augment.validation:
        return "validation images are augmented differently (augment.validation): score both without augmentation"
    return ""


def notes(first: Group, second: Group) -> list[str]:
    """Return caveats about two candidates that can be compared."""
    a, b, found = first.runs[0].record, second.runs[0].record, []
    chosen = [how_chosen(record) for record in (a, b)]
    if chosen[0] != chosen[1] and a.history and b.history:
        found.append(f"Weights were chosen differently: {first.name} by {chosen[0]}, {second.name} by {chosen[1]}.")
    if a.data.image_size != b.data.image_size:
        found.append(f"Image sizes differ: {a.data.image_size} and {b.data.image_size} pixels.")
    if watched := [group.name for group in (first, second) if group.recipe.evaluation.watch_test]:
        found.append(
            f"The test set was watched over the epochs of {' and '.join(watched)}; the epoch was not chosen by it."
        )
    if a.environment.device != b.environment.device:
        found.append(
            f"Times are from different machines ({a.environment.device}; {b.environment.device}): compare FLOPs."
        )
    if any(group.recipe.evaluation.tta != "none" for group in (first, second)):
        found.append("Scores without test-time augmentation are compared.")
    if a.recipe.training.label_smoothing != b.recipe.training.label_smoothing:
        found.append("Label smoothing differs, which changes the loss by itself.")
    for group in (first, second):
        failed = [run for run in group.runs if run.record.status == "interrupted"]
        if failed and len(failed) < len(group.runs):
            found.append(f"{len(failed)} of {len(group.runs)} runs of {group.name} did not finish: left out.")
        found += _left_out(group)
    return found


def _left_out(group: Group) -> list[str]:
    """Return a note on runs that repeat a seed of a candidate."""
    if not group.left_out:
        return []
    places = ", ".join(f"{run.folder.path} (seed {run.record.recipe.seed})" for run in group.left_out)
    return [f"Only one run per seed of {group.name} counts; copies and repetitions left out: {places}."]


def how_chosen(record: RunRecord) -> str:
    """Return what chose the epoch whose weights were kept."""
    if record.recipe.stopping.keep == "last" or all(row.validation_loss is None for row in record.history):
        return "nothing (the last epoch)"
    return {
        "validation_loss": "the smallest validation loss",
        "validation_accuracy": "the highest validation accuracy",
    }[record.recipe.stopping.monitor]
