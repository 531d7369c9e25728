"""Balanced sampling: what an epoch visits, in runs, packs and after a stop; and that it helps rare classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import faults
import numpy as np
import pytest
import torch
from command import rungs
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image
from safetensors.torch import load_file
from small import run, small

from rungs.data.batches import balanced_order, order
from rungs.diagnose import examine
from rungs.run.record import RunRecord
from rungs.study.cures import trial
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.feed import batches_of_members, epoch_order, training_batches
from rungs.training.pack import join
from rungs.training.setup import Setup, assemble

SAMPLING = "data.balance=sampling"
ALONE = World(0, 1, torch.device("cpu"))
several = st.lists(st.integers(0, 60), min_size=2, max_size=6).filter(lambda counts: sum(n > 0 for n in counts) > 1)


@settings(deadline=None, max_examples=60)
@given(several, st.integers(0, 5), st.integers(0, 5))
def test_all_classes_are_equally_frequent_and_their_images_too(counts: list[int], seed: int, epoch: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    found = balanced_order(labels, seed, epoch)
    assert len(found) == len(labels)  # the epoch is as long as it was
    drawn = torch.bincount(labels[found], minlength=len(counts)).tolist()
    there = [n for n, count in zip(drawn, counts, strict=True) if count]
    assert max(there) - min(there) <= 1 and sum(there) == len(labels)
    visits = torch.bincount(found, minlength=len(labels))
    for k in range(len(counts)):
        own = visits[labels == k]
        assert len(own) == 0 or int(own.max() - own.min()) <= 1
    assert torch.equal(found, balanced_order(labels, seed, epoch))


def test_epochs_and_seeds_differ_and_together_visit_every_image() -> None:
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([90, 5, 5]))
    epochs = [balanced_order(labels, 0, epoch) for epoch in range(20)]
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], balanced_order(labels, 1, 0))
    assert set(torch.cat(epochs).tolist()) == set(range(100))
    assert len(set(labels[epochs[0]][:10].tolist())) > 1  # shuffled, not class after class


def setup_of(*overrides: str, seed: int = 0) -> Setup:
    recipe = replace(small("data.train=150", "data.validation=50", *overrides), seed=seed)
    return assemble(*load_dataset(recipe, False), ALONE)


def test_without_it_the_order_is_as_it_was() -> None:
    assert torch.equal(epoch_order(setup_of(), 3), order(150, 0, 3))


def test_two_ranks_share_the_same_epoch() -> None:
    alone = setup_of(SAMPLING, "augment.train=[]")
    ranks = [dataclasses.replace(alone, world=World(rank, 2, torch.device("cpu"))) for rank in (0, 1)]
    batches = zip(training_batches(alone, 1), *(training_batches(one, 1) for one in ranks), strict=True)
    for (x, y, whole), (x0, y0, _), (x1, y1, _) in batches:
        assert torch.equal(torch.cat([x0, x1]), x) and torch.equal(torch.cat([y0, y1]), y) and whole == len(x)


@pytest.mark.parametrize("augments", ["augment.train=[]", "augment.train=[{name='flip'}]"])
def test_a_pack_visits_what_its_runs_visit_alone(augments: str) -> None:
    members = [setup_of(SAMPLING, "data.train=103", augments, seed=seed) for seed in (0, 1, 5)]
    for together, *alone in zip(
        batches_of_members(join(members), 2), *(training_batches(one, 2) for one in members), strict=True
    ):
        for s, (x, y, _) in enumerate(alone):
            assert torch.equal(together[0][:, 3 * s : 3 * s + 3], x)
            assert torch.equal(together[1][:, s], y)


def test_a_run_that_was_stopped_goes_on_with_the_same_images(tmp_path: Path) -> None:
    recipe = small(SAMPLING, "training.class_weights=[1,1,1,1,1,1,1,1,1,3]", "training.epochs=3", "data.train=150")
    straight = run(recipe, tmp_path / "straight")
    run(recipe, tmp_path / "halves", stop_after=1)
    resumed = run(recipe, tmp_path / "halves", resume=True)
    assert [row.train_loss for row in resumed.history] == [row.train_loss for row in straight.history]
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("straight", "halves"))
    assert all(torch.equal(one[name], other[name]) for name in one)


# --- what it is for


RARE, COMMON = (3, 8, 9), (0, 1, 2, 4, 5, 6, 7)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Overrides that train on digits of which three classes are rare, but not in the test set."""
    root = faults.thinned_digits(tmp_path_factory.mktemp("rare") / "digits", rare=RARE, images=8)
    sizes = ("data.validation=0.2", "data.train=none", "data.image_size=8", "evaluation.mistakes=0")
    return (f'data.source="folder:{root}"', *sizes)


def recall(record: RunRecord, classes: tuple[int, ...]) -> float:
    assert record.test is not None
    shares = [record.test.recall[k] for k in classes]
    return float(np.mean([share for share in shares if share is not None]))


def test_both_ways_recognise_the_rare_classes_far_better(photos: tuple[str, ...], tmp_path: Path) -> None:
    """Measured with 8 seeds: 32 % without (sd 11), 77 % with weights, 76 % with sampling; the others 98 to 99 %."""
    for seed in (0, 1):
        plain, _ = faults.train(tmp_path / f"plain{seed}", *photos, f"seed={seed}")
        for cure in (SAMPLING, "training.class_weights=balanced"):
            cured, _ = faults.train(tmp_path / f"{cure}{seed}", *photos, f"seed={seed}", cure)
            assert recall(cured, RARE) > recall(plain, RARE) + 0.15
            assert recall(cured, COMMON) > 0.9


def test_the_finding_names_a_cure_that_can_be_tried(photos: tuple[str, ...], tmp_path: Path) -> None:
    record, _ = faults.train(tmp_path / "run", *photos)
    found = next(finding for finding in examine(record) if finding.rule == "imbalance")
    assert found.cure == f"--set {SAMPLING}" and "mean recall" in found.text
    tried = trial.try_cures(tmp_path / "run", only=["imbalance"], seeds=1, jobs=0)
    assert isinstance(tried, trial.Tried)
    base, cure = tried.record.rungs
    assert cure.changes == (SAMPLING,)
    metric = "validation_balanced_accuracy"
    assert cure.estimates[metric].mean > base.estimates[metric].mean + 0.05
    said = rungs("diagnose", tmp_path / "run", "--try", "--only", "imbalance", "--seeds", "1", "--jobs", "0").stdout
    assert "mean recall" in said and f"{100 * cure.estimates[metric].mean:.2f} %" in said
    balanced, _ = faults.train(tmp_path / "balanced", *photos, SAMPLING)
    again = next(finding for finding in examine(balanced) if finding.rule == "imbalance")
    assert again.cure is None and "already balances" in again.text


@pytest.mark.parametrize("way", [SAMPLING, "training.class_weights=balanced"])
def test_three_images_against_three_hundred(way: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (303, 12, 12, 3), dtype=np.uint8)
    for i, one in enumerate(pixels):
        path = tmp_path / "photos" / ("rare" if i < 3 else "usual") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(path)
    source = f"data.source='folder:{tmp_path / 'photos'}'"
    record = run(small(source, "data.train=none", "data.validation=0.1", "training.epochs=2", way), tmp_path / "run")
    assert record.status == "finished" and record.data.counts["train"][0] >= 1
    assert all(np.isfinite(row.train_loss) for row in record.history)
    assert record.test is not None and np.isfinite(record.test.loss)
