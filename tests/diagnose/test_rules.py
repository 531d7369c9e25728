from __future__ import annotations

import re
import shlex

import pytest
import samples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.diagnose.configuration import double_softmax, early_decay
from rungs.diagnose.endings import guessing
from rungs.recipe import identity
from rungs.recipe import toml as recipes
from rungs.recipe.models import ResNet18
from rungs.recipe.optimizers import SGD, AdamW, AnyOptimizer
from rungs.report import evidence
from rungs.run.record import ActivationRow, Finding, RunRecord, from_json, to_json


def seen(record: RunRecord) -> dict[str, str]:
    return {finding.rule: finding.level for finding in examine(record)}


def text_of(record: RunRecord, rule: str) -> str:
    return next(finding.text for finding in examine(record) if finding.rule == rule)


def with_losses(record: RunRecord, losses: list[float], rate: float | None = None) -> RunRecord:
    rows = tuple(
        replace(row, validation_loss=loss, learning_rate=rate or row.learning_rate)
        for row, loss in zip(samples.history(len(losses)), losses, strict=True)
    )
    best = min(rows, key=lambda row: row.validation_loss or 0.0).epoch
    return replace(record, history=rows, best_epoch=best)


def test_nothing_is_praised_that_was_not_there() -> None:
    assert "sound" in seen(samples.healthy())
    assert "sound" not in seen(samples.without_validation())
    record = samples.sized(3, 1)
    assert record.test is not None
    counts = {**record.data.counts, "train": (400, 400, 1)}
    confusion = (*record.test.confusion[:2], (0, 0, 0))
    unseen = replace(record, data=replace(record.data, counts=counts), test=replace(record.test, confusion=confusion))
    assert "has 1 training images; the largest" in text_of(unseen, "imbalance")


def test_leaks_mixed_code_and_few_images_for_calibration() -> None:
    record = samples.healthy()
    assert not {"leak", "mixed-code"} & set(seen(record))
    leaky = replace(record, data=replace(record.data, leaks={"test": 12}))
    assert seen(leaky)["leak"] == "warning"
    assert "12 of 10000 test images" in text_of(leaky, "leak")
    assert seen(replace(record, code=("rungs 1", "rungs 2")))["mixed-code"] == "note"
    off = replace(record, test=samples.result(10, 10000, 0.81, sure=0.09))
    assert "calibration" in seen(off)
    assert off.test is not None
    assert "calibration" not in seen(replace(off, test=replace(off.test, n=499)))


def test_a_healthy_run_gets_no_warning_and_is_called_good() -> None:
    levels = seen(samples.healthy())
    assert levels["sound"] == "good"
    assert "warning" not in levels.values()


def test_overfitting_is_seen_with_its_epoch_and_size() -> None:
    record = samples.overfitting()
    assert seen(record)["overfitting"] == "warning"
    assert "sound" not in seen(record)
    text = text_of(record, "overfitting")
    assert f"From epoch {record.best_epoch} on" in text
    rows = record.history
    assert f"{rows[-1].validation_loss:.3f}" in text
    assert examine(record)[0].level == "warning"  # warnings come first


def test_a_gap_is_noted_only_where_overfitting_is_not() -> None:
    record = replace(samples.healthy(), train=samples.result(10, 45000, 0.99))
    assert seen(record)["gap"] == "note"
    assert "gap" not in seen(replace(samples.overfitting(), train=samples.result(10, 45000, 0.99)))


def test_divergence_and_interruption() -> None:
    assert seen(samples.diverged())["diverged"] == "warning"
    assert examine(samples.diverged())[0].cure == "--set optim.lr=0.001"
    assert seen(samples.interrupted())["interrupted"] == "warning"
    assert "7 of 20 epochs are done" in text_of(samples.interrupted(), "interrupted")
    early = replace(samples.interrupted(), history=samples.interrupted().history[:1])
    assert "1 of 20 epochs is done" in text_of(early, "interrupted")
    one = replace(early.recipe, training=replace(early.recipe.training, epochs=1))
    assert "0 of 1 epoch is done" in text_of(replace(early, recipe=one, history=()), "interrupted")
    assert "sound" not in seen(samples.interrupted())


