"""Which names are those of digits and letters, and what is to be left out where they are mirrored."""

from __future__ import annotations

import pytest
import samples
from msgspec.structs import replace

from rungs.diagnose.mirrors import mirrored_symbols
from rungs.diagnose.symbols import symbols
from rungs.recipe.augments import Crop, Flip
from rungs.run.record import RunRecord


def flipped(source: str, classes: tuple[str, ...], *, tta: str = "none") -> RunRecord:
    record = samples.sized(len(classes), 8)
    recipe = record.recipe
    recipe = replace(
        recipe,
        augment=replace(recipe.augment, train=(Crop(), Flip())),
        evaluation=replace(recipe.evaluation, tta=tta),
    )
    return replace(record, recipe=recipe, data=replace(record.data, source=source, classes=classes))


@pytest.mark.parametrize(
    ("source", "classes"),
    [
        ("folder:x", ("type_a", "type_b")),
        ("folder:x", ("grade 1", "grade 2", "grade 3")),
        ("folder:x", ("vitamin c", "vitamin d")),
        ("folder:x", ("phase one", "phase two")),
        ("folder:x", ("a 1", "b 2")),
        ("folder:/home/me/mnist-project/cats", ("cat", "dog")),
        ("folder:/home/me/letters/birds/", ("wren", "owl")),
        ("folder:newsletters", ("cover", "back")),
    ],
)
def test_a_letter_or_number_after_another_word_names_something_else(source: str, classes: tuple[str, ...]) -> None:
    record = flipped(source, classes)
    assert symbols(record) is None and mirrored_symbols(record) is None


@pytest.mark.parametrize(
    ("source", "classes", "level"),
    [
        ("folder:x", ("upper_a", "lower_b"), "warning"),
        ("folder:x", ("digit three", "digit four"), "warning"),
        ("folder:/data/hand-digits/", ("left", "right"), "warning"),
        ("hub:ylecun/mnist", ("left", "right"), "warning"),
        ("folder:x", ("class_1", "class_2"), "note"),
        ("folder:x", ("label a", "label b"), "note"),
    ],
)
def test_digits_and_letters_get_a_warning_and_numbers_without_a_name_a_note(
    source: str, classes: tuple[str, ...], level: str
) -> None:
    found = mirrored_symbols(flipped(source, classes))
    assert found is not None and found.level == level


def test_the_cure_removes_flips_and_mirrored_views_together() -> None:
    found = mirrored_symbols(flipped("digits", tuple("0123456789"), tta="mirror"))
    assert found is not None and "mirrored, and mirrored when scored" in found.text
    assert found.cure == "--set augment.train='[{name = \"crop\"}]' --set evaluation.tta=none"
