"""Using a trained net: its classes are checked, its score and its predictions belong to the right files."""

from __future__ import annotations

import base64
import dataclasses
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from command import rungs
from conftest import draw_photos
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image
from small import run, small

from rungs import data as sources
from rungs.data.decode import decode
from rungs.data.split import split_source
from rungs.errors import UserError
from rungs.models import build_model
from rungs.models.normalized import Normalized
from rungs.models.weights import Weights, pack
from rungs.recipe.groups import ByColumn
from rungs.recipe.toml import load
from rungs.run import looks
from rungs.run.folder import RunDir
from rungs.run.record import Mistake
from rungs.ship.bundle import load_weights, require_classes
from rungs.ship.evaluate import evaluate
from rungs.ship.predict import Classifier, Prediction

SIZE = 12
CLASSES = ("cat", "dog", "owl")
SAID = [
    *("model.stages=[[8],[8]]", "model.hidden=[]", "model.dropout=[]", "training.precision='fp32'"),
    *("evaluation.batch_size=4", "evaluation.mistakes=100"),
]
"""Changes to a shipped recipe: a small net, batches smaller than the sets, every mistake kept."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """A net that nobody trained, with logits far apart, through its file."""
    recipe = load("digits-quick", SAID)
    torch.manual_seed(3)
    net = Normalized(
        build_model(recipe.model, image_size=SIZE, classes=len(CLASSES)), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    )
    with torch.no_grad():
        list(net.parameters())[-2].mul_(4)  # (K, features)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    path.write_bytes(
        pack(net.state_dict(), recipe=recipe, classes=CLASSES, image_size=SIZE, data_hash="d" * 64),
    )
    return load_weights(path)


def noise(seed: int, *shape: int) -> np.ndarray:
    """Return uint8 `shape`, around a colour of its own."""
    generator = np.random.default_rng(seed)
    return (generator.integers(0, 156, shape[2:]) + generator.integers(0, 100, shape)).astype(np.uint8)


def picture(path: Path, seed: int, width: int = 20, height: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, height, width, 3)).save(path)
    return path


def by_hand(weights: Weights, pixels: np.ndarray) -> torch.Tensor:
    """Return the probabilities (K,) of one image, uint8 (3, SIZE, SIZE)."""
    with torch.inference_mode():
        logits: torch.Tensor = weights.model(torch.from_numpy(pixels.astype(np.float32) / 255)[None])
    return logits[0].softmax(0)


def of_file(weights: Weights, path: Path) -> torch.Tensor:
    return by_hand(weights, decode(path.read_bytes(), SIZE, str(path)))


def agrees(prediction: Prediction, want: torch.Tensor) -> bool:
    assert prediction.probabilities is not None
    assert tuple(prediction.probabilities) == CLASSES
    assert prediction.label == CLASSES[int(want.argmax())]
    assert prediction.probability == max(prediction.probabilities.values())
    return torch.allclose(torch.tensor(list(prediction.probabilities.values())), want, atol=1e-5)


# --- classes


@pytest.mark.parametrize("classes", [CLASSES, ("dog", "cat", "owl"), ("cat", "dog"), ("owl",)])
def test_the_classes_of_the_weights_are_accepted(weights: Weights, classes: tuple[str, ...]) -> None:
    require_classes(weights, classes, "folder:x")


@pytest.mark.parametrize(
    ("classes", "what"),
    [
        (("cat", "dog", "owl", "yak"), r"missing none, unknown \['yak'\]"),
        (("cat", "dog", "yak"), r"missing \['owl'\], unknown \['yak'\]"),
        (("Cat", "dog", "owl"), r"missing \['cat'\], unknown \['Cat'\]"),
    ],
)
def test_other_classes_are_refused(weights: Weights, classes: tuple[str, ...], what: str) -> None:
    with pytest.raises(UserError, match=f"^folder:x: .*{what}\n  -> give no others than these classes: cat, dog, owl$"):
        require_classes(weights, classes, "folder:x")


def test_a_set_with_other_classes_is_not_scored(weights: Weights, tmp_path: Path) -> None:
    for i, name in enumerate(("cat", "dog", "yak")):
        picture(tmp_path / "photos" / name / "1.png", i)
    with pytest.raises(UserError, match=r"missing \['owl'\], unknown \['yak'\]"):
        evaluate(weights, f"folder:{tmp_path / 'photos'}")


@pytest.mark.parametrize("lacks", ["owl", "cat", "cat dog"])
@pytest.mark.parametrize("below", ["", "test/"])
def test_a_set_without_some_classes_is_scored_by_name(weights: Weights, tmp_path: Path, lacks: str, below: str) -> None:
    root, there = tmp_path / "photos", [name for name in CLASSES if name not in lacks.split()]
    files = [picture(root / below / name / f"{i}.png", 60 * i + ord(name[0])) for name in there for i in range(4)]
    result = evaluate(weights, f"folder:{root}")
    want = torch.zeros(3, 3, dtype=torch.int64)
    for path in files:
        want[CLASSES.index(path.parent.name), int(of_file(weights, path).argmax())] += 1
    assert torch.tensor(result.confusion).equal(want) and result.n == len(files)
    assert [recall is None for recall in result.recall] == [name not in there for name in CLASSES]
    assert all(is_of_its_file(mistake, weights) for mistake in result.mistakes)


def test_a_table_with_its_classes_in_another_order_is_scored_by_name(weights: Weights, tmp_path: Path) -> None:
    rows = ["image,label"]
    for name in ("owl", "cat"):
        rows += [f"{picture(tmp_path / f'{name}{i}.png', 9 * i + ord(name[0])).name},{name}" for i in range(3)]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    result = evaluate(weights, f"csv:{tmp_path / 'labels.csv'}", "all")
    assert [sum(row) for row in result.confusion] == [3, 0, 3]


def test_another_set_need_not_have_the_layout_of_the_recipe(weights: Weights, tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "dog" / "1.png", 1)
    read = replace(weights.recipe.data, layout="class/part", label_column="kind")
    net = dataclasses.replace(weights, recipe=replace(weights.recipe, data=read))
    assert evaluate(net, f"folder:{tmp_path / 'photos'}").n == 1


def test_another_table_need_not_have_the_groups_of_the_recipe(weights: Weights, tmp_path: Path) -> None:
    rows = [f"{picture(tmp_path / f'{i}.png', i).name},dog,cat" for i in range(3)]
    (tmp_path / "new.csv").write_text("\n".join(["file,kind,label", *rows]))
    own = replace(weights.recipe.data, image_column="file", label_column="kind", groups=ByColumn("patient"))
    net = dataclasses.replace(weights, recipe=replace(weights.recipe, data=own))
    result = evaluate(net, f"csv:{tmp_path / 'new.csv'}", "all")
    assert [sum(row) for row in result.confusion] == [0, 3, 0]  # by the recipe's column still


def test_a_set_without_a_readable_image_is_not_scored(weights: Weights, tmp_path: Path) -> None:
    (tmp_path / "photos" / "dog").mkdir(parents=True)
    (tmp_path / "photos" / "dog" / "1.png").write_text("a text")
    with pytest.raises(UserError, match="no readable image in the all part"):
        evaluate(weights, f"folder:{tmp_path / 'photos'}", skip_unreadable=True)


# --- evaluate


PARTS = {"train": 5, "val": 3, "test": 4}
"""The parts of the photos, and how many are in each class."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets") / "photos"
    for p, (part, n) in enumerate(PARTS.items()):
        for c, name in enumerate(CLASSES):
            for i in range(n):
                picture(root / part / name / f"{i}.png", 1000 * p + 100 * c + i, 16 + i, 18)
    return root


