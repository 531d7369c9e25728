"""Searching, in this process alone: exactly so many trials, equal values once, honest endings, bad input."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from searches import RECIPE, SPACE, plan_of, write_files

from rungs.errors import UserError
from rungs.study.processes import CONTEXT
from rungs.study.search import tune
from rungs.study.search.ledger import is_surplus, ranked, reason_of, record, records, release_trial, slots
from rungs.study.search.storage import open_storage, optuna
from rungs.study.search.study import Search, create_or_load, distributions
from rungs.study.search.trial import TakenOver, finished_duplicate
from rungs.study.search.workers import MOST_FAILED_STARTS, next_trial, search, try_trials


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny recipe and a space, and this process in it."""
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(**options: Any) -> tuple[Search, Any]:
    """Return a search that has begun, without workers, and its study."""
    overrides = options.pop("overrides", ())
    plan = plan_of("tiny.toml", options.pop("space", "rates.toml"), overrides, folder="search", **options)
    plan.folder.prepare()
    return plan, create_or_load(plan.work, plan.goal, "hash")


def searched(**options: Any) -> tuple[Search, tuple[Any, ...]]:
    """Search in this process alone; return the trials' records."""
    plan, study = prepared(**options)
    list(try_trials(plan.work))
    return plan, records(study.get_trials())


def test_more_trials_go_on_and_never_more_than_asked_for(here: Path) -> None:
    _, told = searched(trials=3)
    assert len(told) == 3
    plan, told = searched(trials=5)
    assert [trial.state for trial in told] == ["complete"] * 5
    assert list(try_trials(plan.work)) == []


def test_one_worker_alone_makes_the_same_search_again(here: Path) -> None:
    _, told = searched(trials=4, pruner="none")
    (here / "search").rename(here / "first")
    _, again = searched(trials=4, pruner="none")
    assert [(t.params, t.value, t.curve) for t in told] == [(t.params, t.value, t.curve) for t in again]
    (here / "search").rename(here / "second")
    _, other = searched(trials=4, pruner="none", sampler_seed=1)
    assert other[0].params == told[0].params and other[1].params != told[1].params


def test_a_grid_is_tried_once_and_whole(here: Path) -> None:
    (here / "rates.toml").write_text(SPACE.replace("high = 1.0", "high = 0.1"))
    plan, told = searched(sampler="grid", pruner="none")
    assert plan.work.trials == 4
    points = [tuple(trial.params.values()) for trial in told]
    assert points[0] == (0.1, 50) and sorted(points) == [(0.001, 25), (0.001, 50), (0.1, 25), (0.1, 50)]
    with pytest.raises(UserError, match="has 4 points"):
        plan_of("tiny.toml", "rates.toml", sampler="grid", trials=3)


def test_equal_values_are_trained_once(here: Path) -> None:
    (here / "rates.toml").write_text('name="two"\nabout="."\n[[fields]]\nfield="optim.lr"\nchoices=[0.1, 0.05]\n')
    _, told = searched(trials=5, pruner="none")
    assert len(told) == 5 and len({trial.folder for trial in told}) == 2 == len([*(here / "search/trials").iterdir()])
    first: dict[str, Any] = {}
    for trial in told:
        same = first.setdefault(trial.folder, trial)
        assert (trial.value, trial.curve) == (same.value, same.curve)
        assert trial is same or (trial.train_s == 0 and f"not retrained: {same.ending}" in trial.ending)


def test_a_trial_that_falls_behind_is_pruned_and_keeps_its_best(here: Path) -> None:
    (here / "tiny.toml").write_text(RECIPE.replace("epochs = 2", "epochs = 6"))
    plan, study = prepared(trials=9)
    for rate in (0.1, 0.12, 0.15, 0.2, 0.09):
        study.enqueue_trial({"optim.lr": rate, "training.batch_size": 50})
    study.enqueue_trial({"optim.lr": 0.001, "training.batch_size": 50})
    list(try_trials(plan.work))
    slow = record(study.get_trials()[6])
    assert slow.params["optim.lr"] == 0.001 and slow.state == "pruned"
    assert 2 <= slow.epochs < 6 and slow.ending == f"pruned after epoch {slow.epochs} of 6 (median)"
    assert slow.value in slow.curve and slow.number not in [
        trial.number for trial in ranked(study.get_trials(), maximise=True)
    ]


def test_a_training_that_diverges_is_complete_says_so_and_is_no_finalist(here: Path) -> None:
    plan, study = prepared(trials=2, overrides=["optim.lr=1e30", "evaluation.mistakes=3"], space=_wide(here))
    list(try_trials(plan.work))
    (lost,) = [trial for trial in records(study.get_trials()) if trial.params["optim.lr"] == 1e30]
    assert (
        lost.state == "complete"
        and lost.ending.startswith("diverged: ")
        and lost.ending.endswith("counted at chance level")
    )
    assert (lost.value, lost.epochs, lost.diverged) == (0.1, 0, True)
    assert not [*here.rglob("*.ckpt")]  # of trials that are over
    assert lost.number not in [trial.number for trial in ranked(study.get_trials(), maximise=True)]