def test_a_run_that_was_still_improving() -> None:
    falling = with_losses(samples.healthy(), [2.0 * 0.9**i for i in range(10)], rate=0.1)
    assert seen(falling)["unfinished"] == "warning"
    assert next(f.cure for f in examine(falling) if f.rule == "unfinished") == "--set training.epochs=20"
    level = with_losses(samples.healthy(), [1.0 - 0.0001 * i for i in range(10)], rate=0.1)
    assert "unfinished" not in seen(level)
    noisy = with_losses(
        samples.healthy(), [*[0.5, 0.4] * 8, 0.45, 0.4, 0.5, 0.39], rate=0.1
    )  # the last is the best by chance
    assert "unfinished" not in seen(noisy)


def test_a_loss_that_stays_at_guessing() -> None:
    record = samples.healthy()
    rows = tuple(replace(row, train_loss=2.3 - 0.0001 * row.epoch) for row in record.history)
    assert seen(replace(record, history=rows))["rate-too-small"] == "warning"
    assert "2.303" in text_of(replace(record, history=rows), "rate-too-small")


def at_guessing(classes: int, accuracy: float, epochs: int) -> RunRecord:
    record = samples.sized(classes, epochs)
    right, per_class = round(accuracy * 100), 100
    others = [(per_class - right) // (classes - 1)] * classes
    table = [[*others] for _ in range(classes)]
    for k in range(classes):
        table[k][k] = per_class - sum(others) + others[k]
    hits = sum(table[k][k] for k in range(classes)) / (per_class * classes)
    n = per_class * classes
    test = replace(
        samples.result(classes, n, 0.5), n=n, accuracy=hits, accuracy_interval=samples.wilson(hits, n),
        confusion=tuple(map(tuple, table)),
    )  # fmt: skip
    rows = tuple(replace(row, train_accuracy=accuracy) for row in record.history)
    return replace(record, test=test, history=rows)


@pytest.mark.parametrize(("classes", "accuracy"), [(10, 0.10), (2, 0.5), (100, 0.01)])
def test_a_net_that_learnt_nothing_is_not_called_good(classes: int, accuracy: float) -> None:
    record = at_guessing(classes, accuracy, 1)
    assert seen(record)["guessing"] == "warning"
    assert "sound" not in seen(record)
    assert next(f.cure for f in examine(record) if f.rule == "guessing") == "--set training.epochs=10"


def test_better_than_guessing_is_not_guessing_and_the_largest_class_is_what_guessing_gets() -> None:
    assert "guessing" not in seen(at_guessing(10, 0.4, 5))
    record = at_guessing(2, 0.5, 5)
    assert record.test is not None
    lopsided = replace(record.test, n=1000, confusion=((900, 0), (100, 0)), accuracy=0.9)
    lopsided = replace(lopsided, accuracy_interval=samples.wilson(0.9, 1000))
    assert "class would give 90.00 %" in text_of(replace(record, test=lopsided), "guessing")


def test_validation_speaks_where_there_is_no_test_and_labels_are_suspected_where_training_went_well() -> None:
    record = at_guessing(10, 0.1, 5)
    alone = replace(record, validation=record.test, test=None)
    assert "validation images are classified correctly" in text_of(alone, "guessing")
    apart = replace(record, train=samples.result(10, 4000, 0.95))
    assert "do both parts use the same labels?" in text_of(apart, "parts-mismatch")


def test_one_or_two_epochs_are_too_few_to_be_called_good() -> None:
    assert seen(samples.sized(10, 2))["few-epochs"] == "note"
    assert "sound" not in seen(samples.sized(10, 2))


@pytest.mark.parametrize(
    ("optim", "cure"),
    [(SGD(lr=1e30), "0.01"), (AdamW(lr=50.0), "0.001"), (SGD(lr=0.5), "0.05"), (SGD(lr=1e-30), "0.01")],
)
def test_absurd_rates_are_answered_with_a_usual_one(optim: AnyOptimizer, cure: str) -> None:
    record = samples.diverged()
    found = examine(replace(record, recipe=replace(record.recipe, optim=optim)))
    assert found[0].cure == f"--set optim.lr={cure}"


def test_restless_epochs_need_two_jumps_that_recover_and_a_rate_that_stays() -> None:
    jumpy, calm = [2.0, 1.0, 1.6, 0.9, 1.5, 0.8, 0.7, 0.69], [2.0, 1.0, 1.6, 0.9, 0.85, 0.8, 0.7, 0.69]
    two = with_losses(samples.healthy(), jumpy, rate=0.1)
    assert seen(two)["unstable"] == "note"
    assert "(3, 5)" in text_of(two, "unstable")
    assert "unstable" not in seen(with_losses(samples.healthy(), calm, rate=0.1))
    assert "unstable" not in seen(with_losses(samples.healthy(), jumpy))  # a cosine to nothing


@pytest.mark.parametrize(
    ("losses", "rate", "rule"),
    [
        ([2.302, 2.299, 2.296, 2.293, 2.290, 2.287], 0.0001, "rate-too-small"),
        ([2.5031, 2.3100, 2.3090, 2.3088, 2.3083, 2.3081], 0.5, "stuck"),  # from its first weights to guessing
        ([2.3030] * 6, 0.0001, "rate-too-small"),
        ([2.3026] * 6, 0.5, "stuck"),  # large steps have broken it
        ([2.80, 2.45, 2.33, 2.315, 2.312, 2.310], 0.00001, "rate-too-small"),  # first weights that were too sure
        ([2.3406, 2.3388, 2.3350, 2.3354], 0.000001, "rate-too-small"),  # the noise of dropout and augmentation
    ],
)
def test_a_small_rate_takes_even_steps_and_a_large_one_none(losses: list[float], rate: float, rule: str) -> None:
    record = with_losses(samples.healthy(), losses, rate=rate)
    rows = tuple(replace(row, train_loss=row.validation_loss) for row in record.history)
    optim = replace(record.recipe.optim, lr=rate)
    found = seen(replace(record, history=rows, recipe=replace(record.recipe, optim=optim)))
    assert {"rate-too-small", "stuck"} & set(found) == {rule}


def test_losses_at_the_floor_are_told_wherever_all_training_images_were_first_right() -> None:
    """Two classes: right on all images from the third epoch on, while its loss still falls to 0.313."""
    record = samples.sized(2, 8)
    losses = [0.68, 0.55, 0.43, 0.33, 0.316, 0.314, 0.3134, 0.3133]
    rows = tuple(
        replace(row, train_loss=loss, validation_loss=loss + 0.001, train_accuracy=0.9 if i < 2 else 1.0)
        for i, (row, loss) in enumerate(zip(samples.history(8, classes=2), losses, strict=True))
    )
    assert double_softmax(replace(record, history=rows)) is not None
    lower = tuple(replace(row, train_loss=row.train_loss / 2) for row in rows)
    assert double_softmax(replace(record, history=lower)) is None


def test_validation_sets_that_are_missing_or_small() -> None:
    assert seen(samples.without_validation())["no-validation"] == "note"
    small = samples.claimed()
    assert seen(small)["small-validation"] == "note"
    cure = next(f.cure for f in examine(small) if f.rule == "small-validation")
    assert cure == "--set data.validation=5500 --set data.train=44500"


def test_classes() -> None:
    found = examine(samples.imbalanced())
    assert next(f for f in found if f.rule == "imbalance").level == "warning"
    assert "'truck' has 450" in text_of(samples.imbalanced(), "imbalance")
    record = samples.healthy()
    assert record.test is not None
    table = [list(row) for row in record.test.confusion]
    table[3][5], table[5][3] = 150, 120
    pair = replace(record, test=replace(record.test, confusion=tuple(map(tuple, table))))
    assert "'cat' was predicted as 'dog' 150 times, and the reverse 120 times" in text_of(pair, "confused-pair")


def test_calibration_says_which_way() -> None:
    assert "Mean confidence is 89.2 %" in text_of(samples.overfitting(), "calibration")
    record = samples.healthy()
    modest = replace(record, test=samples.result(10, 10000, 0.8, sure=-0.09))
    assert modest.test is not None
    modest = replace(modest, test=replace(modest.test, calibration_error=0.09))
    assert next(f.title for f in examine(modest) if f.rule == "calibration") == "Underconfident"
    assert "calibration" not in seen(record)


def test_the_stem_for_large_images() -> None:
    record = samples.healthy()
    recipe = replace(record.recipe, model=ResNet18(stem="imagenet"))
    assert seen(replace(record, recipe=recipe))["large-stem"] == "warning"
    large = replace(record, recipe=recipe, data=replace(record.data, image_size=224))
    assert "large-stem" not in seen(large)


MANY = [
    samples.healthy,
    samples.claimed,
    samples.overfitting,
    samples.diverged,
    samples.without_validation,
    samples.interrupted,
    samples.first_epoch,
    samples.imbalanced,
    samples.odd_names,
    lambda: samples.sized(100, 1),
]


@pytest.mark.parametrize("make", MANY)
def test_every_cure_is_a_command_that_the_recipe_accepts(make) -> None:  # type: ignore[no-untyped-def]
    record = make()
    for finding in examine(record):
        assert finding.title
        assert re.search(r"[.]$", finding.text.strip()), finding.text
        if finding.cure and finding.cure.startswith("--set"):
            words = shlex.split(finding.cure)
            changed = recipes.parse(recipes.to_toml(record.recipe), "sample", words[1::2])
            assert set(words[::2]) == {"--set"}
            assert identity.digest(changed) != identity.digest(record.recipe)


def test_a_cure_for_overfitting_changes_a_recipe_that_uses_all_of_it() -> None:
    record, cures_seen = samples.overfitting(), []
    for _ in range(6):
        cure = next(finding.cure for finding in examine(record) if finding.rule == "overfitting")
        assert cure is not None
        changed = recipes.parse(recipes.to_toml(record.recipe), "sample", shlex.split(cure)[1::2])
        assert identity.digest(changed) != identity.digest(record.recipe)
        record, cures_seen = replace(record, recipe=changed), [*cures_seen, cure]
        falling = tuple(replace(row, validation_accuracy=0.8 - 0.01 * row.epoch) for row in record.history)
        record = replace(record, history=falling)  # with smoothed labels accuracy has to fall, too
    assert cures_seen[-1].startswith("--set optim.weight_decay=")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0.001, 50)), min_size=1, max_size=12))
