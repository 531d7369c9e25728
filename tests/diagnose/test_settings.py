"""Rules about settings, labels and data that keep a net from learning: on records made up for each."""

from __future__ import annotations

import math

import numpy as np
import pytest
import samples
from msgspec.structs import replace
from setting_samples import changed, poor, seen, with_optim

from rungs.diagnose import examine
from rungs.diagnose.order import unshuffled
from rungs.recipe.augments import Crop, Cutout, Flip, ResizedCrop, Rotate
from rungs.recipe.models import Plain
from rungs.recipe.optimizers import SGD, Adam, AdamW, AnyOptimizer, Cosine
from rungs.recipe.own import Own
from rungs.run.record import EvalResult, LayerRow, RunRecord

# --- regularisation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optim", "cure"),
    [
        (SGD(lr=0.05, momentum=0.9, weight_decay=0.1), "0.0005"),
        (SGD(lr=0.02, weight_decay=0.1), "0.0005"),
        (AdamW(lr=0.003, weight_decay=5.0), "0.01"),
        (Adam(lr=0.001, weight_decay=0.1), "0.0005"),
    ],
)
def test_strong_weight_decay_is_named_before_all_that_it_causes(optim: AnyOptimizer, cure: str) -> None:
    found = examine(with_optim(poor(), optim))
    assert found[0].rule == "regularised" and found[0].level == "warning"
    assert found[0].cure == f"--set optim.weight_decay={cure}"
    assert "underfitting" not in {one.rule for one in found}
    gone_well = seen(with_optim(samples.healthy(), optim))
    assert gone_well["regularised"].level == "note" and gone_well["sound"].level == "good"


@pytest.mark.parametrize(
    "optim",
    [
        SGD(lr=0.1, momentum=0.9, weight_decay=0.0005),
        SGD(lr=0.0001, weight_decay=0.1),  # takes a hundred-thousandth of a weight a step
        AdamW(lr=0.001, weight_decay=0.1),
        Adam(lr=0.001, weight_decay=0.0005),
    ],
)
def test_usual_weight_decay_is_not_blamed(optim: AnyOptimizer) -> None:
    assert "regularised" not in seen(with_optim(poor(), optim))


def test_strong_weight_decay_of_a_linear_probe_is_usual() -> None:
    strong = with_optim(poor(), SGD(lr=0.01, momentum=0.9, weight_decay=0.4))
    assert "regularised" in seen(strong)
    assert "regularised" not in seen(changed(strong, "training", freeze="backbone"))
    assert "regularised" in seen(changed(strong, "training", freeze="backbone", unfreeze_epochs=(1,)))
    assert "regularised" in seen(changed(strong, "training", freeze=1))


@pytest.mark.parametrize(("epochs", "steps"), [(6, 7), (1, 160)])
def test_weight_decay_of_a_short_fine_tuning_does_not_pull_far(epochs: int, steps: int) -> None:
    record = with_optim(poor(), SGD(lr=0.003, momentum=0.9, weight_decay=0.1))  # 0.3 % a step
    assert "regularised" in seen(record)
    rows = tuple(replace(row, step=row.epoch * steps) for row in record.history[:epochs])
    assert "regularised" not in seen(replace(record, history=rows))
    rows = (*rows, replace(record.history[epochs], step=170))  # half of a weight, after 167 steps
    assert "regularised" in seen(replace(record, history=rows))


def test_windows_of_eight_percent_of_an_image_are_usual() -> None:
    assert "strong-augmentation" not in seen(changed(poor(), "augment", train=(ResizedCrop(area=0.08),)))


def test_dropout_of_half_in_two_layers_is_usual_and_in_four_too_much() -> None:
    record = poor(0.19, 2.1)
    for many, named in ((1, False), (3, True)):
        net = Plain(stages=((8,),), hidden=(16,) * many, dropout=(0.5,) * many, feature_dropout=0.5)
        found = seen(replace(record, recipe=replace(record.recipe, model=net)))
        assert ("regularised" in found) == named
    cure = "--set model.dropout='[0.2, 0.2, 0.2]' --set model.feature_dropout=0.2"
    assert found["regularised"].cure == cure and "6.2 % of the paths" in found["regularised"].text