def test_who_waits_for_a_twin_leaves_when_the_trial_was_taken_from_it(here: Path) -> None:
    plan, study = prepared(trials=2)
    study.enqueue_trial({"optim.lr": 0.1, "training.batch_size": 50})
    first, second = (study.ask(distributions(plan.work.space)) for _ in range(2))
    assert first.params == second.params and release_trial(study, study.get_trials()[1], "died", "its worker died")
    with pytest.raises(TakenOver):
        finished_duplicate(study, second)


def _wide(folder: Path) -> str:
    (folder / "wide.toml").write_text(SPACE.replace("high = 1.0", "high = 1e30"))
    return "wide.toml"


def test_by_loss_chance_is_its_logarithm_and_less_is_better(here: Path) -> None:
    plan, study = prepared(trials=1, metric="validation_loss", overrides=["optim.lr=1e30"], space=_wide(here))
    list(try_trials(plan.work))
    assert records(study.get_trials())[0].value == pytest.approx(math.log(10))
    (here / "search").rename(here / "first")
    plan, study = prepared(trials=3, metric="validation_loss", pruner="none")
    list(try_trials(plan.work))
    best = ranked(study.get_trials(), maximise=False)
    assert best[0].value == min(trial.value for trial in study.get_trials()) == study.best_value


def test_values_that_cannot_be_trained_cost_their_trial_and_say_why(here: Path) -> None:
    (here / "deep.toml").write_text(
        'name="deep"\nabout="."\n[[fields]]\nfield="model.stages"\nchoices=[[[8]], [[4], [4], [4], [4]]]\n'
    )
    _, told = searched(trials=4, space="deep.toml")
    assert len(told) == 4 and {trial.state for trial in told} <= {"complete", "failed"}
    failed = [trial for trial in told if trial.state == "failed"]
    assert all("too small" in trial.ending or "pixel" in trial.ending for trial in failed) and failed
    assert told[0].state == "complete"


def test_who_asks_for_one_too_many_gives_it_back(here: Path) -> None:
    """Four ask at once while one slot is left, as four workers may: the first gets it."""
    plan, study = prepared(trials=2)
    asked = [study.ask(distributions(plan.work.space)) for _ in range(2)]
    study.tell(asked[0], 0.5)
    late = study.ask(distributions(plan.work.space))  # asked before it saw the second
    assert not is_surplus(study.get_trials()[1], study.get_trials(), 2)
    assert is_surplus(study.get_trials()[late.number], study.get_trials(), 2)
    study.tell(asked[1], 0.5)
    assert next_trial(plan.work, study) is None


def test_who_waits_for_others_frees_what_the_dead_held(here: Path) -> None:
    """With --workers 0 nobody else looks after workers elsewhere."""
    plan, study = prepared(trials=1)
    held = study.ask(distributions(plan.work.space))
    assert next_trial(plan.work, study, lambda: study.tell(held, 0.5)) is None


def test_the_place_of_a_dead_workers_trial_stays_its_own(here: Path) -> None:
    """Between its end and its return another worker may ask: it must not take the slot."""
    plan, study = prepared(trials=2)
    first, second = (study.ask(distributions(plan.work.space)) for _ in range(2))
    between = study.ask(distributions(plan.work.space))
    assert release_trial(study, study.get_trials()[0], "died", "its worker died")
    assert not release_trial(study, study.get_trials()[0], "died", "its worker died")  # once
    again = study.ask(distributions(plan.work.space))
    every = study.get_trials()
    assert again.params == first.params and [is_surplus(t, every, 2) for t in every[1:]] == [False, True, False]
    assert [slot.number for slot in slots(every)][:2] == [first.number, second.number]
    assert between.number == 2 and reason_of(every[0]) == "died"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "test_accuracy"}, "a search never reads the test set"),
        ({"metric": "highest_test_accuracy"}, "a search never reads the test set"),
        ({"metric": "validation"}, "did you mean 'validation_loss'"),
        ({"sampler": "tpr"}, "did you mean 'tpe'?"),
        ({"pruner": "mediane"}, "did you mean 'median'?"),
        ({"trials": 0}, "--trials must be from 1 to"),
        ({"epochs": 0}, "--epochs must be from 1 to"),
        ({"top": 0}, "--top must be from 1 to"),
        ({"seeds": 0}, "--seeds must be from 1 to"),
        ({"images": 0.0}, "--images must be above 0 and at most 1, got 0"),
        ({"images": 1.5}, "--images must be above 0 and at most 1, got 1.5"),
        ({"workers": -1}, "--workers must be from 0 to"),
        ({"data": "digit"}, "did you mean 'digits'?"),
        ({"overrides": ["optim.rate=1"]}, "optim.rate: no such field"),
        ({"overrides": ["data.validation=0"]}, "a search needs validation images"),
        ({"space": "augmnt"}, "did you mean 'augment'?"),
        ({"space": "tiny.toml"}, "this is a recipe, not a space"),
        ({"recipe": "what-matters"}, "is a ladder, not a recipe"),
        ({"space": "width-depth", "recipe": "resnet18", "data": "digits"}, "model.stages: no such field"),
        ({"storage": "no/folder/journal.log"}, "its folder does not exist"),
        ({"storage": "nosql://somewhere"}, "cannot open this storage"),
        ({"folder": "tiny.toml"}, "give another --out"),
    ],
)
def test_bad_input_is_named_before_anything_is_trained(here: Path, options: dict[str, Any], message: str) -> None:
    recipe, space = options.pop("recipe", "tiny.toml"), options.pop("space", "rates.toml")
    with pytest.raises(UserError) as caught:
        tune.tune(recipe, space, options.pop("overrides", ()), **options)
    assert message in " ".join(str(caught.value).split())
    assert not [*here.rglob("trials")] and not [*here.rglob("*.ckpt")]


