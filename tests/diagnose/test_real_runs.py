"""Each rule on a real training that was made to show its fault, and all of them on trainings that were made well.

`make test` reads the records of these trainings, which `make_faulty_records.py` keeps, and makes a few of them live;
`make test-all` makes all of them live, too.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import faults
import faulty_records
import pytest
import torch
from conftest import draw_photos
from faults import PLAIN, SGD, STEADY, layers, of_folder
from msgspec.structs import replace

from rungs.diagnose import examine
from rungs.diagnose.configuration import double_softmax
from rungs.diagnose.scores import CALIBRATION, CALIBRATION_IMAGES
from rungs.recipe import toml as recipes
from rungs.report import evidence
from rungs.run.record import Finding, RunRecord
from rungs.run.rerun import command
from rungs.training import feed
from rungs.training import train as training_train
from rungs.training.setup import Setup

ONE_CHANNEL = 'model={name="plain",stages=[[1],[1],[1]],batch_norm=true}'
STEM = 'model={name="resnet18",stem="imagenet",width=8}'
SPEEDRUN = "model={name='speedrun',widths=[8,16,16]"
LATE = 'schedule={name="step",milestones=[26],gamma=0.1}'
EARLY = 'schedule={name="step",milestones=[1],gamma=0.01}'

FAULTS: dict[str, tuple[tuple[str, ...], str]] = {
    "diverged": ((layers(1, "none"), 'optim={name="adamw",lr=3.0}', STEADY, "data.train=300"), "warning"),
    "dead-relus": ((PLAIN, "optim.lr=0.5", STEADY, "training.epochs=4"), "warning"),
    "saturated-sigmoids": (
        (layers(2), 'optim={name="sgd",lr=1.0,momentum=0.9}', STEADY, "training.epochs=4", "data.train=500"),
        "warning",
    ),
    "vanishing-gradients": (
        (layers(5), 'optim={name="sgd",lr=0.01}', STEADY, "training.epochs=4", "data.train=500"),
        "warning",
    ),
    "rate-too-small": (("optim.lr=0.00003", STEADY), "warning"),
    "stuck": (
        (PLAIN, 'optim={name="sgd",lr=1.0,weight_decay=0.1}', "training.clip_norm=1.0", STEADY, "training.epochs=6"),
        "warning",
    ),
    "few-steps": (("data.train=400", "training.batch_size=400", SGD, PLAIN, STEADY), "warning"),
    "double-softmax": (("training.loss=softmax-cross-entropy",), "warning"),
    "momentum": (("optim={name='sgd',lr=0.05,momentum=0.999}",), "warning"),
    "regularised": (("model.dropout=[0.9]", SGD), "warning"),
    "strong-augmentation": (("augment.train=[{name='crop',padding=8}]", SGD), "warning"),
    "long-warm-up": (("schedule={name='cosine',warmup_epochs=40}",), "warning"),
    "large-eps": (("optim={name='adam',lr=0.004,eps=10.0}",), "warning"),
    "mirrored-symbols": (("augment.train=[{name='flip'}]",), "warning"),
    "too-few-to-tell": (("data.validation=20",), "note"),
    "guessing": (("training.epochs=1", "optim.lr=0.000001", "data.test=40"), "warning"),
    "overfitting": (
        (PLAIN, "optim.lr=0.01", STEADY, "data.train=50", "training.epochs=60", "training.batch_size=20"),
        "warning",
    ),
    "underfitting": ((ONE_CHANNEL, LATE, "training.epochs=30", "optim.lr=0.03"), "warning"),
    "early-decay": (('optim={name="sgd",lr=0.02,momentum=0.9}', EARLY, "training.epochs=10"), "warning"),
    "unfinished": (('optim={name="sgd",lr=0.005,momentum=0.9}', STEADY, "training.epochs=4"), "warning"),
    "evaluation-mode": (("training.ema_decay=0.999",), "warning"),
    "large-stem": (
        (STEM, "data.image_size=16", "training.epochs=3", "data.train=400", "training.batch_size=20"),
        "warning",
    ),
    "gap": (("data.train=60", "training.batch_size=10"), "note"),
    "no-validation": (("data.validation=0", "training.epochs=4"), "note"),
    "small-validation": (("data.validation=100",), "note"),
    "augmented-test": (("evaluation.tta=mirror",), "warning"),
    "test-selection": (("evaluation.watch_test=true", "training.epochs=4"), "note"),
    "few-epochs": (("training.epochs=2", "optim.lr=0.01", SGD), "note"),
}
"""By the rule: what is changed in the good recipe, and how loudly the rule has to speak."""

LIVE = ("dead-relus", "few-steps", "double-softmax", "guessing", "no-validation", "evaluation-mode")
"""They are trained in `make test`, too: the cheapest."""

GOOD: dict[str, tuple[str, ...]] = {
    "adamw": (),
    "sgd": (SGD,),
    "cosine": (SGD, "schedule.name=cosine", "training.epochs=12"),
    "late steps": (SGD, 'schedule={name="step",milestones=[7],gamma=0.1}', "training.epochs=10"),
    "without BatchNorm": (PLAIN, "training.epochs=12"),
    "sigmoid": (layers(1), 'optim={name="adamw",lr=0.02}', "training.epochs=12"),
    "smoothed": ("training.label_smoothing=0.1",),
    "smoothed by 0.3": ("training.label_smoothing=0.3", SGD, "schedule.name=cosine", "training.epochs=12"),
    "mixup": ("augment.train=[{name='mixup',alpha=1.0}]", "training.epochs=16"),
    "cutmix": ("augment.train=[{name='cutmix',alpha=1.0}]", "training.epochs=24"),
    "all of them": (
        "augment.train=[{name='crop',padding=1},{name='mixup',alpha=0.8,p=0.5},{name='cutmix',alpha=1.0,p=0.5}]",
        "training.label_smoothing=0.1",
        "training.epochs=24",
    ),
    "averaged weights": ("training.ema_decay=0.95", "schedule.name=cosine", "training.epochs=16"),
    "plateau": (SGD, 'schedule={name="plateau",patience=1,factor=0.3}', "training.epochs=20"),
    "dropout": ("model.dropout=[0.5]", "model.feature_dropout=0.2", "training.epochs=20"),
    "large batches": ("training.batch_size=200", "optim.lr=0.02", "training.epochs=12"),
    "600 test images": ("data.train=800", "data.test=600"),
    "small stem": (
        'model={name="resnet18",stem="cifar",width=4}',
        "training.epochs=4",
        "optim.lr=0.01",
        "data.train=1200",
    ),
}
"""Trainings that went well, in ways that come near to a fault.