def test_no_history_breaks_a_rule(losses: list[float | None]) -> None:
    rows = tuple(replace(r, validation_loss=v) for r, v in zip(samples.history(len(losses)), losses, strict=True))
    found = examine(replace(samples.healthy(), history=rows, best_epoch=len(rows)))
    assert found == examine(replace(samples.healthy(), history=rows, best_epoch=len(rows)))
    doubted = bool({"no-validation", "unstable", "few-epochs"} & {finding.rule for finding in found})
    assert found[0].level in (("note", "warning") if len(losses) < 3 or doubted else ("good", "warning"))


def test_augmentation_at_test_time_that_does_harm_is_named() -> None:
    record = samples.healthy()
    assert record.validation is not None and record.test is not None
    worse, as_good = (replace(record.validation, accuracy=record.validation.accuracy - loss) for loss in (0.045, 0.005))
    assert seen(replace(record, validation_tta=worse))["augmented-test"] == "warning"
    assert "4.5 points fewer than without" in text_of(replace(record, validation_tta=worse), "augmented-test")
    assert "augmented-test" not in seen(replace(record, validation_tta=as_good))
    tested = replace(record, test_tta=replace(record.test, accuracy=record.test.accuracy - 0.045))
    assert "augmented-test" in seen(tested)
    for lost, speaks in ((4, False), (5, True)):  # of 100 images, more than a point, but four are chance
        few = replace(record.validation, n=100, accuracy=0.9)
        held_out = replace(record, validation=few, validation_tta=replace(few, accuracy=0.9 - lost / 100))
        assert ("augmented-test" in seen(held_out)) == speaks