def is_of_its_file(mistake: Mistake, weights: Weights) -> bool:
    """Check everything that a mistake says against the file that it names."""
    assert mistake.path is not None
    path = Path(mistake.path)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(mistake.picture)))).transpose(2, 0, 1)  # (3, H, W)
    assert (shown == decode(path.read_bytes(), SIZE, str(path))).all()
    want = of_file(weights, path)
    assert CLASSES[mistake.truth] == path.parent.name
    assert mistake.predicted == int(want.argmax()) != mistake.truth
    assert mistake.loss == pytest.approx(-float(want[mistake.truth].log()), abs=1e-4)
    return mistake.probability == pytest.approx(float(want.max()), abs=1e-5)


def wrong(weights: Weights, files: Sequence[Path]) -> list[Path]:
    return [path for path in files if CLASSES[int(of_file(weights, path).argmax())] != path.parent.name]


def in_order(root: Path) -> list[Path]:
    """Return all files in the order of the sets: train, validation, test."""
    return [path for part in PARTS for path in sorted((root / part).rglob("*.png"))]


def test_mistakes_in_all_sets_keep_their_picture_and_path(weights: Weights, photos: Path) -> None:
    files = in_order(photos)
    want = wrong(weights, files)
    assert {path.parts[-3] for path in want} == set(PARTS)  # there is a mistake in each set
    assert len({int(of_file(weights, path).argmax()) for path in files}) > 1  # and the net looks at the image
    result = evaluate(weights, f"folder:{photos}", "all")
    assert result.n == len(files) == 3 * sum(PARTS.values())
    assert result.accuracy == pytest.approx(1 - len(want) / len(files))
    assert [sum(row) for row in result.confusion] == [sum(PARTS.values())] * len(CLASSES)
    assert {mistake.path for mistake in result.mistakes} == {str(path) for path in want}
    assert all(is_of_its_file(mistake, weights) for mistake in result.mistakes)
    assert all(str(files[mistake.index]) == mistake.path for mistake in result.mistakes)
    losses = [mistake.loss for mistake in result.mistakes]
    assert losses == sorted(losses, reverse=True)