def test_a_folder_of_another_search_or_of_other_images_is_refused(here: Path) -> None:
    plan, _ = prepared(trials=2)
    with pytest.raises(UserError, match=r"belongs to another search.*; these differ: the recipe"):
        prepared(trials=2, epochs=1)
    with pytest.raises(UserError, match=r"differ: the space's fields"):
        prepared(trials=2, space=_wide(here))
    with pytest.raises(UserError, match=r"differ: .*sampler"):
        prepared(trials=2, sampler="random")
    with pytest.raises(UserError, match=r"differ: .*--sampler-seed"):
        prepared(trials=2, sampler_seed=1)
    with pytest.raises(UserError, match="started on other images"):
        create_or_load(plan.work, plan.goal, "another hash")


def test_who_joins_lays_the_first_trials_out_where_who_began_died_before_it_could(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("tiny.toml", "rates.toml", folder="search")
    plan.folder.prepare()
    optuna().create_study(study_name=plan.work.name, storage=open_storage(plan.work.address), direction="maximize")
    monkeypatch.setattr("rungs.study.search.study.READY_S", 0.0)
    study = create_or_load(plan.work, plan.goal, "hash")
    assert [trial.system_attrs["fixed_params"]["optim.lr"] for trial in study.get_trials()] == [0.1]
    assert len(create_or_load(plan.work, plan.goal, "hash").get_trials()) == 1


class Broken:
    """A worker that is killed before it can say anything."""

    started = 0

    def __init__(self, work: object, jobs: int) -> None:
        Broken.started += 1
        self.pipe, theirs = CONTEXT.Pipe(duplex=False)
        theirs.close()
        self.process = SimpleNamespace(pid=0, exitcode=-9, join=lambda *_: None, is_alive=lambda: False)


def test_workers_that_die_without_a_trial_are_not_replaced_for_ever(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, study = prepared(trials=2)
    monkeypatch.setattr("rungs.study.search.workers.WorkerProcess", Broken)
    with pytest.raises(UserError, match=r"before they get a trial: a worker was killed \(SIGKILL\)"):
        search(plan.work, study, 1, lambda trial, done, of: None)
    assert Broken.started == MOST_FAILED_STARTS


def test_a_storage_that_goes_away_says_how_to_go_on(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, study = prepared(trials=2)

    def away(*_: object, **__: object) -> None:
        raise optuna().exceptions.StorageInternalError("connection to mysql://me:word@h refused")

    monkeypatch.setattr("rungs.study.search.workers.requeue_abandoned", away)
    with pytest.raises(UserError, match=r"is no longer reachable: .*me:\*\*\*@h refused") as caught:
        search(plan.work, study, 1, lambda trial, done, of: None)
    assert "same command" in str(caught.value)


def test_without_the_extra_the_command_says_what_to_install(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'rungs\[search\]'"):
        tune.tune("tiny.toml", "rates.toml")


def test_the_command_of_the_record_joins_the_search(here: Path) -> None:
    plan = plan_of("tiny.toml", "rates.toml", ["optim.momentum=0.8"], epochs=1, storage="mysql://me:word@h/db")
    assert plan.command == (
        "rungs tune tiny.toml --space rates.toml --set optim.momentum=0.8 --epochs 1 --storage mysql://me:***@h/db"
    )
    again = plan_of("tiny.toml", "rates.toml", folder="here", skip_unreadable=True)
    assert again.command == "rungs tune tiny.toml --space rates.toml --out here --skip-unreadable"
    assert plan.reduced == ("1 epoch for 2, and so in proportion", "with optim.momentum=0.8")
    assert plan.folder.path.parent.name == "searches" and plan.folder.path.name.startswith("tiny-rates-")
    assert plan.work.recipe.training.epochs == 1 and plan.work.recipe.evaluation.score_test is False