def test_dropout_is_read_from_the_recipe_and_from_a_net_of_ones_own() -> None:
    record = poor()
    net = Plain(stages=((8,),), hidden=(16, 16), dropout=(0.1, 0.9), feature_dropout=0.0)
    found = seen(replace(record, recipe=replace(record.recipe, model=net)))["regularised"]
    assert found.cure == "--set model.dropout='[0.1, 0.2]'" and "0.9" in found.title
    own = LayerRow(name="drop", kind="Dropout", detail="p 0.95", output=(8,), parameters=0, flops=0)
    described = replace(record, model=replace(record.model, layers=(*record.model.layers, own)))
    described = replace(described, recipe=replace(record.recipe, model=Own(attribute="Net")))
    assert "0.95" in seen(described)["regularised"].text
    half = replace(own, detail="p 0.5")
    assert "regularised" not in seen(replace(record, model=replace(record.model, layers=(half,))))


def test_clipping_is_blamed_where_it_keeps_the_weights_in_place() -> None:
    sgd = with_optim(poor(0.15, 2.29), SGD(lr=0.05, momentum=0.9))
    rows = tuple(replace(row, learning_rate=0.05, step=40 * row.epoch) for row in sgd.history)
    record = changed(replace(sgd, history=rows), "training", clip_norm=0.001)
    found = examine(record)
    assert found[0].rule == "regularised" and found[0].cure == "--set training.clip_norm=1.0"
    assert "rate-too-small" not in {one.rule for one in found}  # the rate is not to blame
    assert "regularised" not in seen(changed(record, "training", clip_norm=1.0))
    adam = changed(with_optim(record, AdamW(lr=0.003)), "training", clip_norm=0.001)
    assert "regularised" not in seen(adam)  # Adam divides by the size of the gradients


def test_smoothing_is_named_by_what_it_does_to_probabilities_even_where_accuracy_is_high() -> None:
    strong = seen(changed(samples.healthy(), "training", label_smoothing=0.7))
    assert strong["regularised"].level == "warning" and "37 %" in strong["regularised"].text
    assert "sound" not in strong
    assert "regularised" not in seen(changed(samples.healthy(), "training", label_smoothing=0.3))


def test_the_strongest_is_named_first_and_the_others_with_it() -> None:
    record = with_optim(poor(), SGD(lr=0.05, momentum=0.9, weight_decay=1.0))
    net = Plain(stages=((8,),), hidden=(16,), dropout=(0.7,))
    found = seen(replace(record, recipe=replace(record.recipe, model=net)))["regularised"]
    assert "weight decay of 1" in found.title and "dropout of 0.7" in found.text


@pytest.mark.parametrize(
    ("augment", "strong"),
    [
        (Cutout(size=32), "size = 32"),
        (Crop(padding=16), "padding = 16"),
        (ResizedCrop(area=0.02), "area = 0.02"),
        (Rotate(degrees=180.0), "180"),
    ],
)
def test_augmentation_that_hides_the_image_is_named(augment: Crop | Cutout | ResizedCrop | Rotate, strong: str) -> None:
    record = changed(poor(), "augment", train=(Flip(), augment))
    found = seen(record)
    assert found["strong-augmentation"].level == "warning"
    cure = found["strong-augmentation"].cure
    assert cure is not None and "flip" in cure and strong not in cure
    assert "underfitting" not in found
    assert "strong-augmentation" not in seen(changed(samples.healthy(), "augment", train=(Cutout(size=8), Crop())))


# --- momentum -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.98, 0.99, 0.999])
def test_momentum_near_1_comes_before_the_rate(momentum: float) -> None:
    record = with_optim(samples.diverged(), SGD(lr=0.05, momentum=momentum))
    found = examine(record)
    assert found[0].rule == "momentum" and found[0].cure == "--set optim.momentum=0.9"
    assert "diverged" not in {one.rule for one in found}
    assert "momentum" not in seen(with_optim(samples.diverged(), SGD(lr=0.05, momentum=0.95)))


