"""The finals: who wins, what it is distinguishable from, how optimistic the search was; the test set once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import search_samples
from ladder_samples import sweep
from msgspec.structs import replace
from searches import plan_of, write_files

from rungs.run.record import Estimate
from rungs.study import statistics
from rungs.study.ladder.record import CellRecord, LadderRecord, RungRecord
from rungs.study.search import finals, verdict, words
from rungs.study.search.conclude import importance
from rungs.study.search.ledger import RUN
from rungs.study.search.record import Finalist, Metric, SearchRecord
from rungs.study.search.storage import optuna
from rungs.study.search.study import Work, create_or_load


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    return plan_of("tiny.toml", "rates.toml").work


def trial(number: int, value: float, rate: float = 0.05) -> Any:
    params = {"optim.lr": rate, "training.batch_size": 25}
    run = {"value": value, "curve": [value], "train_s": 1.0, "folder": "", "ending": ""}
    return SimpleNamespace(number=number, params=params, user_attrs={RUN: run})


def rung(name: str, values: Mapping[int, float], metric: str, changes: tuple[str, ...] = ()) -> RungRecord:
    cells = [CellRecord(seed=s, folder="", status="finished", ending="", values={metric: v}) for s, v in values.items()]
    blank = sweep(rungs=1, seeds=1).rungs[0]
    estimates = {metric: statistics.estimate([*values.values()])}
    return replace(blank, name=name, changes=changes, cells=tuple(cells), estimates=estimates)


def record(metric: str = "validation_accuracy", **rungs: Mapping[int, float]) -> LadderRecord:
    made = [rung(name.replace("_", "-"), values, metric, (f"x={name}",)) for name, values in rungs.items()]
    return replace(sweep(rungs=1, seeds=1), rungs=tuple(made))


def judged(
    found: LadderRecord,
    ranked: Sequence[Finalist],
    metric: Metric = "validation_accuracy",
    test: Estimate | None = None,
) -> SearchRecord:
    """Return the record of a search with these finals, and its verdict."""
    blank = replace(search_samples.no_finals(), metric=metric, test=test)
    return verdict.judged(replace(blank, finals=found, finalists=tuple(ranked), winner=ranked[0].name))


def by_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values, 1))


def test_a_real_gain_is_named_with_its_interval_and_its_optimism(work: Work) -> None:
    found = record(
        recipe=by_seed(0.90, 0.91, 0.92), trial_3=by_seed(0.95, 0.961, 0.97), trial_5=by_seed(0.949, 0.93, 0.96)
    )
    chosen = [trial(5, 0.99), trial(3, 0.98)]
    ranked = finals.rank(work, found, chosen, 3)
    assert [one.name for one in ranked] == ["trial-3", "trial-5", "recipe"]
    assert ranked[0].optimism is not None and ranked[0].optimism.mean == pytest.approx(0.98 - 0.9603333, abs=1e-6)
    judged_ = judged(found, ranked)
    said = judged_.verdict
    assert "On 3 fresh seeds, trial-3 (x=trial_3) has the best validation accuracy: 96.03 %" in said
    assert judged_.corrected is not None
    assert (
        "96.03 %; corrected for having been chosen as the best of 3, 96.03 % (95 % interval 93.88 to 97.64 %)" in said
    )
    assert "Against the unchanged recipe it gains 5.03" in said
    assert "cannot be distinguished from the runner-up, trial-5: " in said
    assert "its one run had 98.00 %, 1.97 points better than that corrected value" in said
    assert judged_.optimism is not None and judged_.optimism.mean == pytest.approx(0.98 - judged_.corrected.mean)
    assert "the one run of trial-5, the best of the search, had 99.00 %, 4.37 points better" in said


def test_the_luckiest_trial_does_not_win_and_noise_is_called_noise(work: Work) -> None:
    found = record(
        recipe=by_seed(0.90, 0.93, 0.88), trial_3=by_seed(0.91, 0.89, 0.92), trial_5=by_seed(0.9, 0.89, 0.87)
    )
    ranked = finals.rank(work, found, [trial(5, 0.99), trial(3, 0.98)], 3)
    assert ranked[0].name == "trial-3" and ranked[-1].name == "trial-5"
    judged_ = judged(found, ranked)
    assert "cannot be distinguished from the unchanged recipe" in judged_.verdict
    assert judged_.corrected is not None and judged_.corrected.mean < ranked[0].rerun.mean - 0.01
    value = 100 * judged_.corrected.mean
    assert (
        f"90.67 %; corrected for having been chosen as the best of 3, {value:.2f} % (95 % interval" in judged_.verdict
    )
    assert f"had 98.00 %, {98 - value:.2f} points better than that corrected value" in judged_.verdict


def test_of_equals_the_recipe_as_it_was_wins(work: Work) -> None:
    same = by_seed(0.9, 0.91, 0.92)
    found = record(recipe=same, trial_3=same)
    ranked = finals.rank(work, found, [trial(3, 0.98)], 3)
    said = judged(found, ranked).verdict
    assert ranked[0].name == "recipe" and ranked[0].optimism is None and "No trial of the search does better" in said


def test_who_lost_a_re_run_cannot_win(work: Work) -> None:
    found = record(recipe=by_seed(0.9, 0.91, 0.92), trial_3=by_seed(0.99, 0.99))
    assert [one.name for one in finals.rank(work, found, [trial(3, 0.98)], 3)] == ["recipe"]


def test_where_the_recipe_wins_the_best_trials_optimism_is_said_and_of_its_own_trial_too(work: Work) -> None:
    found = record(recipe=by_seed(0.96, 0.97, 0.98), trial_3=by_seed(0.90, 0.91, 0.92))
    ranked = finals.rank(work, found, [trial(3, 0.98)], 3)
    said = judged(found, ranked).verdict
    assert ranked[0].name == "recipe" and "the one run of trial-3, the best of the search, had 98.00 %, 7.00" in said
    own = trial(0, 0.99)
    own.params = {"optim.lr": 0.1, "training.batch_size": 50}
    assert finals.own_trial(work, [trial(3, 0.98), own]) is own
    ranked = finals.rank(work, found, [trial(3, 0.98)], 3, own)
    said = judged(found, ranked).verdict
    assert "its one run, the best of the search, had 99.00 %, 2.00 points better" in said and "run of trial" not in said


def test_the_test_score_leads_the_verdict() -> None:
    found = record(recipe=by_seed(0.90, 0.91, 0.92), trial_3=by_seed(0.95, 0.961, 0.97))
    ranked = [
        Finalist(name=r.name, trial=t, overrides=r.changes, searched=None, rerun=r.estimates["validation_accuracy"])
        for r, t in zip(reversed(found.rungs), (3, None), strict=True)
    ]
    said = judged(found, ranked, test=statistics.estimate([0.94, 0.95, 0.96])).verdict
    test = "On the test set the winner, trial-3 (x=trial_3), scores 95.00 % (95 % interval 92.52 to 97.48 %), the mean"
    assert said.startswith(
        test + " of its 3 re-runs. On 3 fresh seeds, it has the best validation accuracy: 96.03 %; corrected"
    )


def test_nothing_is_corrected_without_a_choice_or_with_one_seed(work: Work) -> None:
    alone = record(recipe=by_seed(0.90, 0.91, 0.92))
    judged_ = judged(alone, finals.rank(work, alone, [], 3))
    assert words.corrected(judged_, judged_.finalists[0]) is None and "corrected" not in judged_.verdict
    assert "91.00 % (95 % interval 88.52 to 93.48 %). The search found no other candidate." in judged_.verdict
    single = record(recipe=by_seed(0.90), trial_3=by_seed(0.95))
    judged_ = judged(single, finals.rank(work, single, [trial(3, 0.98)], 1))
    assert judged_.corrected is None and judged_.optimism is None
    assert "95.00 %, on average too high, as the best of 2; one seed does not show by how much." in judged_.verdict
    assert "had 98.00 %, 3.00 points better than the mean of its re-runs" in judged_.verdict


def test_a_record_of_an_earlier_version_gets_what_its_finals_say() -> None:
    new = search_samples.usual()
    old = replace(new, schema=1, corrected=None, optimism=None, verdict="It wins: the search flattered it.")
    assert verdict.current(old) == new and verdict.current(new) is new
    unfinished = replace(search_samples.no_finals(), schema=1)
    assert verdict.current(unfinished) is unfinished


def test_of_losses_less_is_better_and_optimism_is_still_positive(tmp_path: Path, work: Work) -> None:
    work = plan_of("tiny.toml", "rates.toml", metric="validation_loss").work
    found = record("validation_loss", recipe=by_seed(0.50, 0.52, 0.51), trial_3=by_seed(0.30, 0.33, 0.31))
    ranked = finals.rank(work, found, [trial(3, 0.2)], 3)
    assert ranked[0].name == "trial-3" and ranked[0].optimism is not None
    assert ranked[0].optimism.mean == pytest.approx(0.11333333)
    said = judged(found, ranked, "validation_loss").verdict
    assert "Against the unchanged recipe it lowers the loss by 0.1967" in said
    assert "has the best validation loss: 0.3133; corrected for having been chosen as the best of 2, 0.3133" in said
    assert "which is no worse: choices by fewer of the seeds mostly agree" in said  # every seed chooses trial-3
    assert "its one run, the best of the search, had 0.2000, 0.1133 better than that corrected value" in said


def test_finalists_are_distinct_and_none_is_the_recipe(work: Work) -> None:
    own = trial(0, 0.99)
    own.params = {"optim.lr": 0.1, "training.batch_size": 50}
    ranked = [own, trial(4, 0.98), trial(7, 0.98), trial(2, 0.9, rate=0.02), trial(1, 0.8, rate=0.03)]
    chosen = finals.best_distinct(work, ranked, 2)
    assert [one.number for one in chosen] == [4, 2]
    cells = finals.cells(work, finals.as_ladder(work, chosen, seeds=2))
    assert [(cell.rung, cell.seed) for cell in cells] == [
        (name, seed) for seed in (1, 2) for name in ("recipe", "trial-4", "trial-2")
    ]
    assert all(cell.recipe.seed == cell.seed and not cell.recipe.evaluation.score_test for cell in cells)
    assert {cell.recipe.optim.lr for cell in cells} == {0.1, 0.05, 0.02}


def test_importance_finds_the_field_that_matters_and_says_where_there_is_too_little(work: Work) -> None:
    study = optuna().create_study(direction="maximize")
    distributions = {name: optuna().distributions.FloatDistribution(0, 1) for name in ("x", "y")}
    assert importance(study, 2) == ({}, "0 complete trials are too few: 8 are needed")
    study.sampler = optuna().samplers.RandomSampler(seed=0)
    study.tell(study.ask(distributions), 0.0)
    assert importance(study, 2) == ({}, "1 complete trial is too few: 8 are needed")
    for _ in range(19):
        one = study.ask(distributions)
        study.tell(one, 3 * one.params["x"] + 0.1 * one.params["y"])
    shares, how = importance(study, 2)
    assert shares["x"] > 0.8 and sum(shares.values()) == pytest.approx(1) and "fANOVA" in how and "20 complete" in how
    assert all(type(share) is float for share in shares.values())  # numpy's cannot be written
    assert importance(study, 1)[0] == {}
    flat = optuna().create_study()
    for _ in range(9):
        flat.tell(flat.ask(distributions), 1.0)
    assert importance(flat, 2)[0] == {} or sum(importance(flat, 2)[0].values()) == pytest.approx(1)


def test_the_test_set_stays_closed_when_the_same_winner_was_scored_before(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of("tiny.toml", "rates.toml")
    found = record(recipe=by_seed(0.90, 0.91, 0.92))
    ranked = finals.rank(work, found, [], 3)
    done = finals.Finals(found, ranked, ())
    opened: list[str] = []
    monkeypatch.setattr(finals.looks, "note", lambda *words: opened.append(words[2]) or exit_quietly())
    before: Any = SimpleNamespace(
        finals=found, winner="recipe", finalists=ranked, test=statistics.estimate([0.9]), test_accuracies=(0.9,)
    )
    data = sweep(rungs=1, seeds=1).data
    assert finals.score_once(plan, done, data, before) == (before.test, (0.9,))
    other = replace(ranked[0], overrides=("optim.lr=1.0",))
    before.finalists = (other,)
    with pytest.raises(LookupError):
        finals.score_once(plan, done, replace(data, counts={"test": (4, 6)}), before)
    assert len(opened) == 1
    closed = plan_of("tiny.toml", "rates.toml", ["evaluation.score_test=false"])
    assert finals.score_once(closed, done, replace(data, counts={"test": (4, 6)}), before) == (None, ())


def exit_quietly() -> None:
    raise LookupError


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_samplers_draw_by_the_number_of_the_trial_alone(work: Work, sampler: str) -> None:
    """Two that draw side by side draw what one alone draws; past the start, too, where the others' values count."""
    from rungs.study.search.study import distributions, load_study

    drawn = []
    for folder in ("one", "two"):
        plan = plan_of("tiny.toml", "rates.toml", sampler=sampler, pruner="hyperband", folder=folder)
        plan.folder.prepare()
        create_or_load(plan.work, plan.goal, "hash")
        hands = [load_study(plan.work) for _ in range(2)]
        for number in range(14):
            study = hands[number % 2 if folder == "two" else 0]
            one = study.ask(distributions(plan.work.space))
            assert one.number == number
            study.tell(one, -abs(one.params["optim.lr"] - 0.3))
        drawn.append([tuple(t.params.values()) for t in hands[0].trials])
    assert drawn[0] == drawn[1] and len(set(drawn[0])) > 10
