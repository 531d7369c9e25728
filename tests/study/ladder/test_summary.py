"""From cells to the record of a ladder: values, means, differences in pairs, claims, and what makes them comparable."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from samples import healthy, overfitting, result, without_validation

from rungs.errors import UserError
from rungs.recipe.augments import Flip
from rungs.recipe.spec import Claim
from rungs.run.record import RunRecord, from_json
from rungs.study.differences import compare
from rungs.study.ladder import spec, words
from rungs.study.ladder.best import best
from rungs.study.ladder.changes import changes_again, pools
from rungs.study.ladder.join import judge_united
from rungs.study.ladder.outcome import Outcome
from rungs.study.ladder.record import CellRecord, LadderRecord, RungRecord
from rungs.study.ladder.spec import Cell, Ladder, Rung
from rungs.study.ladder.summary import summarise

LADDER = """
name = "two"
about = "A change."
headline = "80 % test accuracy"
base = "lab-003"
builds_on = "previous"
[[rungs]]
name = "base"
about = "As it is."
claims = [
  { metric = "test_accuracy", value = 0.80, source = "a" },
  { metric = "validation_loss", value = 0.5, source = "a" },
  { metric = "parameters", value = 1189898, source = "a" },
]
[[rungs]]
name = "changed"
about = "Another rate."
set = ["optim.lr=0.02"]
"""


def ladder() -> Ladder:
    return spec.parse(LADDER, "two.toml")


def scored(record: RunRecord, accuracy: float, loss: float = 0.6) -> RunRecord:
    """The same run with other results on validation and test."""
    classes = len(record.data.classes)
    parts = {}
    for part, n in (("validation", 1000), ("test", 10000)):
        if getattr(record, part) is not None:
            parts[part] = replace(result(classes, n, accuracy), loss=loss, accuracy=accuracy)
    return replace(record, **parts)


def outcome(rung: str, seed: int, record: RunRecord | None, ending: str = "") -> Outcome:
    recipe = replace((record or healthy()).recipe, seed=seed)
    cell = Cell(rung, seed, recipe)
    if record is not None:
        data = replace(record.data, hash=f"{seed}")
        record = replace(record, recipe=recipe, data=data)
        ending = record.ending
    return Outcome(cell, Path("climbs") / cell.folder, record, ending)


def both(base: list[float], changed: list[float]) -> list[Outcome]:
    made = [outcome("base", seed, scored(healthy(), accuracy)) for seed, accuracy in enumerate(base)]
    return made + [outcome("changed", seed, scored(healthy(), accuracy)) for seed, accuracy in enumerate(changed)]


def summed(outcomes: list[Outcome], *reduced: str) -> LadderRecord:
    return summarise(ladder(), outcomes, command="rungs climb two", reduced=reduced)


def rung(record: LadderRecord, name: str) -> RungRecord:
    return next(one for one in record.rungs if one.name == name)


def test_means_and_the_difference_are_over_pairs_of_equal_seeds() -> None:
    record = summed(both([0.80, 0.82, 0.81], [0.8901, 0.91, 0.8999]))
    assert rung(record, "base").estimates["test_accuracy"].mean == pytest.approx(0.81)
    assert rung(record, "base").estimates["test_accuracy"].sd == pytest.approx(0.01)
    assert rung(record, "base").difference is None
    difference = rung(record, "changed").difference
    assert difference is not None and (difference.against, difference.n) == ("base", 3)
    assert difference.metric == "validation_accuracy" and difference.mean == pytest.approx(0.09)
    assert difference.verdict == "real gain"  # the seeds vary by a point, their differences do not
    assert record.seeds == (0, 1, 2)


def looked_twice(rung: str, seed: int, validation: float, test: float) -> Outcome:
    """A run whose net was scored with test-time augmentation, too."""
    record = replace(scored(healthy(), 0.80), test_tta=replace(result(10, 10000, test), loss=0.4, accuracy=test))
    twice = replace(result(10, 1000, validation), loss=0.5, accuracy=validation)
    return outcome(rung, seed, replace(record, validation_tta=twice))


def test_scores_with_test_time_augmentation_are_means_over_seeds_beside_their_claim() -> None:
    text = LADDER.replace('metric = "validation_loss", value = 0.5', 'metric = "test_tta_accuracy", value = 0.83')
    two = spec.parse(text, "two.toml")
    outcomes = [looked_twice("base", 0, 0.82, 0.81), looked_twice("base", 1, 0.84, 0.83)]
    record = summarise(two, [*outcomes, outcome("changed", 0, healthy())], command="", reduced=())
    base, changed = rung(record, "base"), rung(record, "changed")
    assert [cell.values["test_tta_accuracy"] for cell in base.cells] == [0.81, 0.83]
    means = {name: estimate.mean for name, estimate in base.estimates.items() if "_tta_" in name}
    assert means == pytest.approx(
        {
            "validation_tta_accuracy": 0.83, "validation_tta_loss": 0.5,
            "test_tta_accuracy": 0.82, "test_tta_loss": 0.4,
        }
    )  # fmt: skip
    assert base.estimates["test_accuracy"].mean == pytest.approx(0.80)
    (answer,) = (one for one in base.answers if one.metric == "test_tta_accuracy")
    assert (answer.claimed, answer.verdict, answer.n) == (0.83, "cannot tell", 2)
    assert answer.measured == pytest.approx(0.82)
    assert not [name for name in (*changed.estimates, *changed.cells[0].values) if "_tta" in name]


def test_one_seed_with_test_time_augmentation_has_the_interval_of_its_images() -> None:
    one = looked_twice("base", 0, 0.82, 0.81)
    base = rung(summarise(ladder(), [one], command="", reduced=()), "base")
    assert one.record is not None and one.record.test_tta is not None
    estimate = base.estimates["test_tta_accuracy"]
    assert (estimate.n, estimate.low, estimate.high) == (1, *one.record.test_tta.accuracy_interval)


def test_seeds_that_only_one_of_two_rungs_has_are_in_its_mean_but_in_no_pair() -> None:
    record = summed(both([0.80, 0.82, 0.81], [0.83]))
    difference = rung(record, "changed").difference
    assert difference is not None and (difference.n, difference.verdict) == (1, "undecided")
    assert difference.sd_from == "elsewhere"  # one rung has several seeds: no table of rungs and seeds


def test_rungs_with_other_validation_images_are_judged_on_the_test_set() -> None:
    outcomes = both([0.80, 0.82], [])
    for seed, accuracy in enumerate((0.81, 0.83)):
        made = scored(healthy(), accuracy)
        data = replace(made.recipe.data, validation=2500)
        outcomes.append(outcome("changed", seed, replace(made, recipe=replace(made.recipe, data=data))))
    difference = rung(summed(outcomes), "changed").difference
    assert difference is not None and difference.metric == "test_accuracy"
    base, changed = both([0.8], [0.9])
    augmented = [base, replace_record(changed, augment_validation(changed.record))]
    difference = rung(summed(augmented), "changed").difference
    assert difference is not None and difference.metric == "test_accuracy"


def augment_validation(record: RunRecord | None) -> RunRecord:
    assert record is not None
    augment = replace(record.recipe.augment, validation=(Flip(),))
    return replace(record, recipe=replace(record.recipe, augment=augment))


def test_a_seed_that_diverged_at_once_does_not_change_how_rungs_are_judged() -> None:
    outcomes = both([0.80, 0.82], [0.83, 0.85])
    outcomes.append(outcome("changed", 2, replace(healthy(), status="diverged", validation=None, test=None)))
    difference = rung(summed(outcomes), "changed").difference
    assert difference is not None and difference.metric == "validation_accuracy"


def test_the_recipe_is_that_of_the_first_rung_whatever_the_order_of_the_cells() -> None:
    base, changed = both([0.8], [0.8])
    named = [
        replace_record(one, replace(one.record, recipe=replace(one.record.recipe, name=one.cell.rung)))
        for one in (changed, base)
        if one.record
    ]
    assert summed(named).recipe.name == "base"


def test_without_validation_nothing_judges_for_the_test_set_may_not() -> None:
    outcomes = [outcome(name, 0, scored(without_validation(), 0.8)) for name in ("base", "changed")]
    record = summed(outcomes)
    assert rung(record, "changed").difference is None
    assert "the test set must not choose" in words.no_comparison(record, rung(record, "changed"))


def test_claims_meet_what_one_more_run_would_give() -> None:
    answers = {a.metric: a for a in rung(summed(both([0.80, 0.82, 0.81], [])), "base").answers}
    assert answers["test_accuracy"].verdict == "cannot tell"  # three seeds that vary by a point
    assert answers["validation_loss"].verdict == "worse"  # 0.6 in each run, 0.5 claimed
    assert answers["validation_loss"].measured == pytest.approx(0.6)
    assert answers["parameters"].measured == healthy().model.parameters


def test_claims_of_a_reduced_climb_are_not_compared_but_parameters_are() -> None:
    answers = {a.metric: a for a in rung(summed(both([0.8], [0.8]), "5 epochs for 20"), "base").answers}
    assert answers["test_accuracy"].verdict == "not comparable"
    assert answers["test_accuracy"].why == "5 epochs for 20"
    assert answers["test_accuracy"].measured == pytest.approx(0.8)
    assert answers["parameters"].verdict == "not comparable"  # another net than the claim's
    same = replace(healthy(), model=replace(healthy().model, parameters=1189898))
    answers = {a.metric: a for a in rung(summed([outcome("base", 0, same)], "5 epochs for 20"), "base").answers}
    assert answers["parameters"].verdict == "equal"


def test_claims_are_left_out_beside_other_images() -> None:
    own = summed([outcome("base", 0, healthy())], "folder:photos instead of cifar10", "5 epochs for 20")
    assert (rung(own, "base").answers, own.headline) == ((), "")
    same = summed([outcome("base", 0, healthy())], "with training.epochs=5")
    assert rung(same, "base").answers and same.headline


def test_cells_that_did_not_finish_are_in_no_mean_and_are_named() -> None:
    outcomes = both([0.80, 0.82], [0.83])
    outcomes.append(outcome("changed", 1, None, "its process ended with code -9"))
    outcomes.append(outcome("changed", 2, replace(healthy(), status="diverged", ending="the loss exploded", test=None)))
    changed = rung(summed(outcomes), "changed")
    assert [cell.status for cell in changed.cells] == ["finished", "failed", "diverged"]
    assert changed.cells[1].ending == "its process ended with code -9"
    assert changed.estimates["test_accuracy"].n == 1


def test_a_rung_of_which_a_seed_diverged_reproduces_nothing() -> None:
    outcomes = both([0.80, 0.82], [])
    outcomes.append(outcome("base", 2, replace(healthy(), status="diverged", ending="the loss exploded")))
    (first, *_) = rung(summed(outcomes), "base").answers
    assert (first.verdict, first.why) == ("not comparable", "only 2 of 3 seeds finished")


def test_convergence_is_the_first_epoch_within_2_per_cent_of_the_smallest_loss() -> None:
    record = healthy()
    losses = (1.0, 0.509, 0.515, 0.5, 0.6)
    rows = tuple(replace(row, validation_loss=loss) for row, loss in zip(record.history, losses, strict=False))
    changed = replace(record, history=rows)
    (cell,) = rung(summed([outcome("base", 0, changed)]), "base").cells
    assert cell.values["convergence_steps"] == rows[1].step
    assert cell.values["steps"] == rows[-1].step and cell.values["epochs"] == 5
    assert cell.values["step_s"] == pytest.approx(131.0 / 766)  # of the fastest epoch
    slow = tuple(replace(row, train_s=row.train_s * (1 + row.epoch)) for row in rows)
    (cell,) = rung(summed([outcome("base", 0, replace(record, history=slow))]), "base").cells
    assert cell.values["step_s"] == pytest.approx(2 * 131.0 / 766)
    assert cell.values["train_s"] == pytest.approx(5 * 2 * 131.0)
    (cell,) = rung(summed([outcome("base", 0, changed)]), "base").cells
    assert cell.curves["validation_loss"] == losses
    assert cell.values["highest_train_accuracy"] == max(row.train_accuracy for row in rows)
    assert "highest_test_accuracy" not in cell.values and "test_accuracy" not in cell.curves


def test_findings_and_the_interpretation_of_each_cell_are_kept() -> None:
    (cell,) = rung(summed([outcome("base", 0, overfitting())]), "base").cells
    assert "overfitting" in [finding.rule for finding in cell.findings]
    assert "overfits" in cell.interpretation


def test_confusions_of_all_seeds_are_added_up() -> None:
    record = rung(summed(both([0.8, 0.8], [])), "base")
    assert sum(map(sum, record.confusion)) == 2 * 10_000


def test_layers_are_kept_where_a_rung_changes_the_net() -> None:
    record = summed(both([0.8], [0.8]))
    assert rung(record, "base").layers == healthy().model.layers
    assert rung(record, "changed").layers == ()  # it sets the rate alone
    assert rung(record, "base").assumptions == healthy().recipe.assumptions


def test_cells_of_other_data_are_refused() -> None:
    outcomes = both([0.8], [0.8])
    stale = outcomes[1].record
    assert stale is not None
    outcomes[1] = replace_record(outcomes[1], replace(stale, data=replace(stale.data, hash="other")))
    with pytest.raises(UserError, match="not trained on the same images as base-seed0"):
        summed(outcomes)


def replace_record(one: Outcome, record: RunRecord) -> Outcome:
    return Outcome(one.cell, one.folder, record, one.ending)


def test_nothing_finished_is_an_error_that_says_why() -> None:
    with pytest.raises(UserError, match="no cell finished\n  base: no memory"):
        summed([outcome("base", 0, None, "no memory")])


def test_where_files_lie_and_what_the_kernel_is_called_stays_at_home() -> None:
    made = healthy()
    made = replace(
        made,
        data=replace(made.data, origin="/home/somebody/secret/cifar-10-batches-py"),
        environment=replace(made.environment, platform="Linux-6.1.0-custom-x86_64-with-glibc2.36"),
    )
    record = summed([outcome("base", 0, made)])
    assert (record.data.origin, record.environment.platform) == ("cifar-10-batches-py", "Linux x86_64")


def test_a_claim_may_be_of_any_metric_that_a_cell_has() -> None:
    claim = Claim(metric="highest_train_accuracy", value=0.0, source="a")
    first = replace(ladder().rungs[0], claims=(claim,))
    changed = replace(ladder(), rungs=(first, ladder().rungs[1]))
    record = summarise(changed, both([0.8, 0.8, 0.8], []), command="", reduced=())
    (answer,) = rung(record, "base").answers
    assert answer.verdict == "better" and answer.measured is not None


def diverged(rung: str, seed: int) -> Outcome:
    record = replace(healthy(), status="diverged", ending="the loss exploded", validation=None, test=None)
    return outcome(rung, seed, record)


def test_a_run_that_diverged_counts_as_guessing_and_is_named() -> None:
    """Three of five gain nine points; two learnt nothing. That is no real gain."""
    steady = both([0.80, 0.81, 0.82, 0.80, 0.81], [0.89, 0.90, 0.91, 0.89, 0.90])
    assert rung(summed(steady), "changed").difference.verdict == "real gain"  # type: ignore[union-attr]
    outcomes = [*steady[:8], diverged("changed", 3), diverged("changed", 4)]
    found = rung(summed(outcomes), "changed").difference
    assert found is not None and (found.n, found.verdict) == (5, "undecided")
    assert found.mean == pytest.approx((3 * 0.09 + (0.1 - 0.80) + (0.1 - 0.81)) / 5)
    assert found.diverged == ("2 of 5 runs of changed",)
    assert found.words.endswith("2 of 5 runs of changed diverged and count as guessing")


def test_a_rung_that_diverged_with_every_seed_is_a_loss() -> None:
    outcomes = both([0.80, 0.81, 0.82], []) + [diverged("changed", seed) for seed in range(3)]
    found = rung(summed(outcomes), "changed").difference
    assert found is not None and (found.n, found.verdict) == (3, "real loss")


def test_a_verdict_stays_when_seeds_are_added_and_looks_are_counted() -> None:
    first = summed(both([0.80, 0.82, 0.81], [0.8901, 0.91, 0.8999]))
    assert first.looks == (3,)
    more = both([0.80, 0.82, 0.81, 0.80, 0.82], [0.8901, 0.91, 0.8999, 0.60, 0.62])
    again = summarise(ladder(), more, command="rungs climb two --seeds 5", reduced=(), before=first)
    found, alone = rung(again, "changed").difference, rung(summed(more), "changed").difference
    assert found is not None and alone is not None and alone.verdict == "undecided"
    assert (found.verdict, found.decided_at, found.n, found.looks) == ("real gain", 3, 5, (3,))
    assert found.mean == alone.mean  # the numbers are those of all seeds
    undecided = summed(both([0.80, 0.82, 0.81], [0.81, 0.82, 0.83]))
    then = summarise(ladder(), more, command="", reduced=(), before=undecided)
    assert then.looks == (3, 5)


def test_other_cells_begin_anew() -> None:
    first = summed(both([0.80, 0.82, 0.81], [0.8901, 0.91, 0.8999]))
    moved = [replace_folder(cell) for cell in first.rungs[1].cells]
    other = replace(first, rungs=(first.rungs[0], replace(first.rungs[1], cells=tuple(moved))))
    again = summarise(ladder(), both([0.8] * 3, [0.81] * 3), command="", reduced=(), before=other)
    found = rung(again, "changed").difference
    assert found is not None and found.verdict == "undecided"


def replace_folder(cell: CellRecord) -> CellRecord:
    return replace(cell, folder=f"{cell.folder}-of-another-recipe")


def test_an_earlier_version_that_kept_no_looks_counts_as_one() -> None:
    first = summed(both([0.80, 0.82, 0.81], [0.81, 0.82, 0.83]))
    difference = rung(first, "changed").difference
    assert difference is not None
    old = replace(first.rungs[1], difference=replace(difference, looks=(), next_look=None, verdict="real gain"))
    before = replace(first, rungs=(first.rungs[0], old), looks=())
    more = both([0.80, 0.82, 0.81, 0.80, 0.82], [0.81, 0.82, 0.83, 0.81, 0.82])
    found = rung(summarise(ladder(), more, command="", reduced=(), before=before), "changed").difference
    assert found is not None and (found.looks, found.verdict) == ((3, 5), "undecided")


def test_the_best_rung_is_not_the_luckiest_single_seed() -> None:
    outcomes = [*both([0.80, 0.81, 0.82], [0.83, 0.85, 0.84]), outcome("lucky", 0, scored(healthy(), 0.845))]
    rungs = (*ladder().rungs, Rung(name="lucky", about="One seed.", on="base"))
    record = summarise(replace(ladder(), rungs=rungs), outcomes, command="", reduced=())
    found = best(record)
    assert found is not None and (found.rung.name, found.n) == ("changed", 3)
    assert found.mean == pytest.approx(0.84) and found.interval[0] < 0.84 < found.interval[1]
    assert found.ties == ("lucky",)
    assert words.headline(record).startswith("Best on validation: changed, 84.00 % (95 % interval ")
    assert "lucky cannot be told apart from it." in words.headline(record)


def test_claims_of_neighbours_imply_a_change() -> None:
    claims = [Claim(metric="validation_accuracy", value=value, source="a diary") for value in (0.80, 0.808)]
    rungs = [replace(one, claims=(claim,)) for one, claim in zip(ladder().rungs, claims, strict=True)]
    record = summarise(
        replace(ladder(), rungs=tuple(rungs)), both([0.80, 0.81, 0.82], [0.83, 0.84, 0.85]), command="", reduced=()
    )
    (level,), (second, change) = (one.answers for one in record.rungs)
    assert (level.kind, second.kind, change.kind) == ("value", "value", "change")
    assert (change.claimed, change.measured) == (pytest.approx(0.008), pytest.approx(0.03))
    assert "Claimed changes: 1 " in words.headline(record)


def test_a_committed_record_is_judged_again_from_its_numbers_alone() -> None:
    """`first-cnn`, three seeds: the plain t test decided one of seven changes, the pooled variance decides five.

    In this record of an earlier climb four rungs have a single seed.
    """
    path = Path(__file__).parents[2] / "data_of_old" / "ladder" / "first-cnn.json"
    record = from_json(path.read_bytes(), LadderRecord, path)
    seven = changes_again(record)[:7]
    once = compare(seven, pools(record.rungs))
    assert sum(found.verdict.startswith("real") for found in once.values()) == 5
    again = judge_united(record, {})
    assert again == record
    at_look = [one.difference.verdict for one in again.rungs[1:8] if one.difference]
    assert sum(verdict.startswith("real") for verdict in at_look) == 4
    single = rung(again, "rate-0.005").difference
    assert single is not None and (single.n, single.verdict, single.sd_from) == (1, "real loss", "ladder")


def test_two_seeds_decide_what_seeds_cannot_do() -> None:
    """Minus 15.65 points with two seeds, where the other rungs vary by half a point."""
    outcomes = both([0.7000, 0.7050, 0.6980], [0.7100, 0.7140, 0.7090])
    outcomes += [outcome("quarter", seed, scored(healthy(), value)) for seed, value in enumerate((0.5400, 0.5520))]
    rungs = (*ladder().rungs, Rung(name="quarter", about="A quarter of the images.", on="base"))
    found = rung(summarise(replace(ladder(), rungs=rungs), outcomes, command="", reduced=()), "quarter").difference
    assert found is not None and (found.n, found.verdict) == (2, "real loss")