def test_momentum_near_1_is_blamed_for_swings_and_not_where_all_went_well() -> None:
    well = with_optim(samples.healthy(), SGD(lr=0.001, momentum=0.99))
    assert "momentum" not in seen(well)
    short = tuple(replace(row, step=row.epoch * 4) for row in well.history)  # 80 steps, and momentum adds up 100
    assert seen(replace(well, history=short))["momentum"].cure == "--set optim.momentum=0.9"
    rows = list(well.history)
    rows[8] = replace(rows[8], train_loss=1.5 * rows[7].train_loss)
    assert "epoch 9" in seen(replace(well, history=tuple(rows)))["momentum"].text
    single = seen(replace(well, history=(replace(well.history[0], step=1),)))["momentum"]
    assert single.text.endswith("The whole training has 1 step.")
    slow = seen(with_optim(poor(), AdamW(lr=0.001, betas=(0.999, 0.999))))["momentum"]
    assert slow.cure == "--set optim.betas='[0.9, 0.999]'"


# --- order --------------------------------------------------------------------------------------------


def with_rows(record: RunRecord, **fields: object) -> RunRecord:
    return replace(record, history=tuple(replace(row, **fields) for row in record.history))


def test_batches_of_one_class_come_first_and_a_mixed_batch_is_none() -> None:
    record = poor(0.1, 2.31)
    found = examine(with_rows(record, class_share=0.93))
    assert found[0].rule == "unshuffled" and "93 %" in found[0].text
    assert not {"stuck", "guessing", "dead-relus"} & {one.rule for one in found}
    assert "unshuffled" not in seen(with_rows(samples.healthy(), class_share=0.2))
    assert "unshuffled" not in seen(samples.healthy())  # an old record does not know


def test_a_share_is_compared_with_what_chance_gives_in_such_batches() -> None:
    two = samples.sized(2, 8)
    assert unshuffled(with_rows(changed(two, "training", batch_size=4), class_share=0.75)) is None
    assert unshuffled(with_rows(changed(two, "training", batch_size=64), class_share=0.97)) is not None
    uneven = replace(two, data=replace(two.data, counts={**two.data.counts, "train": (900, 100)}))
    assert unshuffled(with_rows(changed(uneven, "training", batch_size=64), class_share=0.9)) is None


def test_batches_of_a_few_classes_at_a_time_are_told_from_shuffled_ones() -> None:
    record = changed(poor(0.23, 2.0), "training", batch_size=64)
    assert "about 18 %" in seen(with_rows(record, class_share=0.26))["unshuffled"].text  # five of ten classes at a time
    assert unshuffled(with_rows(record, class_share=0.172)) is None
    small = replace(record, data=replace(record.data, counts={**record.data.counts, "train": (10,) * 10}))
    assert unshuffled(with_rows(changed(small, "training", batch_size=49), class_share=0.3)) is None  # 49, 49 and 2
    rare = replace(record, data=replace(record.data, counts={**record.data.counts, "train": (6000,) + (100,) * 9}))
    assert unshuffled(with_rows(rare, class_share=0.3)) is None
    assert unshuffled(with_rows(changed(rare, "data", balance="sampling"), class_share=0.3)) is not None