All of these have room: another seed, or the rounding of another chip, may not turn the outcome.
"""

Train = Callable[..., RunRecord]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Train the good recipe with overrides, each once."""

    def once(*overrides: str) -> RunRecord:
        return faults.train(tmp_path_factory.mktemp("run") / "it", *overrides)[0]

    return cache(once)


@pytest.fixture(scope="module", params=["kept", pytest.param("live", marks=pytest.mark.dear)])
def train(request: pytest.FixtureRequest, live: Train) -> Iterator[Train]:
    """Give the record of the good recipe with overrides: as it was kept, and trained here."""
    if request.param == "kept":
        kept = faulty_records.read()
        yield lambda *overrides: kept[faulty_records.key(overrides)]
        return
    made: dict[str, RunRecord] = {}

    def watched(*overrides: str) -> RunRecord:
        return made.setdefault(faulty_records.key(overrides), live(*overrides))

    yield watched
    if faulty_records.KEEP in os.environ:
        faulty_records.write(made)


def seen(record: RunRecord) -> dict[str, Finding]:
    return {finding.rule: finding for finding in examine(record)}


@pytest.mark.parametrize("rule", LIVE)
def test_some_faults_are_made_here_each_time(rule: str, live: Train) -> None:
    require_found(rule, live)


@pytest.mark.parametrize("rule", FAULTS)
def test_a_run_made_to_show_a_fault_shows_it_with_all_that_belongs_to_a_finding(rule: str, train: Train) -> None:
    require_found(rule, train)


