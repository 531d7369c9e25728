"""Rules about the protocol: what data a run saw, and how often its test set was opened."""

from __future__ import annotations

from rungs.diagnose import evidence
from rungs.diagnose.findings import note, validated, warning
from rungs.run.looks import OPENING, Look, flattery, openings, times
from rungs.run.record import Finding, RunRecord

DWORK = "Dwork et al. 2015, doi:10.1126/science.aaa9375 (a holdout answers honestly only once)"


def test_selection(record: RunRecord, looks: tuple[Look, ...] = ()) -> Finding | None:
    """A test set that was opened more than once, watched over the epochs, or used to compare."""
    counts: dict[str, int] = {kind: sum(look.kind == kind for look in looks) for kind in (*OPENING, "compared")}
    counts["watched"] = max(counts["watched"], sum(row.test_loss is not None for row in record.history))
    opened = sum(counts[kind] for kind in OPENING)
    if not counts["watched"] and not counts["compared"] and openings(looks) <= 1:
        return None
    openers = {"scored": "scored", "watched": "watched after an epoch", "evaluated": "evaluated again"}
    said = [f"{words} {times(counts[kind])}" for kind, words in openers.items() if counts[kind]]
    said += [f"its scores compared {times(counts['compared'])}"] if counts["compared"] else []
    text = f"The test set was opened {times(max(opened, 1))}: {', '.join(said)}."
    blind = not validated(record)
    if blind:
        text += " There is no validation set, so only it can have been used for choices: the score is optimistic."
    else:
        chose = "Validation chose" if record.recipe.stopping.keep == "best" else "The recipe says"
        text += f" {chose} the epoch; but a change made after seeing a test score is chosen by that score."
    if (found := flattery(record)) is not None:
        epoch, best, kept = found
        text += f" On test the best epoch is {epoch} with {100 * best:.2f} %, "
        if best > kept:
            text += f"{100 * (best - kept):.2f} points above the kept epoch's {100 * kept:.2f} %: choosing by test "
            text += "would be optimistic by that much."
        else:
            text += "as much as that of the kept one: choosing by test would gain nothing."
    watch, cure = record.recipe.evaluation.watch_test, None
    if watch or blind:
        cure = "--set evaluation.watch_test=false" if watch else "--set data.validation=0.1"
    picture = evidence.curves(
        record,
        ("validation_accuracy", "test_accuracy"),
        y_label="accuracy",
        at=record.best_epoch if found else None,
        at_name="kept",
    )
    if found is None:
        names = [kind for kind, n in counts.items() if n]
        picture = evidence.bars(names, "looks", [("looks", [counts[n] for n in names])], level=1, level_name="once")
    return (warning if blind else note)(
        "test-selection",
        "The test set was looked at more than once" if opened > 1 else "Test scores were compared",
        text,
        cure,
        "the log of looks, or the history, shows more than one opening of the test set, or a comparison by it",
        DWORK,
        picture,
    )


def leak(record: RunRecord) -> Finding | None:
    """Images of the test or validation part that are in a part before it, too."""
    leaks = record.data.leaks
    if not leaks:
        return None
    sizes = {part: sum(record.data.counts[part]) for part in leaks}
    many = [f"{n} of {sizes[part]} {part} images" for part, n in leaks.items()]
    text = (
        f"{' and '.join(many)} equal, pixel for pixel, images that the net was trained or chosen on: it may have "
        "memorised them, and the accuracy on them says nothing about new images."
    )
    shares = [100 * n / max(1, sizes[part]) for part, n in leaks.items()]
    return warning(
        "leak",
        "A leak between the parts",
        text,
        f"rungs data {record.data.source}",
        "an image of one part equals one of a part before it, pixel for pixel",
        "Barz & Denzler 2020, arXiv:1902.00423 (3.3 % of CIFAR-10's test images have near duplicates in training)",
        evidence.bars(list(leaks), "per cent of the part", [("copies", shares)]),
    )


def mixed_code(record: RunRecord) -> Finding | None:
    """A run that was resumed under other code.

    It has no picture: the record knows which versions trained it, not which epochs each trained.
    """
    if len(record.code) < 2:
        return None
    text = f"It was started with {record.code[0]} and finished with {record.code[-1]}: no single version reproduces it."
    return note(
        "mixed-code",
        "Resumed under other code",
        text,
        None,
        "more than one version of rungs or torch trained it",
        "none: the record shows it",
    )


def skipped(record: RunRecord) -> Finding | None:
    """Files that were left out on request."""
    files = record.data.skipped
    if not files:
        return None
    many = "1 file was" if len(files) == 1 else f"{len(files)} files were"
    text = f"{many} skipped as asked; the first: {files[0].path} ({files[0].reason})."
    kinds = sorted({file.kind for file in files})
    return note(
        "skipped",
        "Skipped files",
        text,
        None,
        "a file of the source could not be read and was left out",
        "none: the record shows it",
        evidence.bars(list(kinds), "files", [("files", [sum(f.kind == kind for f in files) for kind in kinds])]),
    )