@pytest.mark.parametrize(("classes", "per_class", "batch"), [(10, 240, 64), (2, 120, 16), (2, 9, 4), (50, 30, 32)])
def test_shuffled_batches_are_never_taken_for_sorted_ones(classes: int, per_class: int, batch: int) -> None:
    draw, labels = np.random.default_rng(classes), np.repeat(np.arange(classes), per_class)
    record = samples.sized(classes, 4)
    counts = {**record.data.counts, "train": (per_class,) * classes}
    record = changed(replace(record, data=replace(record.data, counts=counts)), "training", batch_size=batch)
    for _ in range(50):
        rows = []
        for row in record.history:
            mixed = draw.permutation(labels)
            cut = [mixed[i : i + batch] for i in range(0, len(mixed), batch)]
            looked = [cut[len(cut) * (k + 1) // min(10, len(cut)) - 1] for k in range(min(10, len(cut)))]
            share = float(np.mean([np.bincount(one).max() / len(one) for one in looked]))
            rows.append(replace(row, class_share=share))
        assert unshuffled(replace(record, history=tuple(rows))) is None


def test_a_saw_tooth_that_comes_back_is_a_fixed_order_and_noise_is_none() -> None:
    saw = tuple(1.0 + (i % 5) / 4 for i in range(10))
    assert "rises and falls at the same places" in seen(with_rows(samples.healthy(), tenths=saw))["unshuffled"].text
    record = samples.healthy()
    noise = [
        replace(row, tenths=tuple(1.0 + 0.3 * math.sin(7.3 * row.epoch * (i + 1)) for i in range(10)))
        for row in record.history
    ]
    assert unshuffled(replace(record, history=tuple(noise))) is None
    falling = with_rows(record, tenths=tuple(1.0 - 0.05 * i for i in range(10)))
    assert unshuffled(falling) is None


# --- rates and weights ----------------------------------------------------------------------------------


def test_steps_that_threw_the_weights_away_are_named_where_training_did_not_recover() -> None:
    record = poor(0.16, 2.24)
    first = (replace(record.history[0], train_loss=235.0), *record.history[1:])
    found = examine(replace(record, history=first))
    assert found[0].rule == "rate-too-large" and found[0].title == "The first steps were too large"
    assert found[0].cure is not None and found[0].cure.startswith("--set optim.lr=")
    assert not {"sound", "underfitting", "unfinished"} & {one.rule for one in found}
    healthy = samples.healthy()
    recovered = (replace(healthy.history[0], train_loss=235.0), *healthy.history[1:])
    assert "rate-too-large" not in seen(replace(healthy, history=recovered))
    assert "rate-too-large" not in seen(record)


def weighted(result: EvalResult, weights: tuple[float, ...] | str) -> RunRecord:
    record = replace(poor(0.1, 0.3), validation=result, test=None)
    return changed(record, "training", class_weights=weights)


def test_class_weights_that_make_a_class_outweigh_all_others_are_named_with_what_they_did() -> None:
    table = ((80, *[0] * 9),) * 10
    one = replace(samples.result(10, 800, 0.1), n=800, confusion=table, recall=(1.0, *[0.0] * 9))
    found = examine(weighted(one, (200.0, *[1.0] * 9)))
    assert found[0].rule == "class-weights" and found[0].cure == "--set training.class_weights=none"
    assert "200 times" in found[0].text and not {"guessing", "imbalance"} & {each.rule for each in found}
    fair = samples.result(10, 5000, 0.8)
    for result, weights in ((fair, (200.0, *[1.0] * 9)), (one, (3.0, *[1.0] * 9)), (one, "balanced")):
        assert "class-weights" not in seen(weighted(result, weights))
    rare = weighted(one, (1.0, *[20.0] * 9))
    counts = {**rare.data.counts, "train": (4000, *[200] * 9)}
    assert "class-weights" not in seen(replace(rare, data=replace(rare.data, counts=counts)))  # they balance it


# --- pace ---------------------------------------------------------------------------------------------


def test_a_patience_of_an_epoch_stops_too_early() -> None:
    record = samples.healthy()
    stopped = replace(changed(record, "stopping", patience=1), history=record.history[:8], best_epoch=7)
    found = seen(changed(stopped, "training", epochs=40))
    assert found["stopped-early"].cure == "--set stopping.patience=10"
    patient = changed(changed(stopped, "training", epochs=40), "stopping", patience=10)
    assert "stopped-early" not in seen(patient)


def test_a_warm_up_that_takes_most_of_the_training() -> None:
    record = samples.healthy()
    epochs = record.recipe.training.epochs
    long = replace(record, recipe=replace(record.recipe, schedule=Cosine(warmup_epochs=0.8 * epochs)))
    assert seen(long)["long-warm-up"].cure == f"--set schedule.warmup_epochs={0.05 * epochs:g}"
    short = replace(record, recipe=replace(record.recipe, schedule=Cosine(warmup_epochs=0.1 * epochs)))
    assert "long-warm-up" not in seen(short)
    single = changed(replace(long, history=long.history[:1]), "training", epochs=1)
    assert f"warms up for {0.8 * epochs:g} of 1 epoch and" in seen(single)["long-warm-up"].text


def test_a_large_eps_is_named_before_the_rate() -> None:
    found = examine(with_optim(poor(0.2, 2.29), Adam(lr=0.001, eps=1.0)))
    assert found[0].rule == "large-eps" and found[0].cure == "--set optim.eps=1e-8"
    assert "large-eps" not in seen(with_optim(poor(0.2, 2.29), Adam(lr=0.001, eps=1e-4)))