def require_found(rule: str, train: Train) -> None:
    overrides, level = FAULTS[rule]
    record = train(*overrides)
    found = seen(record)
    assert rule in found, f"{sorted(found)}"
    assert found[rule].level == level
    if level == "warning":
        assert [name for name, one in found.items() if one.level == "warning"] == [rule]  # one fault, one finding
        assert "sound" not in found
    for finding in found.values():
        assert finding.threshold and finding.citation and finding.evidence is not None, finding.rule
        evidence.draw(finding.evidence)
        if finding.cure is not None and finding.cure.startswith("--set"):
            words = shlex.split(command(record, finding.cure, "runs/it"))
            assert words[:3] == ["rungs", "train", "runs/it/recipe.toml"]
            recipes.parse(recipes.to_toml(record.recipe), "it", words[4::2])


@pytest.mark.parametrize("name", GOOD)
def test_a_good_run_is_called_good_and_nothing_warns(name: str, train: Train) -> None:
    found = seen(train(*GOOD[name]))
    assert "sound" in found, f"{ {rule: one.text for rule, one in found.items()} }"
    assert set(found) <= {"sound", "small-validation", "few-images"}


def test_the_good_runs_are_those_that_rules_could_have_spoken_of(train: Train) -> None:
    many, stem = train(*GOOD["600 test images"]).test, train(*GOOD["small stem"])
    assert many is not None and many.n >= CALIBRATION_IMAGES and many.calibration_error < CALIBRATION
    assert stem.model.name == "resnet18"


