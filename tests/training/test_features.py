"""A head that is trained on kept features is the head of the whole net that is trained frozen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from resumed import require_equal, without_times
from safetensors.torch import load_file
from small import run, small

from rungs.data.cache import cache_dir
from rungs.errors import UserError
from rungs.models.weights import unpack
from rungs.recipe.own import Own
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.ship.evaluate import evaluate
from rungs.study.bench import measure
from rungs.training import features, setup
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.features import HeadSetup, on_features
from rungs.training.setup import assemble

FROZEN = (
    "model.name=resnet18", "model.width=4", "data.train=200", "augment.train=[]", "optim.lr=0.05",
    "training.freeze=backbone",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def recipe_of(*overrides: str) -> Recipe:
    return small(*FROZEN, *overrides)


def setup_of(recipe: Recipe) -> setup.Setup:
    resolved, dataset = load_dataset(recipe, False)
    return on_features(assemble(resolved, dataset, World(0, 1, torch.device("cpu"))))


def test_the_head_of_features_is_the_head_of_the_frozen_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("evaluation.tta=mirror")
    short = run(recipe, tmp_path / "features")
    monkeypatch.setattr("rungs.training.run.on_features", lambda setup: setup)
    whole = run(recipe, tmp_path / "whole")
    for one, two in zip(short.history, whole.history, strict=True):
        assert one.train_loss == pytest.approx(two.train_loss, rel=1e-4)
        assert one.validation_loss == pytest.approx(two.validation_loss, rel=1e-4)
    mine, theirs = (load_file(tmp_path / folder / "weights.safetensors") for folder in ("features", "whole"))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-3, atol=1e-5)
    assert short.test is not None
    assert whole.test is not None
    assert short.test.accuracy == whole.test.accuracy
    assert [one.index for one in short.test.mistakes] == [one.index for one in whole.test.mistakes]
    assert [one.picture for one in short.test.mistakes] == [one.picture for one in whole.test.mistakes]
    assert short.test_tta is not None
    assert whole.test_tta is not None
    assert short.test_tta.accuracy == whole.test_tta.accuracy
    assert short.model == whole.model
    assert 0 < short.train_flops < whole.train_flops


def test_the_saved_weights_are_those_of_a_whole_net_that_predicts_from_pictures(tmp_path: Path) -> None:
    record = run(recipe_of(), tmp_path / "run")
    again = evaluate(unpack(tmp_path / "run" / "weights.safetensors"), part="test")
    assert record.test is not None
    assert again.accuracy == record.test.accuracy
    assert again.loss == pytest.approx(record.test.loss, rel=1e-4)


def test_a_second_run_reads_the_features_of_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(recipe_of(), tmp_path / "a")
    assert len(list((cache_dir() / "features").glob("*/features.safetensors"))) == 1

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(features, "_computed", refuse)
    assert without_times(run(recipe_of(), tmp_path / "b").history) == without_times(first.history)
    run(recipe_of("optim.lr=0.01", "training.epochs=1"), tmp_path / "c")  # another head, the same features


@pytest.mark.parametrize("change", ["seed=1", "model.width=5", "data.image_size=10", "data.mean=[0.5, 0.5, 0.5]"])
def test_other_weights_or_pixels_have_other_features(tmp_path: Path, change: str) -> None:
    run(recipe_of("training.epochs=1"), tmp_path / "a")
    run(recipe_of("training.epochs=1", change), tmp_path / "b")
    assert len(list((cache_dir() / "features").glob("*/features.safetensors"))) == 2


def test_a_damaged_entry_is_computed_again(tmp_path: Path) -> None:
    first = run(recipe_of(), tmp_path / "a")
    (entry,) = (cache_dir() / "features").glob("*/features.safetensors")
    entry.write_bytes(entry.read_bytes()[:-100])
    assert without_times(run(recipe_of(), tmp_path / "b").history) == without_times(first.history)
    assert len(load_file(entry)["features"]) > 0


def test_without_a_cache_features_are_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run(recipe_of(), tmp_path / "a")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert without_times(run(recipe_of(), tmp_path / "b").history) == without_times(first.history)


def test_two_and_two_epochs_equal_four(tmp_path: Path) -> None:
    straight = run(recipe_of(), tmp_path / "straight")
    run(recipe_of(), tmp_path / "halves", stop_after=2)
    resumed = run(recipe_of(), tmp_path / "halves", resume=True)
    assert without_times(resumed.history) == without_times(straight.history)
    assert resumed.test == straight.test
    weights = [load_file(RunDir(tmp_path / folder).weights) for folder in ("straight", "halves")]
    assert require_equal(*weights) > 3


@pytest.mark.parametrize(
    "change",
    [
        "training.freeze=2",
        "training.unfreeze_epochs=[1]",
        "augment.train=[{name='flip'}]",
        "augment.validation=[{name='flip'}]",
        "training.image_scales=[0.5, 1]",
        "model.name=plain",
    ],
)
def test_a_net_that_sees_more_than_one_version_is_trained_as_a_whole(change: str) -> None:
    changed = recipe_of(change) if "plain" not in change else small("training.freeze=backbone", "augment.train=[]")
    assert isinstance(setup_of(recipe_of()), HeadSetup)
    assert not isinstance(setup_of(changed), HeadSetup)


def test_parts_of_one_source_share_their_features() -> None:
    made = setup_of(recipe_of("training.precision=fp32"))
    assert isinstance(made, HeadSetup)
    parts = made.parts.present()
    assert len({part.pixels.data_ptr() for part in parts.values()}) == 1
    for name, part in parts.items():
        pictures = made.whole.parts.present()[name]
        x = features.to_float(pictures.at(torch.arange(3)))
        with torch.no_grad():
            logits = made.whole.model.eval()(x)
            torch.testing.assert_close(made.model(part.at(torch.arange(3))), logits, rtol=1e-4, atol=1e-5)


def test_another_head_on_the_same_body_has_the_same_features(tmp_path: Path) -> None:
    backbone = ("model={name='backbone', weights='efficientnet-lite0', pretrained=false}", "data.image_size=32")
    frozen = ("augment.train=[]", "training.freeze=backbone", "data.train=20", "data.validation=20")
    hashes = set()
    for change in ("model.dropout=0.0", "model.dropout=0.3"):
        resolved, dataset = load_dataset(small(*backbone, *frozen, change), False)
        made = assemble(resolved, dataset, World(0, 1, torch.device("cpu")))
        assert features.trains_head_alone(made)
        hashes.add(features._body_hash(made))
    assert len(hashes) == 1


def test_the_place_of_a_users_file_is_no_part_of_its_body() -> None:
    here, there = (Own("Net", file=f"/{name}/net.py", sha256="a") for name in ("here", "there"))
    assert features._body_of(here) == features._body_of(there)
    assert features._body_of(here) != features._body_of(Own("Net", file="/here/net.py", sha256="b"))


@pytest.mark.parametrize(("before", "now"), [("head", "whole"), ("whole", "head")])
def test_a_head_is_not_resumed_as_a_whole_net(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, now: str
) -> None:
    for kind in (before, now):
        with monkeypatch.context() as patch:
            if kind == "whole":  # as several processes train it
                patch.setattr("rungs.training.run.on_features", lambda setup: setup)
            if kind == before:
                run(recipe_of(), tmp_path / "run", stop_after=2)
            else:
                with pytest.raises(UserError, match=f"trained {'its head' if before == 'head' else 'the whole net'}"):
                    run(recipe_of(), tmp_path / "run", resume=True)


def test_a_bench_of_a_head_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no step to measure"):
        measure.bench(recipe_of(), folder=tmp_path / "bench", seconds=1)