def test_files_left_out_shift_no_label(weights: Weights, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for p, part in enumerate(PARTS):
        for c, name in enumerate(CLASSES):
            for i in range(3):
                picture(root / part / name / f"{i}.png", 7000 + 100 * p + 10 * c + i)
    for lost in ("train/cat/1.png", "val/cat/0.png", "test/dog/0.png"):
        (root / lost).write_bytes(b"")
    with pytest.raises(UserError, match="3 files cannot be used"):
        evaluate(weights, f"folder:{root}", "all")
    result = evaluate(weights, f"folder:{root}", "all", skip_unreadable=True)
    readable = [path for path in in_order(root) if path.stat().st_size]
    assert result.n == len(readable) == 24
    assert {mistake.path for mistake in result.mistakes} == {str(path) for path in wrong(weights, readable)} != set()
    assert all(is_of_its_file(mistake, weights) for mistake in result.mistakes)


def test_the_test_set_of_a_source_is_scored_alone(weights: Weights, photos: Path) -> None:
    result = evaluate(weights, f"folder:{photos}")
    files = sorted((photos / "test").rglob("*.png"))
    want = wrong(weights, files)
    assert result.n == len(files)
    assert {mistake.path for mistake in result.mistakes} == {str(path) for path in want}
    assert all(is_of_its_file(mistake, weights) for mistake in result.mistakes)


def test_a_runs_own_images_are_known_however_they_are_spelled(tmp_path: Path, photos: Path) -> None:
    """Else the images that it was trained on would be scored with the rest."""
    shutil.copytree(photos / "train", tmp_path / "mine")
    sizes = ["data.train=none", "data.validation=0.2", "data.test=0.2", "data.image_size=16", "training.epochs=1"]
    recipe = small(*sizes, "training.batch_size=4", "augment.train=[]", f"data.source='folder:{tmp_path / 'mine'}'")
    record = run(recipe, tmp_path / "run")
    trained = load_weights(tmp_path / "run")
    spelled = [None, f"folder:{tmp_path / 'mine'}/", f"folder:{tmp_path / 'run' / '..' / 'mine'}"]
    for source in spelled:
        result = evaluate(trained, source)
        assert record.test is not None
        assert (result.n, result.accuracy) == (3, record.test.accuracy)
        assert evaluate(trained, source, "all").n == 15
    picture(tmp_path / "mine" / "owl" / "new.png", 77)
    with pytest.raises(UserError, match="the data changed since training"):
        evaluate(trained)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """A folder with a run, and mine: its 15 photos, 3 of them each for validation and test."""
    root = tmp_path_factory.mktemp("own")
    shutil.copytree(photos / "train", root / "mine")
    sizes = ["data.train=none", "data.validation=0.2", "data.test=0.2", "data.image_size=16", "training.epochs=1"]
    run(
        small(*sizes, "training.batch_size=4", "augment.train=[]", f"data.source='folder:{root / 'mine'}'"),
        root / "run",
    )
    return root


def test_which_part_of_a_runs_own_images_was_scored_is_said(trained: Path, tmp_path: Path) -> None:
    net, copy = load_weights(trained / "run"), tmp_path / "copy"
    shutil.copytree(trained / "mine", copy)
    (by_default,) = evaluate(net, f"folder:{copy}").notes
    assert by_default == "These are the run's own images, of which its test part was scored."
    (train,) = evaluate(net, f"folder:{copy}", "train").notes
    assert "training part" in train and "not a score on new images" in train
    (every,) = evaluate(net, None, "all").notes
    assert "The net was trained on 9 of these 15 images" in every


def test_images_of_another_source_that_the_net_was_trained_on_are_counted(trained: Path, tmp_path: Path) -> None:
    net = load_weights(trained / "run")
    source = sources.load(f"folder:{trained / 'mine'}", 16)
    train = split_source(source, net.recipe.data, net.recipe.seed).train.paths
    assert train is not None
    for path in train:
        there = tmp_path / "some" / Path(path).parent.name / f"renamed-{Path(path).name}"
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    (every,) = evaluate(net, f"folder:{tmp_path / 'some'}").notes
    assert every.startswith("The net was trained on all of these 9 images, equal to the pixel")
    for name in CLASSES:
        picture(tmp_path / "some" / name / "new.png", 4242 + ord(name[0]))
        picture(tmp_path / "new" / name / "new.png", 4242 + ord(name[0]))
    (some,) = evaluate(net, f"folder:{tmp_path / 'some'}").notes
    assert "9 of these 12 images" in some
    assert evaluate(net, f"folder:{tmp_path / 'new'}").notes == ()


def test_without_the_images_that_it_was_trained_on_nobody_knows(weights: Weights, photos: Path) -> None:
    (unknown,) = evaluate(weights, f"folder:{photos}").notes
    assert "is not known: its own, digits, could not be compared" in unknown  # a net that nobody trained
    gone = replace(weights.recipe, data=replace(weights.recipe.data, source="hub:some/where"))
    (unknown,) = evaluate(dataclasses.replace(weights, recipe=gone), f"folder:{photos}").notes
    assert "hub:some/where, could not be compared" in unknown  # and nothing is downloaded for it


def test_files_left_out_are_named(trained: Path, tmp_path: Path) -> None:
    net, root = load_weights(trained / "run"), tmp_path / "photos"
    for name in CLASSES:
        picture(root / name / "1.png", 4242 + ord(name[0]))
    for i in range(7):
        (root / "dog" / f"bad{i}.png").write_text("a text")
    (left_out,) = evaluate(net, f"folder:{root}", skip_unreadable=True).notes
    assert "7 files" in left_out and "dog/bad0.png (" in left_out and "bad5" not in left_out and "2 more" in left_out
    said = rungs("evaluate", trained / "run", "--data", f"folder:{root}", "--skip-unreadable").stdout
    assert left_out in said


def test_a_bf16_run_is_scored_in_bf16(tmp_path: Path) -> None:
    record = run(small("training.precision=bf16", "training.epochs=1", "evaluation.batch_size=90"), tmp_path)
    again = evaluate(load_weights(tmp_path))
    assert record.test is not None
    assert again.loss == record.test.loss
    weights = load_weights(tmp_path)
    fp32 = replace(weights.recipe, training=replace(weights.recipe.training, precision="fp32"))
    assert evaluate(dataclasses.replace(weights, recipe=fp32)).loss != record.test.loss


# --- predict


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str | None]:
    """Files -> None where they can be read, else what is wrong with them."""
    root = tmp_path_factory.mktemp("mixed")
    good = [picture(root / f"{i}.png", 50 + i, 12 + i, 12 + 2 * i) for i in range(5)]
    (root / "empty.png").write_bytes(b"")
    (root / "text.jpg").write_text("a text")
    (root / "half.png").write_bytes(good[0].read_bytes()[:300])
    (root / "folder.png").mkdir()
    return {
        **dict.fromkeys(good),
        root / "empty.png": "empty file",
        root / "text.jpg": "not an image",
        root / "half.png": "damaged",
        root / "folder.png": "a folder",
        root / "nowhere.png": "No such file or directory",
        root / "a\0b.png": "null",
    }


