"""Ladders and comparisons whose pairs are the folds of one set."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean, stdev

import pytest
from bank import Bank
from command import rungs
from msgspec.structs import replace
from scipy import stats
from small import small

from rungs.errors import UserError
from rungs.recipe.toml import to_toml
from rungs.report.seeds import PRIOR_DF
from rungs.run.folder import RunDir
from rungs.study.comparison.compare import compare
from rungs.study.differences import Change, ImageVariance
from rungs.study.differences import compare as compare_changes
from rungs.study.ladder import spec
from rungs.study.ladder.best import best
from rungs.study.ladder.changes import changes_again, ratio_of
from rungs.study.ladder.climb import ClimbPlan, prepare, run
from rungs.study.ladder.interim import judge_folds
from rungs.study.ladder.options import ClimbOptions
from rungs.study.ladder.record import LadderDir, LadderRecord
from rungs.study.variation import Pool

LADDER = """
name = "tiny"
about = "one step"
base = "small.toml"
builds_on = "base"
[[rungs]]
name = "base"
about = "as it is"
[[rungs]]
name = "slow"
about = "hardly any rate"
set = ["optim.lr=0.0001"]
"""


RATIO = 599 / (1198 - 100)
"""n_test / n_train of three folds of 1,797 images; 100 validation images of each are not trained on."""


def write_ladder(folder: Path, text: str = LADDER) -> Path:
    recipe = small("training.epochs=2", "data.train=none")
    (folder / "small.toml").write_text(to_toml(recipe))
    (folder / "tiny.toml").write_text(text)
    return folder / "tiny.toml"


def options(folder: Path, **changed: object) -> ClimbOptions:
    return ClimbOptions(folder / "tiny.toml", ("data.folds=3",), folder=folder / "climb", jobs=0, **changed)  # type: ignore[arg-type]


def plan_of(folder: Path, **changed: object) -> ClimbPlan:
    return prepare(options(folder, **changed))


@pytest.fixture(scope="module")
def climbed(bank: Bank) -> LadderDir:
    def make(folder: Path) -> None:
        write_ladder(folder)
        run(plan_of(folder))

    return LadderDir(bank.folder("folds/climb", make) / "climb")


@pytest.fixture(scope="module")
def record(climbed: LadderDir) -> LadderRecord:
    return climbed.read_record()


def test_a_rung_has_a_cell_for_each_fold(tmp_path: Path) -> None:
    write_ladder(tmp_path)
    plan = plan_of(tmp_path)
    assert [(cell.rung, cell.seed, cell.recipe.data.fold, cell.recipe.seed) for cell in plan.cells] == [
        (rung, fold, fold, 0) for fold in range(3) for rung in ("base", "slow")
    ]
    assert plan.cells[0].folder.startswith("base-fold0-") and plan.cells[0].of == "fold 1"
    assert [(rung.name, rung.seeds) for rung in plan.planned] == [("base", 3), ("slow", 3)]
    with pytest.raises(UserError, match="trained once for each fold"):
        plan_of(tmp_path, seeds=2)
    for assignment, what in (("data.folds=5", "rungs with other folds"), ("data.fold=1", "'data.fold' is set by")):
        write_ladder(tmp_path, LADDER.replace("optim.lr=0.0001", assignment))
        with pytest.raises(UserError, match=what):
            spec.cells(*spec.load(tmp_path / "tiny.toml"))


def test_the_folds_judge_once_with_the_corrected_variance(record: LadderRecord) -> None:
    found = record.rungs[1].difference
    assert found is not None and record.folds == 3
    assert (found.metric, found.n, found.folds) == ("test_accuracy", 3, 3)
    base, slow = ([cell.values["test_accuracy"] for cell in rung.cells] for rung in record.rungs)
    pairs = [b - a for a, b in zip(base, slow, strict=True)]
    assert found.mean == pytest.approx(fmean(pairs))
    assert found.verdict == "real loss" and found.looks == (3,) and found.decided_at == 3 and found.next_look is None
    assert "3 folds, which share training images" in found.words and "seed" not in found.words
    estimate = record.rungs[0].estimates["test_accuracy"]
    values = [cell.values["test_accuracy"] for cell in record.rungs[0].cells]
    half = stats.t.ppf(0.975, 2) * stdev(values) * math.sqrt(1 / 3 + RATIO)
    assert estimate.high == pytest.approx(fmean(values) + half)


def test_intervals_of_folds_use_the_counts_of_the_images_trained_on(record: LadderRecord) -> None:
    assert [cell.fold_ratio for rung in record.rungs for cell in rung.cells] == [pytest.approx(RATIO)] * 6
    found, degrees = record.rungs[1].difference, 2 + PRIOR_DF
    assert found is not None and found.sd is not None and found.high is not None
    half = stats.t.ppf(0.975, degrees) * found.sd * math.sqrt(1 / 3 + RATIO)
    assert found.high - found.mean == pytest.approx(half)


def test_a_record_without_the_counts_takes_those_of_folds_without_validation(record: LadderRecord) -> None:
    rungs = [replace(rung, cells=tuple(replace(cell, fold_ratio=0.0) for cell in rung.cells)) for rung in record.rungs]
    earlier = replace(record, rungs=tuple(rungs))
    assert [change.ratio for change in changes_again(earlier)] == [1 / 2]
    assert [change.ratio for change in changes_again(record)] == [pytest.approx(RATIO)]
    now, then = best(record), best(earlier)
    assert now is not None and then is not None
    wider = (now.mean - now.interval[0]) / (then.mean - then.interval[0])
    assert wider == pytest.approx(math.sqrt((1 / 3 + RATIO) / (1 / 3 + 1 / 2)))
    assert ratio_of(record.rungs[0].cells, 0) == 0.0


def test_the_words_say_folds(climbed: LadderDir, record: LadderRecord) -> None:
    text = climbed.report.read_text(encoding="utf-8")
    for words in ("3 folds", "Nadeau and Bengio 2003", "Differences are paired by fold", "judged once"):
        assert words in text
    assert not climbed.looks.exists()
    said = rungs("climb", climbed.path.parent / "tiny.toml", "--set", "data.folds=3", "--out", climbed.path).stdout
    assert "base, fold 1: " in said and "(trained before)" in said and "n = 3 folds" in said


def values(*found: float) -> dict[int, float]:
    return dict(enumerate(found))


def test_some_of_the_folds_are_no_smaller_study() -> None:
    whole = Change("a", "z", "test_accuracy", values(0.9, 0.9, 0.9), values(0.1, 0.1, 0.1), folds=3)
    some = Change("b", "z", "test_accuracy", values(0.9, 0.9), values(0.1, 0.1, 0.1), folds=3)
    found = judge_folds([whole, some], {"test_accuracy": Pool(0.001, 6)}, 0.01, 2)
    assert found["a"].verdict == "real gain" and found["a"].looks == (3,)
    assert found["b"].verdict == "undecided" and found["b"].looks == () and "not judged yet" in found["b"].words
    climbing = judge_folds([whole, some], {"test_accuracy": Pool(0.001, 6)}, 0.01, 2, looking=False)
    assert climbing["a"].verdict == "undecided" and "not judged yet" in climbing["a"].words


def test_folds_widen_an_interval_and_never_fall_below_that_of_the_images() -> None:
    pairs = values(0.72, 0.75, 0.71, 0.74, 0.73), values(0.70, 0.71, 0.70, 0.72, 0.70)
    seeds = compare_changes([Change("a", "z", "test_accuracy", *pairs)], {})["a"]
    folds = compare_changes([Change("a", "z", "test_accuracy", *pairs, folds=5, ratio=1 / 4)], {})["a"]
    width = [found.high - found.low for found in (seeds, folds) if found.high is not None and found.low is not None]
    assert width[1] / width[0] == pytest.approx(math.sqrt((1 / 5 + 1 / 4) / (1 / 5)))
    same = values(*[0.72] * 5), values(*[0.70] * 5)
    images = ImageVariance(count=100, pair_variance=0.01)
    found = compare_changes([Change("a", "z", "test_accuracy", *same, images, folds=5, ratio=1 / 4)], {})["a"]
    assert found.sd is not None and found.sd >= 0.1


def test_two_cross_validations_are_compared_by_image_and_by_fold(climbed: LadderDir, tmp_path: Path) -> None:
    for name, rate in (("fast", "0.05"), ("slow", "0.0001")):
        recipe = tmp_path / f"{name}.toml"
        recipe.write_text(to_toml(small("training.epochs=1", "data.train=none", f"optim.lr={rate}")))
        rungs("train", recipe, "--set", "data.folds=3", "--out", tmp_path / name, "--quiet")
    record = compare(tmp_path / "fast", tmp_path / "slow", folder=tmp_path / "compared")
    (pair,) = record.pairs
    (part,) = pair.parts
    assert (pair.first, pair.second, pair.verdict) == ("fast", "slow", "worse")
    assert (part.part, part.images, part.pairs, part.folds, part.seeds) == ("test", 1797, 3, 3, (0, 1, 2))
    four = part.table
    assert four is not None and four.both + four.first + four.second + four.neither == 1797
    assert part.by_seed is not None and part.by_seed.folds == 3
    assert part.by_seed.high is not None and part.by_seed.sd is not None
    half = stats.t.ppf(0.975, 2 + PRIOR_DF) * part.by_seed.sd * math.sqrt(1 / 3 + RATIO)
    assert part.by_seed.high - part.by_seed.mean == pytest.approx(half)
    estimate = record.candidates[0].estimates["test_accuracy"]
    assert estimate.high is not None and estimate.sd is not None
    half = stats.t.ppf(0.975, 2) * estimate.sd * math.sqrt(1 / 3 + RATIO)
    assert estimate.high - estimate.mean == pytest.approx(half)
    assert part.seeds_se == pytest.approx(part.seed_sd * math.sqrt(2) * math.sqrt(1 / 3 + RATIO))
    assert "1,797 images correct (3 folds)" in pair.words and "images and folds" in pair.words
    assert "Nadeau and Bengio" in " ".join(pair.more)
    text = (tmp_path / "compared/report.html").read_text(encoding="utf-8")
    assert "Images of all folds" in text and "paired by fold" in text
    with pytest.raises(UserError, match="the folds of one cross-validation are one candidate"):
        compare(tmp_path / "fast")
    rung = compare(f"{climbed.path}:base", f"{climbed.path}:slow", folder=tmp_path / "rungs")
    assert rung.pairs[0].parts[0].folds == 3 and rung.pairs[0].verdict == "worse"
    kept = RunDir(tmp_path / "fast/fold-1").read_record()
    assert kept.folds is None and kept.test is not None