ODD = st.one_of(st.floats(0, 50), st.sampled_from([0.0, 1e-300, 1e30, float("nan"), float("inf")]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(ODD, ODD, st.floats(0, 1), st.floats(0, 1)), min_size=0, max_size=14),
    st.sampled_from(["finished", "diverged", "interrupted"]),
    st.lists(st.tuples(st.sampled_from(["relu", "sigmoid"]), st.floats(0, 1)), max_size=5),
    st.integers(2, 12),
)
def test_no_record_breaks_a_rule_or_its_picture(
    rows: list[tuple[float, float, float, float]], status: str, layers: list[tuple[str, float]], classes: int
) -> None:
    record = samples.sized(classes, max(1, len(rows)))
    history = tuple(
        replace(row, train_loss=loss, validation_loss=other, train_accuracy=share, learning_rate=rate)
        for row, (loss, other, share, rate) in zip(samples.history(max(1, len(rows))), rows, strict=False)
    )
    activations = tuple(
        ActivationRow(name=f"layer{i}", kind=kind, idle=share, saturated=share)  # type: ignore[arg-type]
        for i, (kind, share) in enumerate(layers)
    )
    record = replace(record, status=status, history=history, activations=activations, best_epoch=len(history) or None)  # type: ignore[arg-type]
    found = examine(record)
    rules = [finding.rule for finding in found]
    assert len(rules) == len(set(rules))
    for finding in found:
        assert finding.threshold and finding.citation and "nan" not in finding.threshold
        assert from_json(to_json(finding), Finding, "it") == finding
        if finding.evidence is not None:
            evidence.draw(finding.evidence)