def test_a_folder_stands_for_the_images_in_and_below_it(weights: Weights, tmp_path: Path) -> None:
    names = ("2.png", "10.png", "day 1/a.png", "@eaDir/2.png", ".hidden/2.png", "sub/Thumbs.db/2.png")
    for i, name in enumerate(names):
        picture(tmp_path / "new" / name, i)
    (tmp_path / "new" / "notes.txt").write_text("text")
    loose = picture(tmp_path / "loose.png", 9)
    found = Classifier(weights).predict([tmp_path / "new", loose], batch_size=2)
    want = [tmp_path / "new" / name for name in names[:3]] + [loose]
    assert [prediction.path for prediction in found] == [str(path) for path in want]
    for prediction, path in zip(found, want, strict=True):
        assert agrees(prediction, of_file(weights, path))


def test_names_that_are_not_utf8_are_escaped(weights: Weights, tmp_path: Path) -> None:
    picture(tmp_path / os.fsdecode(b"caf\xe9") / "1.png", 1)
    assert [found.path for found in Classifier(weights).predict(tmp_path)] == [f"{tmp_path}/caf\\xe9/1.png"]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), batch_size=st.integers(1, 7))
def test_labels_stay_with_their_files(
    weights: Weights, mixed: dict[Path, str | None], data: st.DataObject, batch_size: int
) -> None:
    files = data.draw(st.lists(st.sampled_from(list(mixed)), max_size=14))  # a file may come twice
    found = Classifier(weights).predict(files, batch_size)
    assert [prediction.path for prediction in found] == [str(path) for path in files]
    for path, prediction in zip(files, found, strict=True):
        reason = mixed[path]
        if reason is None:
            assert prediction.error is None
            assert agrees(prediction, of_file(weights, path))
        else:
            assert prediction.error is not None
            assert reason in prediction.error
            assert (prediction.label, prediction.probability, prediction.probabilities) == (None, None, None)


