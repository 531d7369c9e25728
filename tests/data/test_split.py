from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rungs.data.imageset import ImageSet, Source, content_hash, joined
from rungs.data.split import Parts, _turns, fold_of_each, pooled, split_source
from rungs.errors import UserError
from rungs.recipe.groups import ByColumn
from rungs.recipe.spec import DataSpec


def numbered(counts: list[int], seed: int = 0) -> ImageSet:
    """A set whose image i has the number i in its pixels, with `counts` images per class."""
    labels = torch.from_numpy(np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)))
    images = torch.arange(len(labels), dtype=torch.int32).view(torch.uint8).view(-1, 1, 1, 4).repeat(1, 3, 1, 1)
    classes = tuple(f"class {k}" for k in range(len(counts)))
    return ImageSet(
        images, labels, classes, content_hash(images, labels, classes), [str(i) for i in range(len(labels))]
    )


def numbers(part: ImageSet | None) -> set[int]:
    return set() if part is None else {int(path) for path in part.paths or ()}


def source(counts: list[int], validation: ImageSet | None = None, test: ImageSet | None = None) -> Source:
    return Source("numbers", "nowhere", numbered(counts), validation, test)


COUNTS = st.lists(st.integers(6, 60), min_size=1, max_size=8)
SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(COUNTS, SEEDS, st.integers(1, 8), st.integers(1, 8))
def test_parts_are_disjoint_and_of_exact_size(counts: list[int], seed: int, validation: int, test: int) -> None:
    given_source = source(counts)
    n = sum(counts)
    assume(validation + test + len(counts) < n // 2)
    parts = split_source(given_source, DataSpec(validation=validation, test=test), seed)
    sets = [numbers(part) for part in (parts.train, parts.validation, parts.test)]
    assert [len(s) for s in sets] == [n - validation - test, validation, test]
    assert set.union(*sets) == set(range(n))
    for part in (parts.train, parts.validation, parts.test):
        assert part is not None and part.paths is not None
        for i, path in enumerate(part.paths):  # the label and pixels stayed with the image
            assert part.labels[i] == given_source.train.labels[int(path)]
            assert torch.equal(part.images[i], given_source.train.images[int(path)])


@settings(max_examples=60, deadline=None)
@given(COUNTS, SEEDS, st.floats(0.05, 0.6), st.floats(0.3, 1.0))
def test_every_class_has_its_share_to_less_than_one_image(
    counts: list[int], seed: int, validation: float, train: float
) -> None:
    n = sum(counts)
    rest = n - round(validation * n)
    assume(round(train * rest) >= 3 * len(counts))
    try:
        parts = split_source(source(counts), DataSpec(validation=validation, train=train, test=0), seed)
    except UserError:
        assume(False)
    assert parts.validation is not None
    assert len(parts.validation) == round(validation * n)
    assert len(parts.train) == round(train * rest)
    for count, got in zip(counts, parts.validation.counts(), strict=True):
        assert abs(got - len(parts.validation) * count / n) < 1
    for count, cut, got in zip(counts, parts.validation.counts(), parts.train.counts(), strict=True):
        assert abs(got - len(parts.train) * (count - cut) / rest) < 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=10).filter(any), st.integers(0, 500))
def test_every_prefix_of_the_turns_is_fair(counts: list[int], large: int) -> None:
    counts[0] += large
    taken = np.cumsum(np.eye(len(counts), dtype=int)[_turns(counts)], axis=0)  # (N, K) after each turn
    share = np.arange(1, sum(counts) + 1)[:, None] * np.array(counts) / sum(counts)
    assert np.abs(taken - share).max() < 1
    assert taken[-1].tolist() == counts


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(20, 150), st.integers(20, 150))
def test_a_smaller_train_is_a_subset_and_validation_stays(seed: int, one: int, other: int) -> None:
    small, large = sorted((one, other))
    unequal = source([120, 50, 30, 20])
    a = split_source(unequal, DataSpec(train=small), seed)
    b = split_source(unequal, DataSpec(train=large), seed)
    assert numbers(a.train) <= numbers(b.train)
    assert numbers(a.validation) == numbers(b.validation)
    assert numbers(a.test) == numbers(b.test)