def test_mirrored_views_of_what_may_be_mirrored_do_no_harm(train: Train, tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    draw_photos(root / "train", per_class=60, seed=0)
    draw_photos(root / "test", per_class=40, seed=1)
    mirrored = (
        f'data.source="folder:{root}"', "data.train=none", "data.image_size=16", "data.validation=0.25",
        "augment.train=[{name='flip'}]", "evaluation.tta=mirror", "training.batch_size=20", "training.epochs=12",
    )  # fmt: skip
    for seed in range(2):  # a few images more or fewer are chance
        record = train(*mirrored, "optim.lr=0.01", f"seed={seed}")
        assert record.validation_tta is not None
        assert "augmented-test" not in seen(record)
        assert not [one for one in examine(record) if one.level == "warning"]


def test_the_cure_that_a_fault_is_offered_changes_the_thing_that_was_broken(train: Train) -> None:
    for rule, cure in {
        "diverged": "--set optim.lr=0.001",
        "dead-relus": "--set optim.lr=0.05",
        "rate-too-small": "--set optim.lr=0.0003",
        "stuck": "--set optim.lr=0.1",
        "few-steps": "--set training.batch_size=50",
        "double-softmax": "--set training.loss=cross-entropy",
        "underfitting": "--set model.stages='[[2], [2], [2]]'",
        "early-decay": "--set schedule.milestones='[7.0]'",
        "unfinished": "--set training.epochs=8",
        "saturated-sigmoids": "--set model.convs.0.activation=relu --set model.convs.1.activation=relu",
        "test-selection": "--set evaluation.watch_test=false",
    }.items():
        assert seen(train(*FAULTS[rule][0]))[rule].cure == cure


def test_a_second_softmax_is_told_by_the_losses_alone(train: Train, tmp_path: Path) -> None:
    ten = train(*FAULTS["double-softmax"][0])
    root = faults.digits(tmp_path / "two", classes=2, per_class=100)
    sized = (*of_folder(root, validation=40, test=40), "training.batch_size=20")
    two, right = train(*sized, "training.loss=softmax-cross-entropy"), train(*sized)
    for record, floor in ((ten, "1.461"), (two, "0.313")):
        spec = record.recipe
        unsaid = replace(record, recipe=replace(spec, training=replace(spec.training, loss="cross-entropy")))
        finding = double_softmax(unsaid)
        assert finding is not None and finding.cure is None
        assert floor in finding.text
    assert double_softmax(right) is None
    for overrides in (*GOOD.values(), FAULTS["rate-too-small"][0], FAULTS["unfinished"][0], FAULTS["early-decay"][0]):
        assert double_softmax(train(*overrides)) is None  # they pass 1.461, or lie near it


def test_labels_that_are_wrong_make_validation_diverge_and_the_net_too_sure(train: Train, tmp_path: Path) -> None:
    root = faults.digits(tmp_path / "noisy", per_class=90, wrong=0.4)
    noisy = train(
        *of_folder(root, validation=200, test=500), STEADY, "optim.lr=0.005", "training.epochs=20",
        "training.batch_size=20",
    )  # fmt: skip
    found = seen(noisy)
    assert found["validation-diverges"].level == "warning"
    assert "overfitting" not in found and "gap" not in found
    assert next(iter(found)) == "label-noise"  # the cause comes first
    last = seen(
        train(
            *of_folder(root, validation=0, test=500), STEADY, "optim.lr=0.005", "training.epochs=16",
            "training.batch_size=20",
        )  # nothing chose an earlier epoch
    )  # fmt: skip
    assert last["calibration"].title == "Overconfident"
    assert last["calibration"].cure == "--set training.label_smoothing=0.1"


UNNORMALISED = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, *, image_size, classes):
        maps = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        super().__init__(maps, nn.Linear(16 * (image_size // 2) ** 2, classes))

    def forward(self, x):
        if self.training:  # the fault: evaluation leaves it out
            x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
        else:
            x = 0.2 * x + 3.0
        return super().forward(x)
"""


def test_each_cause_of_a_poor_evaluation_is_told_from_the_others(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(UNNORMALISED)
    monkeypatch.chdir(tmp_path)
    for overrides, words, cure in (
        (FAULTS["evaluation-mode"][0], "an average of the weights", "--set training.ema_decay=0.92"),
        ((f"{SPEEDRUN},norm_memory=0.999}}",), "have not settled", "--set model.norm_memory=0.9"),
        (("model={name='net.py:Net'}",), "Look in your net", None),
    ):
        found = seen(train(*overrides))
        assert words in found["evaluation-mode"].text, overrides
        assert found["evaluation-mode"].cure == cure
        assert [rule for rule, one in found.items() if one.level == "warning"] == ["evaluation-mode"]
    assert "evaluation-mode" not in seen(train(f"{SPEEDRUN}}}"))


def test_a_test_part_in_another_order_is_told_from_a_net_that_learnt_nothing(train: Train, tmp_path: Path) -> None:
    orders = {"shuffled": (3, 7, 0, 9, 1, 2, 8, 4, 5, 6), "exchanged": (0, 1, 2, 8, 4, 5, 6, 7, 3, 9)}
    for (name, order), words in zip(orders.items(), ("'0' is taken for '2'", "'3' is taken for '8'"), strict=True):
        root = faults.in_parts(tmp_path / name, order)
        found = examine(train(*of_folder(root, validation=120, test=0)))
        assert found[0].rule == "parts-mismatch"
        assert words in found[0].text
        assert [one.rule for one in found if one.level == "warning"] == ["parts-mismatch"]
    right = faults.in_parts(tmp_path / "right", range(10))
    assert not {"parts-mismatch", "other-test", "guessing"} & set(
        seen(train(*of_folder(right, validation=120, test=0)))
    )


def test_a_rare_class_copies_and_broken_files(train: Train, tmp_path: Path) -> None:
    rare = faults.digits(tmp_path / "rare", classes=3, per_class=60, rare=8)
    shares = ("data.validation=0.2", "data.test=0.2", "data.train=none", "data.image_size=8", "training.epochs=4")
    found = seen(train(f'data.source="folder:{rare}"', *shares))
    assert "'2' has 6 training images" in found["imbalance"].text
    copied = faults.digits(tmp_path / "copied", classes=3, per_class=40, twice=20)
    torn = seen(train(f'data.source="folder:{copied}"', "data.groups.name=none", *shares))
    assert torn["leak"].level == "warning"
    assert "leak" not in seen(train(f'data.source="folder:{copied}"', *shares))  # copies stay in one part
    assert not {"leak", "imbalance", "skipped"} & set(seen(train()))
    (copied / "0" / "broken.png").write_bytes(b"no picture")
    record, _ = faults.train(tmp_path / "run", f'data.source="folder:{copied}"', *shares, skip_unreadable=True)
    assert "broken.png" in seen(record)["skipped"].text


def test_a_run_that_was_stopped_says_how_to_go_on_and_that_command_does(tmp_path: Path) -> None:
    record, _ = faults.train(tmp_path / "run", "training.epochs=3", "data.train=200", stop_after=1)
    finding = seen(record)["interrupted"]
    assert finding.cure is not None
    run = tmp_path / "run"
    assert command(record, finding.cure, str(run)) == f"rungs train {run}/recipe.toml --out {run} --resume"
    whole = training_train.train(f"{run}/recipe.toml", folder=run, resume=True)
    assert whole.status == "finished" and len(whole.history) == 3
    assert "interrupted" not in seen(whole)


def test_images_that_come_class_after_class_are_named_before_all_that_follows_from_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = feed.training_batches
    labels: list[torch.Tensor] = []

    def watched(setup: Setup, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        labels[:] = [setup.parts.train.labels]
        return kept(setup, epoch)

    monkeypatch.setattr(feed, "training_batches", watched)
    monkeypatch.setattr(feed, "order", lambda n, seed, epoch: labels[0].argsort(stable=True))
    for normalised in ("true", "false"):
        record, _ = faults.train(tmp_path / normalised, SGD, f"model.batch_norm={normalised}", "training.epochs=4")
        found = examine(record)
        assert found[0].rule == "unshuffled" and found[0].level == "warning"
        assert [one.rule for one in found if one.level == "warning"] == ["unshuffled"]
        assert found[0].evidence is not None
        evidence.draw(found[0].evidence)


def test_restless_epochs_and_a_mixed_up_pair(train: Train) -> None:
    hot = ('optim={name="sgd",lr=0.1,momentum=0.9}', "training.epochs=20", "model.hidden=[]", "training.batch_size=10")
    tries = (seen(train(*hot, STEADY, f"seed={seed}")) for seed in range(4))  # where it jumps is chance
    restless = next((found for found in tries if "unstable" in found), None)
    assert restless is not None, "in none of four seeds it jumped twice"
    assert restless["unstable"].level == "note" and "sound" not in restless
    assert "unfinished" not in restless
    small = seen(train('model={name="plain",stages=[[2],[2]],batch_norm=true}', "data.test=600", "data.validation=100"))
    assert "mistakes" in small["confused-pair"].text


@pytest.mark.needs_cifar
def test_a_good_small_run_on_cifar_is_not_warned_of(train: Train) -> None:
    spec = (
        "data.source=cifar10", "data.train=3000", "data.validation=1000", "training.epochs=4",
        'augment.train=[{name="flip"}]', "evaluation.score_train=false", "evaluation.score_test=false",
    )  # fmt: skip
    assert set(seen(train(*spec))) == {"sound", "small-validation", "confused-pair"}
