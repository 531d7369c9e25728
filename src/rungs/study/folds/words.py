"""What a cross-validation found, in sentences."""

from __future__ import annotations

from rungs.report import format as fmt
from rungs.report.run_tables import FOLDS_CITED
from rungs.run.reliability import FEW_OF_CLASS
from rungs.study.folds.record import FoldsRecord


def verdict(record: FoldsRecord) -> str:
    """Return the outcome in one sentence."""
    result, k = record.result, len(record.folds)
    score = f"{fmt.percent(result.accuracy)} of {fmt.many(result.n, 'image')} are classified correctly"
    return (
        f"{score}, each by a net that was not trained on it ({k} folds, 95 % interval {fmt.interval(record.interval)})."
    )


def words(record: FoldsRecord) -> tuple[str, ...]:
    """Return what the number rests on, and what the final net is."""
    accuracies = [fold.accuracy for fold in record.folds]
    spread = f"The folds range from {fmt.percent(min(accuracies))} to {fmt.percent(max(accuracies))}"
    return (
        f"{spread} (sd {100 * record.sd:.2f} points).",
        *_of_final(record),
        *_of_few(record),
    )


def _of_final(record: FoldsRecord) -> tuple[str, ...]:
    counts = {part: sum(of_classes) for part, of_classes in record.data.counts.items()}
    every = "all " * (counts["train"] == record.result.n)
    trained = f"The final net was trained on {every}{fmt.many(counts['train'], 'image')}"
    if "validation" in counts:
        trained += f", and {counts['validation']} chose its epoch, because its schedule follows validation"
    else:
        trained += f" for {fmt.many(record.final_epochs, 'epoch')}, the mean of the folds' kept epochs"
    more = "; their nets had fewer images, so this is more often too low than too high" if every else ""
    return (f"{trained}. No image was kept to test it: its accuracy is that of the folds{more}.",)


def _of_few(record: FoldsRecord) -> tuple[str, ...]:
    """Return a sentence on classes with very few images."""
    images = [sum(row) for row in record.result.confusion]
    few = [f"{fmt.named(name)} ({n})" for name, n in zip(record.data.classes, images, strict=True) if n < FEW_OF_CLASS]
    if not few:
        return ()
    named = fmt.listed(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
    have = "has" if len(few) == 1 else "have"
    return (
        f"{named} {have} fewer than {FEW_OF_CLASS} images: their recall is hardly known. "
        "More photos of them help most.",
    )


METHOD = (
    "Every image is tested once, by the net of its fold, which saw neither it nor any image of its group. Where a "
    "net's epoch was chosen, it was by validation images of the other folds. The accuracy is over all images. Its "
    "interval allows for the folds' nets sharing training images: the variance of the mean is (1/k + n_test/n_train) "
    "times that of the "
    f"folds, with k - 1 degrees of freedom ({FOLDS_CITED}); n_train counts the images that a net was trained on, "
    "without those for validation. Where the "
    "binomial interval over all images (Wilson) reaches further, it counts: folds that happen to agree prove nothing "
    "about other images. No unbiased estimate of this variance exists (Bengio and Grandvalet 2004, JMLR 5). Choosing "
    "among many recipes by this number needs a test set of its own."
)
"""How the numbers were obtained."""