def content(parts: Parts) -> list[str]:
    return [part.hash for part in (parts.train, parts.validation, parts.test) if part is not None]


def test_the_seed_decides(digits: Source) -> None:
    spec = DataSpec()
    assert content(split_source(digits, spec, 5)) == content(split_source(digits, spec, 5))
    assert content(split_source(digits, spec, 5)) != content(split_source(digits, spec, 6))
    overlap = numbers(split_source(source([500] * 4), spec, 5).validation) & numbers(
        split_source(source([500] * 4), spec, 6).validation
    )
    assert len(overlap) < 60  # of 200, by chance 20: another seed is another choice, not a shift of the same


def test_a_split_does_not_follow_the_order_of_the_files() -> None:
    parts = split_source(source([1000]), DataSpec(validation=100, test=0), 0)
    assert 350 < np.mean(sorted(numbers(parts.validation))) < 650
    assert parts.train.paths == sorted(parts.train.paths or (), key=int)  # but each part keeps that order


@pytest.mark.needs_cifar
def test_cifar10_keeps_its_test_set(cifar10: Source) -> None:
    parts = split_source(cifar10, DataSpec(train=1000), 0)
    assert parts.test is cifar10.test
    assert parts.validation is not None
    assert parts.validation.counts() == (500,) * 10
    assert parts.train.counts() == (100,) * 10


def test_a_source_keeps_its_own_parts() -> None:
    own = source([9, 9], validation=numbered([2, 2]), test=numbered([3, 3]))
    parts = split_source(own, DataSpec(validation=0.5, test=0.5), 0)
    assert parts.validation is own.validation and parts.test is own.test
    assert parts.train is own.train  # nothing was cut, nothing is copied
    assert split_source(own, DataSpec(validation=0, test=0), 0).test is own.test


def test_zero_means_none() -> None:
    parts = split_source(source([9, 9]), DataSpec(validation=0, test=0.0), 0)
    assert parts.validation is None and parts.test is None
    assert len(parts.train) == 18


def test_validation_does_not_need_every_class_but_training_does() -> None:
    parts = split_source(source([50, 1]), DataSpec(validation=5, test=0), 0)
    assert parts.train.counts()[1] == 1
    with pytest.raises(UserError, match=r"4 training images, but none of 1 classes: class 1"):
        split_source(source([50, 1]), DataSpec(train=4, validation=0, test=0), 0)