def test_the_readable_files_are_told_apart(weights: Weights, mixed: dict[Path, str | None]) -> None:
    """Else the test above would pass with labels exchanged."""
    rows = [of_file(weights, path) for path, reason in mixed.items() if reason is None]
    assert len({int(row.argmax()) for row in rows}) > 1
    assert min(float((a - b).abs().max()) for i, a in enumerate(rows) for b in rows[:i]) > 1e-3


def test_one_file_needs_no_list(weights: Weights, photos: Path) -> None:
    path = next(photos.rglob("*.png"))
    classifier = Classifier(weights)
    assert classifier.predict(str(path)) == classifier.predict(path) == classifier.predict([path])
    assert classifier.evaluate(f"folder:{photos}") == evaluate(weights, f"folder:{photos}")


def test_no_files(weights: Weights) -> None:
    assert Classifier(weights).predict([]) == []


def test_a_name_may_be_text(weights: Weights, tmp_path: Path) -> None:
    path = picture(tmp_path / "1.png", 1)
    (prediction,) = Classifier(weights).predict(iter([str(path)]))
    assert prediction.path == str(path)
    assert agrees(prediction, of_file(weights, path))


COLOUR = noise(5, SIZE, SIZE, 3)
GREY = noise(6, SIZE, SIZE, 1)[..., 0]
OPAQUE = np.random.default_rng(7).integers(0, 2, (SIZE, SIZE)).astype(np.uint8) * 255


