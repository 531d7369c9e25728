"""`rungs diagnose`: what it prints, what it tries, and what it refuses."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import faults
import ladder_samples
import pytest
import samples
from command import rungs
from faults import STEADY
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.errors import UserError
from rungs.recipe import identity
from rungs.run.folder import RunDir
from rungs.run.looks import Look
from rungs.run.record import from_json, to_json
from rungs.ship import predict
from rungs.study.cures import diagnosis, trial
from rungs.study.cures.options import CureOptions
from rungs.study.ladder import climb, spec
from rungs.study.ladder.climb import ClimbPlan
from rungs.study.ladder.record import LadderDir, LadderRecord


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rate is far too small."""
    folder = tmp_path_factory.mktemp("slow") / "run"
    faults.train(folder, "optim.lr=0.00005", STEADY, "training.epochs=4", "data.train=400", "training.batch_size=20")
    return folder


def test_trying_the_cure_of_a_small_rate_finds_a_real_gain_and_leaves_the_test_set_closed(
    slow: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(slow, tmp_path / "run")
    tried = trial.try_cures(run, jobs=0)
    assert isinstance(tried, trial.Tried)
    assert tried.folder.path == tmp_path / "run-cures"
    base, cure = tried.record.rungs
    assert (base.name, cure.name, cure.changes) == ("as-it-was", "rate-too-small", ("optim.lr=0.0005",))
    assert cure.difference is not None
    assert cure.difference.verdict == "real gain" and cure.difference.metric == "validation_accuracy"
    assert cure.difference.n == 3 and cure.difference.mean > 0.2
    assert "test_accuracy" not in cure.estimates
    assert not list(tried.folder.path.glob("*/looks.jsonl"))  # no cell has looked
    assert (tried.folder.path / "report.html").is_file()
    again: list[bool] = []
    trial.try_cures(run, jobs=0, tell=lambda outcome, done, of: again.append(outcome.kept))
    assert again == [True] * 6


def test_the_ladder_of_cures_can_be_climbed_and_changed_by_hand(slow: Path, tmp_path: Path) -> None:
    record = RunDir(slow).read_record()
    base = trial.base_recipe(record)
    assert base.training.compile == "auto"
    assert base.training.precision == "fp32"  # the recipe asked for it
    assert not base.evaluation.score_test
    opened = replace(record, environment=replace(record.environment, precision_reason="there is no bf16 here"))
    assert trial.base_recipe(opened).training.precision == "auto"
    with pytest.raises(UserError, match="--images must be above 0 and at most 1"):
        trial.try_cures(slow, images=2.0)
    assert trial.prepare(CureOptions(slow)).climb is not None  # planned, and nothing written
    assert not list(slow.parent.glob("*-cures*"))
    shutil.copytree(slow, tmp_path / "run")

    def stop(outcome: object, done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial.try_cures(tmp_path / "run", epochs=1, images=0.5, jobs=0, tell=stop)
    (made,) = tmp_path.glob("run-cures-*")  # another study than the run's own
    again, usual = spec.load(made / "cures.toml")
    assert [rung.name for rung in again.rungs] == ["as-it-was", "rate-too-small"]
    assert identity.digest(usual) == identity.digest(base)
    assert "claims" not in tomllib.loads((made / "cures.toml").read_text())["rungs"][0]


def test_cures_of_measurement_are_not_tried_and_it_is_said_why() -> None:
    record = samples.claimed()
    looks = tuple(
        Look(when="2026-01-01T00:00:00+00:00", who="a", kind="evaluated", purpose="b", images=1, test_hash="")
        for _ in range(2)
    )
    found = diagnosis.Diagnosis(record, looks, examine(record, looks))
    cures = diagnosis.cures(found)
    assert set(cures.to_try) == {"overfitting"}
    assert set(cures.left) == {"small-validation", "calibration"}
    assert "changes the evaluation" in cures.left["small-validation"]
    with pytest.raises(UserError, match="no finding 'overfit'"):
        diagnosis.cures(found, ["overfit"])
    nothing = diagnosis.cures(found, ["calibration"])
    assert not nothing.to_try and set(nothing.left) == {"calibration"}
    blind = replace(record, data=replace(record.data, counts={"train": (10,) * 10, "test": (10,) * 10}))
    left = diagnosis.cures(diagnosis.Diagnosis(blind, (), examine(blind))).left
    assert "test set stays closed" in left["overfitting"]


def test_two_findings_with_one_cure_are_tried_once() -> None:
    found = examine(samples.overfitting())
    first = next(f for f in found if f.rule == "overfitting")
    twin = replace(first, rule="gap")
    cures = diagnosis.cures(diagnosis.Diagnosis(samples.overfitting(), (), (first, twin)))
    assert set(cures.to_try) == {"overfitting"}
    assert cures.left["gap"] == "same fix as overfitting"


def test_the_second_of_two_findings_with_one_cure_can_be_asked_for(slow: Path, tmp_path: Path) -> None:
    run = shutil.copytree(slow, tmp_path / "run")
    found = diagnosis.diagnose(run)
    (first,) = (one for one in found.findings if one.rule == "rate-too-small")
    findings = (*found.findings, replace(first, rule="unfinished"))
    twin = diagnosis.Diagnosis(found.record, found.looks, findings)
    cures = diagnosis.cures(twin, ["unfinished"])
    assert set(cures.to_try) == {"rate-too-small"} and cures.left == {"unfinished": "same fix as rate-too-small"}
    asked: list[tuple[tuple[str, ...], set[str]]] = []

    def run_climb(plan: ClimbPlan) -> LadderRecord:
        asked.append((plan.options.only, {rung.name for rung in plan.ladder.rungs}))
        return ladder_samples.diary()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "diagnose", lambda run: twin)
        patch.setattr(climb, "run", run_climb)
        tried = trial.try_cures(run, only=["unfinished"])
    assert isinstance(tried, trial.Tried) and set(tried.cures.to_try) == {"rate-too-small"}
    ((only, names),) = asked
    assert only == ("as-it-was", "rate-too-small") and set(only) <= names


def test_the_command_prints_findings_with_all_that_belongs_to_them(slow: Path) -> None:
    done = rungs("diagnose", str(slow))
    for part in ("(rate-too-small)", "Applies when", "Source: Bengio 2012", f"rungs train {slow}/recipe.toml --set"):
        assert part in " ".join(done.stdout.split())
    as_json = json.loads(rungs("diagnose", str(slow), "--json").stdout)
    assert as_json[0]["rule"] == "rate-too-small"
    assert as_json[0]["command"] == f"rungs train {slow}/recipe.toml --set optim.lr=0.0005"
    assert as_json[0]["evidence"]["series"][0]["name"] == "train"


def test_nothing_to_try_is_said_and_is_no_error(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.prepare()
    run.write_record(samples.healthy())
    done = rungs("diagnose", str(run.path), "--try")
    assert "No suggested fix of this run can be tried." in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_is_no_run_and_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    (tmp_path / "climb" / "base-seed0").mkdir(parents=True)
    LadderDir(tmp_path / "climb").record.write_text("{}")
    (tmp_path / "climb" / "base-seed0" / "run.json").write_bytes(to_json(samples.healthy()))
    with pytest.raises(UserError, match="a climb, not a run") as refused:
        diagnosis.diagnose(tmp_path / "climb")
    assert "rungs diagnose" in str(refused.value) and "base-seed0" in str(refused.value)
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "search.json").write_text("{}")
    with pytest.raises(UserError, match="a search, not a run"):
        diagnosis.diagnose(tmp_path / "search")
    with pytest.raises(UserError, match=r"no run\.json"):
        diagnosis.diagnose(tmp_path / "nothing")
    for words in (("--try", "--json"), ("--seeds", "3")):
        rungs("diagnose", str(tmp_path), *words, code=2)


def test_evaluating_a_run_on_its_own_test_images_is_a_look_that_its_report_tells(slow: Path, tmp_path: Path) -> None:
    run = shutil.copytree(slow, tmp_path / "run")
    net = predict.load(run)
    net.evaluate(part="validation")
    net.evaluate(f"folder:{faults.digits(tmp_path / 'others', per_class=4)}")
    assert [look.kind for look in diagnosis.diagnose(run).looks] == ["scored"]
    net.evaluate()
    predict.load(run / "weights.safetensors").evaluate(part="test")
    found = diagnosis.diagnose(run)
    assert [look.kind for look in found.looks] == ["scored", "evaluated", "evaluated"]
    assert "opened 3 times" in next(f.text for f in found.findings if f.rule == "test-selection")
    rungs("report", str(run))
    page = RunDir(run).report.read_text()
    assert "The test set was opened 3 times: once for the final score, twice to evaluate the net again." in page
    assert "the trained net, evaluated on" in page


def test_a_look_that_cannot_be_logged_is_warned_of(slow: Path, tmp_path: Path) -> None:
    run = shutil.copytree(slow, tmp_path / "run")
    RunDir(run).looks.unlink()
    RunDir(run).looks.mkdir()  # nothing can be appended to a folder, whoever asks
    with pytest.warns(UserWarning, match="could not be noted in the run's log"):
        assert predict.load(run).evaluate().n == 180


def test_the_cells_of_a_ladder_keep_what_was_found_in_short(slow: Path, tmp_path: Path) -> None:
    cell = RunDir(slow).read_record()
    from rungs.study.ladder.outcome import Outcome
    from rungs.study.ladder.spec import Cell
    from rungs.study.ladder.summary import _cell

    kept = _cell(Outcome(Cell("base", 0, cell.recipe), slow, cell, cell.ending))
    assert [finding.rule for finding in kept.findings] == [finding.rule for finding in examine(cell)]
    assert all(f.evidence is None and not f.threshold and not f.citation for f in kept.findings)
    assert from_json(to_json(kept), type(kept), "it") == kept