def test_a_class_without_images_in_the_source_is_no_error() -> None:
    assert split_source(source([5, 0, 5]), DataSpec(validation=2, test=0), 0).train.counts() == (4, 0, 4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec(validation=30, test=0), "data.validation: validation = 30 means 30 images, but 20 are available"),
        (DataSpec(validation=0.01, test=0), "validation = 0.01 means 0 images"),
        (DataSpec(test=21), "data.test: test = 21 means 21 images"),
        (DataSpec(train=17, validation=2, test=2), "train = 17 means 17 images, but 16 are available"),
        (DataSpec(train=0, validation=2, test=2), "train = 0 means 0 images"),
        (DataSpec(validation=19, test=2), "but 18 are available\n  -> give a smaller fraction or at most 18 images"),
        (
            DataSpec(train=2, validation=1, test=18),
            "but 1 is available\n  -> give a smaller fraction or at most 1 image;",
        ),
        (DataSpec(train=1, validation=2, test=18), "train = 1 means 1 image, but none are available"),
        (DataSpec(validation=20, test=0), "0 training images, but none of 2 classes"),
    ],
)
def test_sizes_that_do_not_fit_are_named(spec: DataSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split_source(source([10, 10]), spec, 0)


@pytest.mark.parametrize(
    ("spec", "do"),
    [
        (DataSpec(validation=30, test=0), "a smaller fraction or at most 20 images; for none: --set data.validation=0"),
        (DataSpec(validation=0.9, test=0.5), "a smaller fraction or at most 10 images"),
        (DataSpec(validation=0.01, test=0), "a larger fraction or 1 image"),
        (
            DataSpec(train=0, validation=2, test=2),
            "a larger fraction or 1 image; for all the rest: --set data.train=none",
        ),
        (DataSpec(train=17, validation=2, test=2), "at most 16 images; for all the rest: --set data.train=none"),
        (DataSpec(train=1, validation=10, test=10), "make the parts before it smaller"),
    ],
)
def test_sizes_that_do_not_fit_are_advised_by_direction(spec: DataSpec, do: str) -> None:
    with pytest.raises(UserError) as caught:
        split_source(source([10, 10]), spec, 0)
    assert do in (caught.value.do or "") and "from 1 to 0" not in str(caught.value)


# --- groups and folds ---------------------------------------------------------------------------------

BY_COLUMN = ByColumn("animal")


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Source, np.ndarray]:
    """A source whose images are in groups of one class each, and the group of each image."""
    counts = draw(st.lists(st.integers(12, 60), min_size=2, max_size=5))
    largest = draw(st.integers(1, 6))
    found = source(counts)
    dice = np.random.default_rng(draw(SEEDS))
    group_of, number = np.empty(sum(counts), dtype=np.int64), 0
    for k in range(len(counts)):
        left = np.flatnonzero(found.train.labels.numpy() == k)
        while len(left):
            taken = int(dice.integers(1, largest + 1))
            group_of[left[:taken]], left, number = number, left[taken:], number + 1
    return dataclasses.replace(found, groups=[str(g) for g in group_of]), group_of


def groups_in(part: ImageSet | None, group_of: np.ndarray) -> set[int]:
    return {int(group_of[i]) for i in numbers(part)}


@settings(max_examples=80, deadline=None)
@given(grouped(), SEEDS, st.floats(0.1, 0.3), st.floats(0.1, 0.3))
def test_groups_stay_whole_in_parts_of_about_the_size(
    drawn: tuple[Source, np.ndarray], seed: int, test: float, validation: float
) -> None:
    given_source, group_of = drawn
    n, largest = len(group_of), np.bincount(group_of).max()
    spec = DataSpec(test=test, validation=validation, groups=BY_COLUMN)
    try:
        parts = split_source(given_source, spec, seed)
    except UserError:
        assume(False)
    sets = [parts.test, parts.validation, parts.train]
    for i, one in enumerate(sets):
        for other in sets[i + 1 :]:
            assert not groups_in(one, group_of) & groups_in(other, group_of)
    assert set.union(*map(numbers, sets)) == set(range(n))
    assert parts.test is not None and parts.validation is not None
    for part, share in ((parts.test, test), (parts.validation, validation)):
        assert abs(len(part) - round(share * n)) < largest
    counts = np.array(given_source.train.counts())
    assert np.abs(np.array(parts.test.counts()) - round(test * n) * counts / n).max() <= largest
    again = split_source(given_source, spec, seed)
    assert content(parts) == content(again)