def grey(path: Path) -> np.ndarray:
    Image.fromarray(GREY).save(path)
    return np.stack([GREY] * 3)


def grey_of_16_bits(path: Path) -> np.ndarray:
    Image.fromarray(GREY.astype(np.uint16) * 256 + 77).save(path)
    return np.stack([GREY] * 3)


def alpha(path: Path) -> np.ndarray:
    Image.fromarray(np.dstack([COLOUR, OPAQUE])).save(path)
    return np.where(OPAQUE[..., None] == 255, COLOUR, 255).astype(np.uint8).transpose(2, 0, 1)


def turned(path: Path) -> np.ndarray:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(COLOUR).save(path, exif=exif)
    return np.rot90(COLOUR, -1).transpose(2, 0, 1)


@pytest.mark.parametrize("make", [grey, grey_of_16_bits, alpha, turned])
def test_the_net_sees_the_picture_as_people_do(weights: Weights, tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "one.png"
    want = by_hand(weights, np.ascontiguousarray(make(path)))
    (prediction,) = Classifier(weights).predict([path])
    assert agrees(prediction, want)
    as_stored = Image.open(path).convert("RGB")  # without alpha, 16 bits or the turn
    naive = by_hand(weights, np.ascontiguousarray(np.asarray(as_stored).transpose(2, 0, 1)))
    assert (make is grey) == torch.allclose(naive, want, atol=1e-3)


def test_photos_of_other_sizes_are_decoded_as_in_training(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.fromarray(noise(9, 90, 200, 3)).save(path, quality=90)
    (prediction,) = Classifier(weights).predict([path])
    assert agrees(prediction, of_file(weights, path))


def test_several_files_agree_with_one_by_one(weights: Weights, photos: Path) -> None:
    files = in_order(photos)
    together, alone = (Classifier(weights).predict(files, batch_size) for batch_size in (64, 1))
    for a, b in zip(together, alone, strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
        assert (a.path, a.label, a.error) == (b.path, b.label, None)


def test_a_look_at_another_test_set_is_logged_with_that_set(tmp_path: Path) -> None:
    """Whoever scores a net on another set's test part has looked at that one; the run's own count stays."""
    for name, seed in (("own", 1), ("other", 2)):
        for part in ("train", "test"):
            draw_photos(tmp_path / name / part, per_class=8, seed=10 * seed + len(part))
    small_net = ("training.epochs=1", "data.train=none", "data.validation=0.25", "data.image_size=8")
    record = run(small(f"data.source=folder:{tmp_path / 'own'}", *small_net), tmp_path / "run")
    log = RunDir(tmp_path / "run").looks
    before = looks.read(log)
    evaluate(load_weights(tmp_path / "run"), f"folder:{tmp_path / 'other'}", "test", log=log)
    *earlier, last = looks.read(log)
    assert tuple(earlier) == before and last.kind == "evaluated" and last.images == 24
    assert looks.own((*earlier, last), record) == before


def test_what_is_odd_about_a_picture_is_told(weights: Weights, tmp_path: Path) -> None:
    pages = [Image.fromarray(noise(i, 16, 20, 3)) for i in range(2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    dark = np.random.default_rng(0).integers(0, 200, (16, 20), dtype=np.uint16)
    Image.fromarray(dark).save(tmp_path / "dark.png")
    files = [picture(tmp_path / "fine.png", 1), tmp_path / "none.png", tmp_path / "pages.tif", tmp_path / "dark.png"]
    fine, missing, several, deep = Classifier(weights).predict(files)
    assert (fine.notes, missing.notes) == ((), ()) and missing.error
    assert several.notes == ("several pages: only the first page is used",)
    assert deep.label and any("nearly black" in note for note in deep.notes)
