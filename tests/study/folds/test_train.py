"""Cross-validation from `rungs.train` and the command line: folds, final net, record, resuming."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from bank import Bank
from command import rungs
from msgspec.structs import replace
from small import small

from rungs.data.imageset import Source
from rungs.data.split import fold_of_each
from rungs.errors import UserError
from rungs.models.weights import unpack
from rungs.recipe.toml import to_toml
from rungs.run.predictions import decode
from rungs.run.record import EpochRow, RunRecord
from rungs.ship.evaluate import evaluate
from rungs.ship.predict import load
from rungs.study.folders import identify
from rungs.study.folds.final import final_recipe
from rungs.study.folds.pooled import pooled
from rungs.study.folds.record import FoldsDir, FoldsRecord
from rungs.study.folds.train import FoldsPlan, prepare, run, train
from rungs.study.search import tune
from rungs.study.search.options import SearchOptions
from rungs.study.statistics import of_folds
from rungs.training.options import TrainOptions

RECIPE = small("data.folds=3", "training.epochs=2", "data.validation=120", "data.train=none")
FOLDS = range(3)


def cross_validated(folder: Path, *overrides: str, **options: object) -> FoldsRecord:
    found = train(RECIPE, overrides, folder=folder, **options)  # type: ignore[arg-type]
    assert isinstance(found, FoldsRecord)
    return found


@pytest.fixture(scope="module")
def place(bank: Bank) -> FoldsDir:
    return FoldsDir(bank.folder("folds/small", cross_validated))


@pytest.fixture(scope="module")
def record(place: FoldsDir) -> FoldsRecord:
    return place.read_record()


def test_every_image_is_predicted_once_by_the_net_of_its_fold(
    place: FoldsDir, record: FoldsRecord, digits: Source
) -> None:
    fold_of = fold_of_each(digits, RECIPE.data, RECIPE.seed)
    assert np.array_equal(record.of_each, fold_of)
    assert record.result.per_image is not None
    found = decode(record.result.per_image)
    assert np.array_equal(found.truth, digits.train.labels.numpy())
    for fold in FOLDS:
        test = place.fold(fold).read_record().test
        assert test is not None and test.per_image is not None
        own, mine = decode(test.per_image), np.flatnonzero(fold_of == fold)
        for name in ("truth", "predicted", "confidence", "loss"):
            assert np.array_equal(getattr(own, name), getattr(found, name)[mine])
        assert record.folds[fold].accuracy == test.accuracy and record.folds[fold].images == test.n


def test_the_scores_of_all_images_follow_from_their_predictions(record: FoldsRecord) -> None:
    result, n = record.result, 1797
    assert result.per_image is not None
    found = decode(result.per_image)
    assert result.n == n == sum(fold.images for fold in record.folds)
    assert result.accuracy == pytest.approx(found.correct.mean())
    assert result.loss == pytest.approx(found.loss.mean(), rel=1e-5)
    table = np.zeros((10, 10), dtype=int)
    np.add.at(table, (found.truth, found.predicted), 1)
    assert np.array_equal(result.confusion, table)
    assert result.recall == pytest.approx(table.diagonal() / table.sum(1))
    gap = sum(count * abs(accuracy - confidence) for confidence, accuracy, count in result.calibration) / n
    assert result.calibration_error == pytest.approx(gap)
    assert sum(count for *_, count in result.calibration) == n
    for mistake in result.mistakes:
        assert (found.truth[mistake.index], found.predicted[mistake.index]) == (mistake.truth, mistake.predicted)
        assert mistake.picture
    assert [m.loss for m in result.mistakes] == sorted((m.loss for m in result.mistakes), reverse=True)
    assert result.mistakes[0].loss == pytest.approx(found.loss[~found.correct].max(), rel=1e-5)


def test_all_mistakes_of_the_folds_are_kept_up_to_the_number_asked_for(place: FoldsDir, digits: Source) -> None:
    fold_of = fold_of_each(digits, RECIPE.data, RECIPE.seed)
    places = [np.flatnonzero(fold_of == fold) for fold in FOLDS]
    results = []
    for fold in FOLDS:  # of nets that make few mistakes: none, one and two
        test = place.fold(fold).read_record().test
        assert test is not None and len(test.mistakes) >= 2
        results.append(replace(test, mistakes=test.mistakes[:fold]))
    kept = [mistake.loss for result in results for mistake in result.mistakes]
    assert [mistake.loss for mistake in pooled(results, places, 24).mistakes] == sorted(kept, reverse=True)
    assert [mistake.loss for mistake in pooled(results, places, 2).mistakes] == sorted(kept, reverse=True)[:2]


def test_predictions_are_written_as_a_table_too(place: FoldsDir, record: FoldsRecord) -> None:
    rows = list(csv.DictReader(place.predictions.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 1797 and {row["fold"] for row in rows} == {"1", "2", "3"}
    assert fmean(row["truth"] == row["predicted"] for row in rows) == pytest.approx(record.result.accuracy)


def test_the_final_net_is_trained_on_all_and_has_the_folds_number(place: FoldsDir, record: FoldsRecord) -> None:
    final = place.final.read_record()
    assert {part: sum(counts) for part, counts in final.data.counts.items()} == {"train": 1797}
    assert final.test is None and final.validation is None
    assert final.folds == record.score and final.folds is not None
    assert (final.folds.accuracy, final.folds.interval) == (record.result.accuracy, record.interval)
    best = [place.fold(fold).read_record().best_epoch or 0 for fold in FOLDS]
    assert len(final.history) == round(fmean(best)) == record.final_epochs
    temperatures = [place.fold(fold).read_record().temperature for fold in FOLDS]
    mean = math.exp(fmean(map(math.log, temperatures)))
    assert final.temperature == pytest.approx(mean)
    assert unpack(place.final.weights).temperature == pytest.approx(mean) == load(place.path).weights.temperature
    text = place.final.report.read_text(encoding="utf-8")
    assert "its accuracy is that of the 3 folds before it" in text and "No validation set" not in text


def test_a_schedule_that_follows_validation_keeps_it() -> None:
    recipe = small("data.folds=3", "schedule={name='plateau'}", "stopping.patience=2")
    assert final_recipe(recipe, []) == recipe


def test_a_fold_alone_is_an_ordinary_run(tmp_path: Path, place: FoldsDir) -> None:
    options = TrainOptions(RECIPE, ("data.fold=1",), folder=tmp_path)
    plan = prepare(options)
    assert not isinstance(plan, FoldsPlan)
    found = run(plan)
    assert isinstance(found, RunRecord) and found.test is not None
    assert found.test.accuracy == place.fold(1).read_record().test.accuracy  # type: ignore[union-attr]


class Killed(BaseException):
    pass


def test_a_killed_cross_validation_keeps_its_folds(tmp_path: Path, record: FoldsRecord) -> None:
    ended: Iterator[int] = iter(range(100))

    def kill(row: EpochRow) -> bool:
        if next(ended) == 2:  # in the second fold
            raise Killed
        return True

    with pytest.raises(Killed):
        cross_validated(tmp_path, keep_going=kill)
    place = FoldsDir(tmp_path)
    assert place.fold(0).record.exists() and not place.fold(1).record.exists() and not place.record.exists()
    kept = place.fold(0).weights.stat().st_mtime_ns
    with pytest.raises(UserError, match="holds a run already"):
        cross_validated(tmp_path)
    again = cross_validated(tmp_path, resume=True)
    assert place.fold(0).weights.stat().st_mtime_ns == kept
    assert again.result.per_image == record.result.per_image
    assert again.interval == record.interval and again.fold_of == record.fold_of
    finished = cross_validated(tmp_path, resume=True)
    assert finished.result == again.result and finished.score == place.final.read_record().folds


def test_folds_of_bad_data_leave_nothing(tmp_path: Path) -> None:
    for name in ("bad/cat/1.png", "bad/dog/2.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("no picture")
    for folder, wrong in (("nothere", "no such folder"), ("bad", "unreadable")):
        with pytest.raises(UserError, match=wrong):
            cross_validated(tmp_path / "runs/folds", f"data.source='folder:{tmp_path / folder}'")
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_anything_else_is_not_resumed(place: FoldsDir, tmp_path: Path) -> None:
    single = tmp_path / "single"
    train(RECIPE, ("data.folds=none", "training.epochs=1", "data.train=100"), folder=single)
    before = (single / "recipe.toml").read_bytes()
    with pytest.raises(UserError, match="holds a single run, not a cross-validation"):
        cross_validated(single, resume=True)
    assert (single / "recipe.toml").read_bytes() == before and not (single / "fold-1").exists()
    other = tmp_path / "other"
    shutil.copytree(place.path, other)
    kept = (other / "recipe.toml").read_bytes()
    with pytest.raises(UserError, match=r"another recipe: optim\.lr differ"):
        cross_validated(other, "optim.lr=0.01", resume=True)
    assert (other / "recipe.toml").read_bytes() == kept


def test_the_interval_counts_only_images_that_nets_were_trained_on(record: FoldsRecord) -> None:
    ratio = fmean(fold.images / fold.train for fold in record.folds)
    assert ratio > 0.5  # without validation images it were 1/(k - 1)
    result = record.result
    assert record.interval == of_folds(
        [fold.accuracy for fold in record.folds], result.accuracy, result.accuracy_interval, ratio
    )


def test_early_stopping_leaves_the_final_net_the_mean_of_the_best_epochs(tmp_path: Path) -> None:
    found = cross_validated(
        tmp_path, "training.epochs=8", "stopping.patience=1", "optim.lr=3.0", "data.folds=2", "data.train=200"
    )
    assert any(fold.epochs < 8 for fold in found.folds)
    assert found.final_epochs == max(1, round(fmean(fold.best_epoch for fold in found.folds)))


def test_a_notebook_shows_the_folds(record: FoldsRecord) -> None:
    shown = record._repr_html_()
    assert shown is not None and shown.count("<img") == 1
    for words in ("3 folds", "per class, over all folds", f"{100 * record.folds[1].accuracy:.2f} %"):
        assert words in shown


def test_what_cannot_be_cross_validated(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the test set is to stay closed"):
        cross_validated(tmp_path / "a", "evaluation.score_test=false")
    with pytest.raises(UserError, match="a fold, but no number of folds"):
        cross_validated(tmp_path / "b", "data.folds=none", "data.fold=1")
    with pytest.raises(UserError, match="fold 3 of 3: folds are counted from 0"):
        cross_validated(tmp_path / "c", "data.fold=3")
    with pytest.raises(UserError, match="a search is judged on validation, not by folds"):
        tune.prepare(SearchOptions(RECIPE, "lr-batch"))
    (tmp_path / "d").mkdir()
    (tmp_path / "d/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        cross_validated(tmp_path / "d")


def test_the_command_line(place: FoldsDir, record: FoldsRecord, tmp_path: Path) -> None:
    assert isinstance(identify(place.path), FoldsDir)
    folder = tmp_path / "small"
    shutil.copytree(place.path, folder)
    said = rungs("evaluate", folder).stdout
    assert f"{100 * record.result.accuracy:.2f} % of 1,797 images" in said and "3 folds" in said
    assert "score it on new images with --data" in said
    said = rungs("evaluate", folder / "final", code=2).stderr
    assert "its accuracy is that of the folds" in said
    assert "accuracy" in rungs("evaluate", folder, "--data", "digits", "--part", "all").stdout
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert "report.html" in rungs("report", folder).stdout
    moved = (folder / "report.html").read_text(encoding="utf-8")
    assert moved == before.decode().replace(f"rungs predict {place.path} photo", f"rungs predict {folder} photo")
    assert f"rungs predict {folder} photo.jpg" in moved
    picture = tmp_path / "one.png"
    from PIL import Image

    Image.new("RGB", (8, 8)).save(picture)
    assert "its accuracy is that of the 3 folds" in rungs("predict", folder, picture).stdout
    recipe = tmp_path / "quick.toml"
    recipe.write_text(to_toml(small("training.epochs=1", "data.train=none")))
    said = rungs("train", recipe, "--set", "data.folds=2", "--out", tmp_path / "two", "--quiet").stdout
    assert not said and (tmp_path / "two/folds.json").is_file()
    again = rungs("train", recipe, "--set", "data.folds=2", "--out", tmp_path / "two", "--resume").stdout
    assert "2 folds" in again and "per class, over all folds" in again


def test_a_folder_with_a_validation_part_of_its_own(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "parts"
    for kind in sorted(path.name for path in photos.iterdir()):
        files = sorted((photos / kind).iterdir())
        for part, some in (("train", files[:8]), ("val", files[8:])):
            (root / part / kind).mkdir(parents=True)
            for file in some:
                shutil.copy(file, root / part / kind / file.name)
    changes = (f"data.source='folder:{root}'", "data.folds=2", "data.image_size=16", "training.epochs=1")
    found = cross_validated(tmp_path / "out", *changes, "data.validation=0")
    assert found.result.n == 36 == len(found.paths)
    assert sum("/train/" in path for path in found.paths) == 24
    per_image = found.result.per_image
    assert per_image is not None
    for path, truth in zip(found.paths, decode(per_image).truth, strict=True):
        assert Path(path).parent.name == found.data.classes[truth]
    assert all(mistake.path in found.paths for mistake in found.result.mistakes)


def test_the_net_of_a_fold_is_evaluated_on_its_fold(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "parts"
    for kind in sorted(path.name for path in photos.iterdir()):
        for i, file in enumerate(sorted((photos / kind).iterdir())):
            goal = root / ("train" if i < 9 else "test") / kind
            goal.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, goal / file.name)
    changes = (f"data.source='folder:{root}'", "data.folds=2", "data.fold=1", "data.image_size=16", "data.validation=0")
    found = train(RECIPE, (*changes, "training.epochs=1"), folder=tmp_path / "out")
    assert isinstance(found, RunRecord) and found.test is not None and found.test.n > 9
    again = evaluate(load(tmp_path / "out").weights)
    assert (again.n, again.confusion) == (found.test.n, found.test.confusion)


def test_folds_of_a_backbone_see_the_pixels_of_a_single_run(photos: Path, tmp_path: Path) -> None:
    changes = (
        f"data.source='folder:{photos}'",
        "data.image_size=32",
        "data.validation=6",
        "data.folds=2",
        "model={name='backbone', weights='efficientnet-lite0', pretrained=false}",
        "augment.train=[]",
        "training.epochs=1",
        "training.batch_size=12",
        "training.ema_decay=none",
    )
    cross_validated(tmp_path / "all", *changes)
    fold = FoldsDir(tmp_path / "all").fold(1)
    record = fold.read_record()
    alone = train(RECIPE, (*changes, "data.fold=1"), folder=tmp_path / "alone")
    assert isinstance(alone, RunRecord)
    assert record.recipe.data.crop == alone.recipe.data.crop == 0.875
    assert record.data.hashes == alone.data.hashes
    assert record.test is not None and evaluate(load(fold.path).weights).accuracy == record.test.accuracy


@pytest.mark.drawn
def test_the_page(place: FoldsDir, record: FoldsRecord, tmp_path: Path) -> None:
    from rungs.study.folds import page

    text = page.write(record, FoldsDir(tmp_path)).read_text(encoding="utf-8")
    assert f"{100 * record.result.accuracy:.2f} % of 1,797 images are classified correctly" in text
    for words in ("Nadeau and Bengio 2003, doi:10.1023/A:1024068626366", "predictions.csv", "The final net"):
        assert words in text
    assert f"{100 * record.folds[2].accuracy:.2f} %" in text
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"folds.svg", "confusion-counts.svg", "confusion-percent.svg", "calibration.svg"} <= names
    assert 'src="http' not in text
