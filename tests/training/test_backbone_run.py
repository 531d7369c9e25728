"""A run of a pretrained backbone: its weights are part of what it is, and its preprocessing travels with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors
import torch
from conftest import draw_photos
from msgspec.structs import replace
from small import run

from rungs import data
from rungs.cli.show import _show
from rungs.data.batches import to_float
from rungs.data.decode import decode
from rungs.data.imageset import ImageSet, Source
from rungs.data.reading import Reading
from rungs.errors import UserError
from rungs.models import pretrained
from rungs.models.backbone import BackboneNet, build_body
from rungs.models.pretrained import read
from rungs.recipe import identity
from rungs.recipe.models import Backbone
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import parse
from rungs.recipe.toml import read as read_recipe
from rungs.run.record import RunRecord
from rungs.ship.evaluate import evaluate
from rungs.ship.predict import load
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.setup import assemble

ALONE = World(0, 1, torch.device("cpu"))
SHORT = """
name = "short"
[data]
source = "folder:PHOTOS"
image_size = 40
validation = 6
test = 6
[model]
name = "backbone"
weights = "efficientnet-lite0"
[optim]
name = "adamw"
lr = 0.001
[training]
epochs = 2
batch_size = 12
compile = "no"
precision = "fp32"
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("photos") / "shapes")


@pytest.fixture(scope="module")
def short(photos: Path) -> Recipe:
    return parse(SHORT.replace("PHOTOS", str(photos)), "short")


@pytest.fixture(scope="module")
def trained(short: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunRecord]:
    folder = tmp_path_factory.mktemp("trained") / "run"
    return folder, run(short, folder)


def with_weights(recipe: Recipe, weights: str, **fields: bool) -> Recipe:
    return replace(recipe, model=Backbone(weights, **fields))


def test_the_weights_source_and_hash_are_in_recipe_record_and_file(trained: tuple[Path, RunRecord]) -> None:
    folder, record = trained
    want = Backbone("efficientnet-lite0", architecture="efficientnet-lite0", sha256=read("efficientnet-lite0").sha256)
    assert record.recipe.model == read_recipe(folder / "recipe.toml").model == want
    with safetensors.safe_open(folder / "weights.safetensors", framework="pt") as file:
        header = file.metadata()
    assert parse(header["recipe"], "it").model == want
    assert json.loads(header["mean"]) == pytest.approx([127 / 255] * 3)
    other = replace(record.recipe, model=replace(want, sha256="0" * 64))
    assert identity.digest(other) != identity.digest(record.recipe)  # and so the fingerprint
    assert record.data.mean != record.recipe.data.mean  # the record still tells those of the training images