def test_a_loss_that_ends_worse_than_guessing_diverged_and_speaks_alone() -> None:
    record = samples.healthy()
    lost = [2.0, 1.5, 1.2, 1.6, 2.4, 2.31, 2.31, 2.31]
    rows = tuple(
        replace(row, train_loss=loss, validation_loss=loss, learning_rate=0.1)
        for row, loss in zip(samples.history(8), lost, strict=True)
    )
    found = seen(replace(record, history=rows, best_epoch=3))
    assert found["diverged"] == "warning"
    assert "what was learnt is lost" in text_of(replace(record, history=rows, best_epoch=3), "diverged")
    assert not {"overfitting", "validation-diverges", "stuck", "calibration", "sound"} & set(found)


def test_dead_units_are_a_warning_only_where_training_went_badly() -> None:
    record = samples.healthy()
    dead = replace(record, activations=(ActivationRow(name="head.relu1", kind="relu", idle=0.95, saturated=0.0),))
    assert seen(dead)["dead-relus"] == "note" and "sound" in seen(dead)
    rows = tuple(replace(row, train_loss=2.3 + 0.01 * (row.epoch % 2)) for row in record.history)
    assert seen(replace(dead, history=rows))["dead-relus"] == "warning"
    assert "stuck" not in seen(replace(dead, history=rows))
    assert "stuck" in seen(replace(record, history=rows))


def test_a_small_validation_set_says_how_many_images_a_claim_would_take() -> None:
    record = replace(samples.claimed(), changed=())
    assert record.validation is not None
    text = text_of(record, "small-validation")
    assert "About 5,500 images would measure it to within a point." in text
    assert re.search(r"The recipe claims 8\d\.\d %, \d+\.\d points away: it would take about [\d,]+ images", text)
    assert "claims" not in text_of(replace(record, changed=("optim.lr",)), "small-validation")


def test_more_than_one_pair_is_named() -> None:
    record = samples.healthy()
    assert record.test is not None
    table = [list(row) for row in record.test.confusion]
    table[3][5], table[9][1] = 250, 240
    pairs = replace(record, test=replace(record.test, confusion=tuple(map(tuple, table))))
    assert "Next: automobile and truck (2" in text_of(pairs, "confused-pair")


