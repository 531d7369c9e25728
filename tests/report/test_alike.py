"""What the page and the terminal say of images that look alike."""

from __future__ import annotations

import numpy as np
import pytest
import samples
import torch
from msgspec.structs import replace

from rungs.data import near
from rungs.evaluate.metrics import per_image
from rungs.report import alike, run_tables
from rungs.run.predictions import decode
from rungs.run.record import GroupsRecord, NearPair
from rungs.training.scoring import without_twins


def test_what_was_compared_is_said_and_nothing_more() -> None:
    data = samples.healthy().data
    assert alike.searched(data) == ""  # an older record
    assert "were not searched" in alike.searched(replace(data, near_compared=0))
    none = alike.searched(replace(data, near_compared=398))
    assert none == (
        "Identical images in two parts: none found. Near duplicates in two parts (similarity 0.947 or above among 398 "
        f"images): none found; suspects (0.90 to 0.947): none found. {alike.PLAIN}"
    )
    found = alike.searched(replace(data, near_compared=398, near={"test": 3}, leaks={"validation": 1}))
    assert "1 validation" in found and "3 test" in found


def test_the_words_name_the_thresholds_that_are_used() -> None:
    assert (float(alike.SAME), float(alike.SUSPECT)) == (near.SAME, near.SUSPECT)


def test_groups_are_counted() -> None:
    groups = GroupsRecord(by="near-duplicates", n=3, images=8, largest=4)
    assert alike.grouped(groups) == "Near duplicates stay in one part: 3 groups hold 8 images, the largest 4"
    assert alike.grouped(replace(groups, n=0, images=0, largest=1)).endswith("there are none")
    dated = alike.grouped(GroupsRecord(by="time", n=1, images=8, largest=8, undated=2))
    assert dated.endswith("1 group of 8 images; 2 photos without an EXIF time stand alone")


def test_pairs_of_a_source_are_counted_apart_from_suspects() -> None:
    pair = NearPair(part="train", image="b", other_part="train", other="a", similarity=0.96, mirrored=True)
    suspect = replace(pair, similarity=0.92, mirrored=False, suspect=True)
    assert alike.pair(pair) == "0.960, mirrored" and alike.pair(suspect) == "0.920, a suspect"
    assert "1 pair with a similarity of 0.947 or above among 9 images, and 1 suspect" in alike.pairs([pair, suspect], 9)
    assert alike.pairs([], 9).startswith(
        "near duplicates, identical images apart: no pair with a similarity of 0.947 or above among 9 images"
    )
    assert "only identical ones" in alike.pairs([], 0)


def test_a_score_is_also_given_without_twins() -> None:
    record = samples.healthy()
    assert record.test is not None
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(10_000, 10)), draw.integers(0, 10, 10_000)
    logits[np.arange(10_000), labels] += 2
    kept = per_image(torch.from_numpy(logits), torch.from_numpy(labels))
    record = replace(record, test=replace(record.test, per_image=kept))
    assert record.test is not None
    correct = decode(kept).correct
    twins = np.flatnonzero(correct)[:50]
    result = without_twins(record.test, twins)
    found = result.without_twins
    assert found is not None and (found.twins, found.twins_accuracy, found.n) == (50, 1.0, len(correct) - 50)
    assert found.accuracy == pytest.approx((correct.sum() - 50) / (len(correct) - 50))
    assert found.accuracy_interval[0] < found.accuracy < found.accuracy_interval[1]
    assert "50 test images have a near duplicate" in alike.without_twins(result)
    assert "1 test image has a near duplicate" in alike.without_twins(without_twins(record.test, twins[:1]))
    assert any("50 twins" in name for name, _ in run_tables._summary_rows(replace(record, test=result)))
    assert without_twins(record.test, twins[:0]).without_twins is None and alike.without_twins(record.test) == ""