def test_a_trained_net_needs_no_package(trained: tuple[Path, RunRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(trained[0])
    monkeypatch.setitem(pretrained.PACKAGES, "efficientnet-lite0", "a_package_that_is_not_here")
    again = load(trained[0])
    x = torch.rand(2, 3, 40, 40)
    with torch.inference_mode():
        assert torch.equal(again.weights.model(x), before.weights.model(x))


def test_a_file_is_predicted_as_it_was_trained(
    trained: tuple[Path, RunRecord], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = load(trained[0])
    resolved, dataset = load_dataset(trained[1].recipe, False)
    assert resolved.data.crop == 0.875
    images = dataset.parts.train
    assert isinstance(images, ImageSet)
    assert images.paths is not None
    path = photos / images.paths[0] if not Path(images.paths[0]).is_absolute() else Path(images.paths[0])
    pixels = images.at(torch.tensor([0]))
    assert torch.equal(pixels[0], torch.from_numpy(decode(path.read_bytes(), 40, "it", "bicubic", 0.875)))
    assert not torch.equal(pixels[0], torch.from_numpy(decode(path.read_bytes(), 40, "it")))
    with torch.inference_mode():
        logits = classifier.weights.model(to_float(pixels))[0] / classifier.weights.temperature
    (predicted,) = classifier.predict(path)
    assert predicted.probabilities is not None
    assert list(predicted.probabilities.values()) == pytest.approx(logits.softmax(0).tolist(), abs=1e-5)


def test_a_folder_is_evaluated_as_it_was_trained(
    trained: tuple[Path, RunRecord], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = data.load

    def noted(source: str, size: int | None, reading: Reading) -> Source:
        asked.append((reading.interpolation, reading.crop))
        return real(source, size, reading)

    monkeypatch.setattr("rungs.ship.evaluate.data.load", noted)
    weights = load(trained[0]).weights
    assert evaluate(weights).accuracy == trained[1].test.accuracy  # type: ignore[union-attr]
    evaluate(weights, f"folder:{photos.parent}/shapes/", "all")
    assert asked == [("bicubic", 0.875)] * 2


def test_the_net_begins_with_its_pretrained_weights_and_standardised_features(short: Recipe) -> None:
    recipe, dataset = load_dataset(short, False)
    net = assemble(recipe, dataset, ALONE).model.net
    assert isinstance(net, BackboneNet)
    for name, tensor in read("efficientnet-lite0").state.items():
        assert torch.equal(net.state_dict()[f"body.{name}"], tensor), name
    train = dataset.parts.train
    x = (to_float(train.at(torch.arange(len(train)))) - 127 / 255) / (128 / 255)
    with torch.inference_mode():
        features = net.eval().features(x)
    assert torch.allclose(net.head.standardize.mean, features.mean(0), atol=1e-4)


def test_random_weights_train_with_the_same_preprocessing(short: Recipe, tmp_path: Path) -> None:
    record = run(with_weights(short, "efficientnet-lite0", pretrained=False), tmp_path / "run")
    assert (record.recipe.data.crop, record.recipe.data.std) == (0.875, (128 / 255,) * 3)
    model = record.recipe.model
    assert isinstance(model, Backbone)
    assert (model.architecture, model.sha256) == ("efficientnet-lite0", "")


def test_a_run_with_other_weights_is_not_resumed(short: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "body.pth"
    torch.manual_seed(0)
    torch.save(build_body("efficientnet-lite0").state_dict(), path)  # type: ignore[attr-defined]
    recipe, folder = with_weights(short, f"file:{path}"), tmp_path / "run"
    run(recipe, folder, stop_after=1)
    torch.save(build_body("efficientnet-lite0").state_dict(), path)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"another recipe: model.sha256 differs\n  -> the pretrained weights changed"):
        run(recipe, folder, resume=True)
    with pytest.raises(UserError, match="holds other weights than the recipe states"):
        run(read_recipe(folder / "recipe.toml"), tmp_path / "other")


def test_a_run_goes_on_with_the_same_weights(short: Recipe, trained: tuple[Path, RunRecord], tmp_path: Path) -> None:
    run(short, tmp_path / "run", stop_after=1)
    record = run(short, tmp_path / "run", resume=True)
    assert [row.train_loss for row in record.history] == [row.train_loss for row in trained[1].history]


def test_sets_of_equal_images_are_cropped_and_resized_too(short: Recipe) -> None:
    on_digits = replace(short, data=replace(short.data, source="digits", train=20, validation=20, test=20))
    recipe, dataset = load_dataset(on_digits, False)
    whole = data.load("digits", 40).train
    assert recipe.data.crop == 0.875
    assert dataset.parts.train.image_size == whole.image_size == 40
    cropped = data.load("digits", 40, Reading("bicubic", 0.875)).train
    assert not torch.equal(cropped.at(torch.tensor([0])), whole.at(torch.tensor([0])))
    rows = dataset.parts.train.rows
    assert rows is not None
    assert torch.equal(dataset.parts.train.at(torch.tensor([0])), cropped.at(rows[:1]))


def test_images_that_a_net_sees_are_spread_over_all(short: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, dataset = load_dataset(short, False)
    seen = []
    monkeypatch.setattr(BackboneNet, "see", lambda self, images: seen.append(images))
    monkeypatch.setattr(BackboneNet, "sees", 7)
    assemble(recipe, dataset, ALONE)
    train = dataset.parts.train
    every = -(-len(train) // 7)
    want = to_float(train.at(torch.arange(0, len(train), every)))
    assert len(seen[0]) <= 7
    assert torch.allclose(seen[0], (want - 127 / 255) / (128 / 255), atol=1e-5)


def test_it_is_shown_without_its_weights(
    short: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(pretrained.PACKAGES, "efficientnet-lite0", "a_package_that_is_not_here")
    silent = replace(short, data=replace(short.data, image_size=None))
    _show(silent, None, 3, tmp_path)
    shown = capsys.readouterr().out
    assert "image_size = 224" in shown
    assert "crop = 0.875" in shown
    assert "conv_head" in shown
