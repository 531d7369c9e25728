"""Rules about labels, mirrored symbols, and the images that judge a net."""

from __future__ import annotations

import pytest
import samples
from msgspec.structs import replace
from setting_samples import changed, poor, seen

from rungs.diagnose import cures, examine
from rungs.diagnose.labels import label_noise, rank_probability
from rungs.diagnose.symbols import symbols
from rungs.recipe.augments import Crop, Flip, Rotate
from rungs.run.record import NearPair, RunRecord

# --- labels -------------------------------------------------------------------------------------------


def judged(accuracy: float, bins: tuple[tuple[float, float, int], ...]) -> RunRecord:
    n = sum(many for _, _, many in bins)
    result = replace(samples.result(10, n, accuracy), calibration=bins, accuracy=accuracy, n=n)
    result = replace(result, accuracy_interval=samples.wilson(accuracy, n))
    record = poor(accuracy + 0.02, 1.3)
    return replace(record, validation=result, test=result)


def test_mistakes_at_random_are_those_of_labels_and_mistakes_on_hard_images_those_of_a_net() -> None:
    noise = judged(0.6, ((0.55, 0.58, 1000), (0.6, 0.6, 3000), (0.65, 0.62, 1000)))
    found = examine(noise)
    assert found[0].rule == "label-noise" and "40 % of them" in found[0].text
    assert "underfitting" not in {one.rule for one in found}
    small_net = judged(0.6, ((0.3, 0.3, 1800), (0.6, 0.6, 1400), (0.9, 0.9, 1800)))
    assert label_noise(small_net) is None
    timid = judged(0.6, ((0.15, 0.58, 1000), (0.2, 0.6, 3000), (0.25, 0.62, 1000)))
    assert label_noise(timid) is None  # its confidence has not caught up with its accuracy: it has only begun


def test_a_record_that_cannot_tell_names_both_causes() -> None:
    record = judged(0.3, ((0.2, 0.25, 2000), (0.3, 0.3, 2000), (0.4, 0.4, 1000)))
    found = seen(record)["label-noise"]
    assert found.level == "note" and found.title == "Wrong labels, or too small a net?"
    assert "sound" not in seen(record)


def test_validation_that_does_better_than_training_has_better_labels() -> None:
    record = replace(poor(0.6, 1.3), validation=samples.result(10, 5000, 0.9))
    found = seen(record)["label-noise"]
    assert "but only 6" in found.text and "validation images are far easier" in found.text
    healthy = samples.healthy()
    assert label_noise(replace(healthy, validation=samples.result(10, 5000, 0.88))) is None


def test_rank_probability_is_that_of_pairs() -> None:
    assert rank_probability(((0.5, 0.5, 10), (0.9, 0.9, 10))) is None  # too few
    even = rank_probability(((0.4, 0.5, 400), (0.9, 0.5, 400)))
    assert even is not None and even[0] == pytest.approx(0.5) and even[1] == pytest.approx(0.02, abs=0.005)
    apart = rank_probability(((0.2, 0.0, 300), (0.9, 1.0, 300)))
    assert apart is not None and apart[0] == 1.0


# --- digits and letters -------------------------------------------------------------------------------


def named(source: str, classes: tuple[str, ...], grey: bool = False) -> RunRecord:
    record = samples.sized(len(classes), 8)
    mean = (0.3, 0.3, 0.3) if grey else (0.49, 0.48, 0.44)
    return replace(record, data=replace(record.data, source=source, classes=classes, mean=mean))


@pytest.mark.parametrize(
    ("source", "classes"),
    [
        ("digits", tuple("0123456789")),
        ("hub:ylecun/mnist", tuple("0123456789")),
        ("hub:ufldl-stanford/svhn", tuple("0123456789")),
        ("folder:plates", tuple("ABCDEFG")),
        ("folder:x", ("zero", "one", "two")),
        ("folder:x", ("digit_1", "digit_2")),
    ],
)
def test_digits_and_letters_are_known_by_source_or_names_and_never_told_to_flip(
    source: str, classes: tuple[str, ...]
) -> None:
    record = named(source, classes, grey=True)
    assert symbols(record) is not None
    bare = changed(record, "augment", train=())
    assert "flip" not in cures.regularise(bare) and "crop" in cures.regularise(bare)
    assert "flip" not in cures.regularise(changed(record, "augment", train=(Crop(),)))
    flipped = examine(changed(record, "augment", train=(Crop(), Flip())))
    wrong = next(one for one in flipped if one.rule == "mirrored-symbols")
    assert wrong.level == "warning" and wrong.cure == "--set augment.train='[{name = \"crop\"}]'"
    mirrored = changed(bare, "evaluation", tta="mirror")
    assert seen(mirrored)["mirrored-symbols"].cure == "--set evaluation.tta=none"
    turned = changed(record, "augment", train=(Rotate(degrees=90.0),))
    assert "mirrored-symbols" in seen(turned)
    assert "mirrored-symbols" not in seen(changed(record, "augment", train=(Crop(), Rotate(degrees=10.0))))