def test_a_harmless_cut_hides_no_harmful_one_behind_it() -> None:
    """A rate that is cut while the loss goes on falling, and once more, to where nothing moves."""
    losses = [2.3 * 0.9 ** min(epoch, 10) for epoch in range(20)]  # falls by a tenth an epoch, and stands from 10 on
    rates = [0.1] * 3 + [0.03] * 7 + [0.0001] * 10
    rows = tuple(
        replace(row, train_loss=loss, validation_loss=loss + 0.05, learning_rate=rate)
        for row, loss, rate in zip(samples.history(20), losses, rates, strict=True)
    )
    record = replace(samples.healthy(), history=rows, best_epoch=20)
    assert early_decay(record) is not None
    assert "In epoch 11 the learning rate is cut from 0.03 to 0.0001." in text_of(record, "early-decay")
    flat = tuple(replace(row, train_loss=max(row.train_loss, 2.2)) for row in rows)  # nothing fell before either cut
    assert early_decay(replace(record, history=flat)) is None


def test_a_handful_of_images_shows_neither_guessing_nor_overfitting() -> None:
    record = at_guessing(2, 0.8, 20)
    few = replace(samples.result(2, 10, 0.8), n=10, accuracy=0.8, accuracy_interval=samples.wilson(0.8, 10))
    many = replace(samples.result(2, 244, 0.82), accuracy_interval=samples.wilson(0.82, 244))
    record = replace(record, train=many, validation=few, test=None)
    assert guessing(record) is None
    assert guessing(replace(record, train=replace(many, accuracy_interval=(0.45, 0.6)))) is not None
    unknown = replace(few, accuracy=0.4, accuracy_interval=samples.wilson(0.4, 10))
    assert guessing(replace(record, validation=unknown)) is not None


def test_the_fewer_images_the_larger_a_rise_has_to_be() -> None:
    record = with_losses(samples.overfitting(), [1.2, 0.9, 0.7, 0.6, 0.7, 0.71, 0.72, 0.73])
    assert "overfitting" in seen(record)
    for images, named in ((30, True), (10, False)):
        counts = {**record.data.counts, "validation": (images,)}
        assert ("overfitting" in seen(replace(record, data=replace(record.data, counts=counts)))) == named


def test_a_rate_far_below_the_usual_one_is_named_though_its_schedule_falls() -> None:
    record = at_guessing(2, 0.6, 24)
    rows = tuple(
        replace(row, train_loss=0.71 - 0.003 * i, train_accuracy=0.6, learning_rate=3e-5 * (1 - i / 25))
        for i, row in enumerate(record.history)
    )
    optim = AdamW(lr=3e-5)
    record = replace(record, history=rows, recipe=replace(record.recipe, optim=optim), test=samples.result(2, 400, 0.6))
    assert "rate-too-small" in seen(record)
    usual = tuple(replace(row, learning_rate=10 * row.learning_rate) for row in rows)
    assert "rate-too-small" not in seen(replace(record, history=usual))


def test_an_absurd_rate_is_named_where_training_stays_poor() -> None:
    record = replace(at_guessing(10, 0.34, 8), test=samples.result(10, 1000, 0.34))
    rows = tuple(replace(row, train_loss=2.1 - 0.03 * i) for i, row in enumerate(record.history))
    record = replace(record, history=rows, recipe=replace(record.recipe, optim=SGD(lr=3.0)))
    found = examine(record)
    assert found[0].rule == "rate-too-large" and found[0].cure == "--set optim.lr=0.01"
    usual = replace(record, recipe=replace(record.recipe, optim=SGD(lr=0.3)))
    assert "rate-too-large" not in seen(usual)


def test_a_net_that_only_says_the_large_class_has_learnt_nothing_and_imbalance_says_why() -> None:
    record = samples.sized(2, 20)
    counts = {**record.data.counts, "train": (120, 6)}
    rows = tuple(replace(row, train_accuracy=0.95) for row in record.history)
    table = ((70, 0), (83, 0))
    test = replace(
        samples.result(2, 153, 0.5), n=153, accuracy=70 / 153, accuracy_interval=samples.wilson(70 / 153, 153),
        confusion=table, recall=(1.0, 0.0),
    )  # fmt: skip
    record = replace(record, data=replace(record.data, counts=counts), history=rows, test=test, validation=test)
    found = examine(record)
    assert found[0].rule == "imbalance" and found[0].cure == "--set data.balance=sampling"
    assert not {"parts-mismatch", "guessing"} & {one.rule for one in found}