@settings(max_examples=40, deadline=None)
@given(COUNTS, SEEDS, st.integers(1, 8), st.integers(1, 8))
def test_groups_of_one_image_change_nothing(counts: list[int], seed: int, validation: int, test: int) -> None:
    assume(validation + test + len(counts) < sum(counts) // 2)
    alone = dataclasses.replace(source(counts), groups=[str(i) for i in range(sum(counts))])
    spec = DataSpec(validation=validation, test=test)
    assert content(split_source(source(counts), spec, seed)) == content(
        split_source(alone, replace(spec, groups=BY_COLUMN), seed)
    )


@settings(max_examples=60, deadline=None)
@given(grouped(), SEEDS, st.integers(2, 4), st.booleans())
def test_every_image_is_in_one_fold_and_groups_stay_whole(
    drawn: tuple[Source, np.ndarray], seed: int, folds: int, group: bool
) -> None:
    given_source, group_of = drawn
    n, largest = len(group_of), np.bincount(group_of).max() if group else 1
    spec = DataSpec(folds=folds, groups=BY_COLUMN if group else None)
    try:
        fold_of = fold_of_each(given_source, spec, seed)
    except UserError:
        assume(False)
    tested: list[int] = []
    for fold in range(folds):
        parts = split_source(given_source, replace(spec, fold=fold), seed)
        assert numbers(parts.test) == set(np.flatnonzero(fold_of == fold).tolist())
        tested += numbers(parts.test)
        assert set.union(*(numbers(p) for p in (parts.train, parts.validation, parts.test))) == set(range(n))
        if group:
            assert not groups_in(parts.test, group_of) & groups_in(parts.train, group_of)
            assert not groups_in(parts.validation, group_of) & groups_in(parts.train, group_of)
        assert parts.test is not None and abs(len(parts.test) - n / folds) < largest
        share = np.array(given_source.train.counts()) / folds
        assert np.abs(np.array(parts.test.counts()) - share).max() <= (2 * largest if group else 1)
    assert sorted(tested) == list(range(n))
    assert np.array_equal(fold_of, fold_of_each(given_source, spec, seed))


def test_without_a_fold_the_net_is_trained_on_all() -> None:
    parts = split_source(source([30, 30]), DataSpec(folds=5, validation=0), 0)
    assert parts.test is None and parts.validation is None and len(parts.train) == 60


def test_folds_leave_a_test_set_alone_and_take_in_a_validation_set() -> None:
    own = source([20, 20], validation=numbered([5, 5]), test=numbered([4, 4]))
    assert len(pooled(own).train) == 50
    assert pooled(own).train.hash != own.train.hash
    seen = 0
    for fold in range(5):
        parts = split_source(own, DataSpec(folds=5, fold=fold), 0)
        assert parts.test is not None and parts.validation is not None
        assert parts.test.counts() == (5, 5)
        seen += len(parts.test)
    assert seen == 50


def test_adjacent_sets_of_one_file_are_joined_without_a_copy() -> None:
    whole = numbered([6, 6])
    first = dataclasses.replace(whole, pixels=whole.pixels[:8], labels=whole.labels[:8], paths=(whole.paths or [])[:8])
    second = dataclasses.replace(whole, pixels=whole.pixels[8:], labels=whole.labels[8:], paths=(whole.paths or [])[8:])
    both = joined(first, second)
    assert both.pixels.data_ptr() == whole.pixels.data_ptr()
    assert torch.equal(both.images, whole.pixels) and both.paths == whole.paths
    apart = joined(second, first)
    assert torch.equal(apart.images, torch.cat([whole.pixels[8:], whole.pixels[:8]]))


def test_more_folds_than_the_smallest_class_has_groups() -> None:
    with pytest.raises(UserError, match="5 folds, but the smallest class has 3 images") as caught:
        split_source(source([30, 3]), DataSpec(folds=5, fold=0), 0)
    assert caught.value.do == "give at most 3 folds: --folds 3"
    with pytest.raises(UserError, match="the smallest class has 1 image, and"):
        split_source(source([30, 1]), DataSpec(folds=5, fold=0), 0)
    two = dataclasses.replace(source([8, 8]), groups=["a", "b"] * 8)
    with pytest.raises(UserError, match="has 2 groups of images"):
        split_source(two, DataSpec(folds=4, fold=0, groups=BY_COLUMN), 0)


def test_a_part_that_no_group_fits() -> None:
    one = dataclasses.replace(source([20, 20]), groups=["a" if i < 20 else "b" for i in range(40)])
    with pytest.raises(UserError, match="validation means 2 images, but each group of images is too large"):
        split_source(one, DataSpec(test=0, validation=2, groups=BY_COLUMN), 0)
