"""Rules about what judges a net: images that are in two parts, a class that is missing, images of a few pixels."""

from __future__ import annotations

from rungs.diagnose import evidence
from rungs.diagnose.findings import OURS, note, warning
from rungs.diagnose.symbols import certain, symbols
from rungs.run.record import Finding, RunRecord

FEW_COPIES = 0.005
"""Copies of fewer than half a per cent of a part's images move its accuracy by less than half a point."""
MANY_COPIES = 0.01
"""From a per cent on they hide differences that a change of a recipe makes."""
PUBLISHED_COPIES = 0.05
"""No published set is known to have as many; it then is not as it was published."""
NAMED = 3
"""Pairs that are named."""
EXPECTED = 3
"""Images of a class that a part of this size would hold on average: fewer may be missing by chance."""
SPOILT = 0.20
"""Twenty points between augmented validation images and plain ones."""
SMALL_SIDE = 8
"""Pictures of so few pixels a side show little but digits and letters, drawn as small as scikit-learn's."""


def near_copies(record: RunRecord) -> Finding | None:
    """Images that look like one of an earlier part, without being identical to one."""
    shares = {part: many / max(1, sum(record.data.counts.get(part, ()))) for part, many in record.data.near.items()}
    told = {part: share for part, share in shares.items() if share >= FEW_COPIES}
    if not told:
        return None
    sizes = {part: sum(record.data.counts[part]) for part in told}
    many = [f"{record.data.near[part]:,} of {sizes[part]:,} {part} images" for part in told]
    pairs = [pair for pair in record.data.near_pairs if pair.part in told and not pair.suspect][:NAMED]
    text = (
        f"{' and '.join(many)} look nearly the same as an image that the net was trained or chosen on: the same photo "
        "cut, scaled or encoded in another way, or the next frame of a film. The accuracy on them says little about "
        "new images."
    )
    if pairs:
        text += f" For example {'; '.join(f'{pair.image} and {pair.other}' for pair in pairs)}."
    text += " Keep all copies of a picture in one part."
    published = record.data.canonical is True and max(told.values()) < PUBLISHED_COPIES
    drawn = symbols(record) is not None and certain(record)
    make = warning if max(told.values()) >= MANY_COPIES and not published and not drawn else note
    if drawn:
        text += " Digits or letters that are written alike are not copies, though: look at these pairs first."
    elif published:
        text += " This is the published data set: scores on it are compared as they are."
    return make(
        "near-copies",
        "Nearly the same images in two parts",
        text,
        None,
        f"at least {100 * FEW_COPIES:g} % of a part's images look like one of a part before it: their colours, in "
        "26 x 26 cells, shifted by up to two or mirrored, have a correlation of 0.947 or above",
        "Barz & Denzler 2020, arXiv:1902.00423 (3.3 % of CIFAR-10's test images have near duplicates in training); "
        f"the numbers are {OURS}",
        evidence.bars(list(told), "per cent of the part", [("near copies", [100 * share for share in told.values()])]),
    )


def absent_class(record: RunRecord) -> Finding | None:
    """A class that is trained but has no image in a part that judges."""
    counts, names = record.data.counts, record.data.classes
    train = counts.get("train", ())
    images = max(1, sum(train))
    absent: dict[str, list[str]] = {
        part: [
            name
            for name, own, n in zip(names, train, counts[part], strict=False)
            if n == 0 and own * sum(counts[part]) >= EXPECTED * images
        ]
        for part in ("validation", "test")
        if part in counts
    }
    absent = {part: missing for part, missing in absent.items() if missing}
    if not absent:
        return None
    said = [
        f"{part} has no image of {', '.join(map(repr, missing[:3]))}{' and others' * (len(missing) > 3)}"
        for part, missing in absent.items()
    ]
    text = (
        f"{' and '.join(said)}. {sentence_of(absent)} Add images of it, or let rungs cut that part from the training "
        "images, of every class alike."
    )
    part = next(iter(absent))
    return warning(
        "absent-class",
        "A class is missing",
        text[:1].upper() + text[1:],
        None,
        f"a part has no image of a class of which it would hold {EXPECTED} or more if it were cut by chance",
        "none: the record shows it",
        evidence.bars(list(names), f"{part} images", [(part, list(counts[part]))]),
    )


def sentence_of(absent: dict[str, list[str]]) -> str:
    """Say what follows from a part without a class."""
    if "validation" in absent:
        return "The epoch and every choice are made without it: nobody would notice that the net never finds it."
    return "The test score says nothing about it."


def small_images(record: RunRecord) -> Finding | None:
    """Images shrunk to a few pixels, in a training that stays low."""
    size = record.data.image_size
    if size > SMALL_SIDE or record.train is None or record.train.accuracy >= 0.8 or symbols(record) is not None:
        return None
    text = (
        f"The images are shrunk to {size} x {size} pixels, and {100 * record.train.accuracy:.1f} % of the training "
        "images are classified correctly: so few pixels may not show the class, whatever the net."
    )
    return warning(
        "small-images",
        "The images are too small",
        text,
        f"--set data.image_size={max(32, 4 * size)}",
        f"images are at most {SMALL_SIDE} pixels a side, and fewer than 80 % of the training images are classified "
        "correctly",
        f"Touvron et al. 2019, arXiv:1906.06423, for what resolution does; the numbers are {OURS}",
        evidence.curves(record, ("train_accuracy", "validation_accuracy"), y_label="accuracy"),
    )


def augmented_validation(record: RunRecord) -> Finding | None:
    """Validation images that are augmented after each epoch, and score far below what the net does on plain ones."""
    augmented, plain = record.validation, record.test or record.train
    if record.status != "finished" or not record.recipe.augment.validation or augmented is None or plain is None:
        return None
    apart = SPOILT if record.test is not None else 2 * SPOILT  # the net has learnt the training images
    if plain.accuracy - augmented.accuracy <= apart:
        return None
    part = "test" if record.test is not None else "training"
    text = (
        f"The validation images are augmented, and {100 * augmented.accuracy:.1f} % of them are classified correctly; "
        f"of the {part} images, which are not, {100 * plain.accuracy:.1f} %. Validation should show the images as they "
        "will come; otherwise it chooses the epoch for other ones."
    )
    return warning(
        "augmented-validation",
        "Validation images are augmented",
        text,
        "--set augment.validation=[]",
        f"the recipe augments validation images, and their accuracy is more than {100 * SPOILT:.0f} points below that "
        f"of the test images, or {200 * SPOILT:.0f} below that of training images without augmentation",
        f"Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 7.2; the points are {OURS}",
        evidence.curves(record, ("train_accuracy", "validation_accuracy"), y_label="accuracy"),
    )