@pytest.mark.parametrize(
    ("source", "classes"),
    [
        ("cifar10", samples.CIFAR10),
        ("hub:zalando-datasets/fashion_mnist", ("T-shirt", "Trouser")),
        ("folder:photos", ("cat", "dog")),
        ("folder:planes", ("a320", "b737")),
    ],
)
def test_other_pictures_may_be_mirrored(source: str, classes: tuple[str, ...]) -> None:
    record = named(source, classes)
    assert symbols(record) is None
    assert "flip" in cures.regularise(changed(record, "augment", train=(Crop(),)))
    assert "mirrored-symbols" not in seen(changed(record, "augment", train=(Flip(),)))


def test_numbers_of_coloured_pictures_may_be_names_that_got_lost() -> None:
    record = changed(named("parquet:unnamed", tuple("0123456789")), "augment", train=(Flip(),))
    assert seen(record)["mirrored-symbols"].level == "note"


# --- what judges a net --------------------------------------------------------------------------------


def near(many: int, canonical: bool | None = None) -> RunRecord:
    record = samples.healthy()
    pair = NearPair(part="validation", image="b/2.jpg", other_part="train", other="a/1.jpg")
    return replace(
        record, data=replace(record.data, near={"validation": many}, near_pairs=(pair,), canonical=canonical)
    )


def test_near_copies_are_named_with_their_number_and_a_pair() -> None:
    found = seen(near(400))["near-copies"]
    assert found.level == "warning" and "400 of 5,000 validation images" in found.text
    assert "b/2.jpg and a/1.jpg" in found.text
    assert "sound" not in seen(near(400))
    assert seen(near(30))["near-copies"].level == "note"
    assert "near-copies" not in seen(near(20))
    assert seen(near(200, canonical=True))["near-copies"].level == "note"
    assert seen(near(400, canonical=True))["near-copies"].level == "warning"  # no published set has so many
    digits = near(400, canonical=True)
    digits = replace(digits, data=replace(digits.data, source="digits"))
    assert "written alike" in seen(digits)["near-copies"].text and seen(digits)["near-copies"].level == "note"


def test_a_class_without_validation_images_is_missed_where_chance_would_have_given_it_some() -> None:
    record = samples.healthy()
    counts = {**record.data.counts, "validation": (*record.data.counts["validation"][:-1], 0)}
    missing = seen(replace(record, data=replace(record.data, counts=counts)))["absent-class"]
    assert "Validation has no image of 'truck'" in missing.text
    few = {**record.data.counts, "validation": (3, 3, 2, 2, 2, 2, 2, 2, 2, 0)}
    assert "absent-class" not in seen(replace(record, data=replace(record.data, counts=few)))


def test_nothing_is_good_with_few_validation_images_low_training_or_guessing() -> None:
    record = samples.healthy()
    for n in (1, 2, 20, 49):
        few = replace(record, validation=samples.result(10, n, 0.95))
        rules = {finding.rule: finding.level for finding in examine(few)}
        assert "sound" not in rules and "good" not in rules.values()
        assert all(map(sum, few.validation.confusion)) and rules["too-few-to-tell"] == "note"
    slow = tuple(replace(row, train_accuracy=0.45) for row in record.history)
    low = samples.result(10, 45000, 0.45)
    half = replace(record, train=low, validation=samples.result(10, 5000, 0.45), test=None, history=slow)
    assert seen(half)["sound"].level == "note"
    rows = tuple(replace(row, train_accuracy=0.4) for row in record.history)
    assert seen(replace(record, history=rows, train=None))["sound"].level == "note"
    guessed = replace(record, validation=samples.result(10, 5000, 0.101))
    assert "good" not in {finding.level for finding in examine(guessed)}


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("correct", [True, False])
def test_one_validation_image_breaks_no_rule(classes: int, correct: bool) -> None:
    record = samples.sized(max(2, classes), 8)
    p = float(correct)
    one = replace(samples.result(max(2, classes), 2, 0.9), n=1, accuracy=p, accuracy_interval=samples.wilson(p, 1))
    table = ((1, 0), (0, 0)) if correct else ((0, 1), (0, 0))
    one = replace(one, confusion=table, calibration=((0.9, p, 1),))
    if classes == 1:
        data = replace(
            record.data, classes=record.data.classes[:1], counts={k: (v[0],) for k, v in record.data.counts.items()}
        )
        one = replace(one, confusion=((1,),), precision=(p,), recall=(p,), f1=(p,))
        record = replace(record, data=data, test=None, train=None)
    found = examine(replace(record, validation=one))
    assert found and "good" not in {finding.level for finding in found}
