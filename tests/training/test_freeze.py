"""Fine-tuning: what is frozen stays, what is unfrozen begins to learn when the recipe says so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from resumed import require_equal, without_times
from small import run, small

from rungs.errors import UserError
from rungs.models.stages import parameters_of, stages
from rungs.recipe.shorten import stretched
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.training import checkpoint
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.freezing import frozen_stages
from rungs.training.loop import train_epochs
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble

RESNET = ("model.name=resnet18", "model.width=4", "optim.momentum=0.9", "optim.lr=0.05", "data.train=200")
"""Six stages: the stem, four stages of blocks, the head."""
AUGMENTED = ("augment.train=[{name='crop', padding=1}]",)


def recipe_of(*overrides: str) -> Recipe:
    return small(*RESNET, *AUGMENTED, *overrides)


def setup_of(recipe: Recipe) -> Setup:
    resolved, dataset = load_dataset(recipe, False)
    return assemble(resolved, dataset, World(0, 1, torch.device("cpu")))


def states(setup: Setup) -> Iterator[list[dict[str, torch.Tensor]]]:
    """Yield the states of all stages before training and after each epoch."""

    def now() -> list[dict[str, torch.Tensor]]:
        return [
            {
                f"{i}.{name}": value.clone()
                for i, module in enumerate(stage)
                for name, value in module.state_dict().items()
            }
            for stage in stages(setup.model)
        ]

    yield now()
    for _ in train_epochs(setup, [], Screen()):
        yield now()


def changed(before: list[dict[str, torch.Tensor]], after: list[dict[str, torch.Tensor]]) -> list[bool]:
    """Return of each stage whether a bit of its weights or buffers changed."""
    return [any(not torch.equal(one[k], two[k]) for k in one) for one, two in zip(before, after, strict=True)]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop", "muon"])
@pytest.mark.parametrize("freeze", ["2", "backbone"])
def test_frozen_stages_do_not_change_by_a_bit(freeze: str, optimizer: str) -> None:
    recipe = recipe_of(
        f"training.freeze={freeze}", f"optim.name={optimizer}", "optim.weight_decay=0.1", "training.epochs=2"
    )
    first, *_, last = states(setup_of(recipe))
    frozen = 2 if freeze == "2" else 5
    assert changed(first, last) == [False] * frozen + [True] * (6 - frozen)


def test_the_average_of_frozen_weights_does_not_change_either() -> None:
    setup = setup_of(recipe_of("training.freeze=backbone", "training.epochs=2"))
    assert setup.ema is not None
    before = {name: value.clone() for name, value in setup.scored_net.state_dict().items() if "fc" not in name}
    for _ in train_epochs(setup, [], Screen()):
        pass
    after = setup.scored_net.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_frozen_norms_keep_their_statistics_and_learn_their_scales() -> None:
    setup = setup_of(recipe_of("training.frozen_norms=true", "training.epochs=1"))
    first, last = states(setup)
    for before, after in zip(first, last, strict=True):
        for name, value in before.items():
            assert torch.equal(value, after[name]) == ("running" in name or "num_batches" in name), name


def test_norms_learn_their_statistics_otherwise() -> None:
    first, last = states(setup_of(recipe_of("training.epochs=1")))
    assert not torch.equal(first[1]["0.0.bn1.running_mean"], last[1]["0.0.bn1.running_mean"])


def test_a_stage_begins_to_learn_after_its_epoch() -> None:
    recipe = recipe_of("training.freeze=backbone", "training.unfreeze_epochs=[1, 1, 3]", "training.epochs=4")
    seen = list(states(setup_of(recipe)))
    learning = [changed(before, after).index(True) for before, after in pairwise(seen)]
    assert learning == [5, 3, 3, 2]


def test_how_many_stages_are_frozen_is_a_function_of_the_epoch() -> None:
    training = recipe_of("training.freeze=3", "training.unfreeze_epochs=[2, 3]").training
    assert [frozen_stages(training, 6, epoch) for epoch in range(5)] == [3, 3, 2, 1, 1]


def test_weights_that_a_net_fixes_itself_stay_fixed() -> None:
    recipe = small("model.name=speedrun", "model.widths=[8, 12, 12]", "data.image_size=12", "optim.lr=0.01",
                   "training.freeze=2", "training.unfreeze_epochs=[1, 1]", "training.epochs=2")  # fmt: skip
    setup = setup_of(recipe)
    for _ in train_epochs(setup, [], Screen()):
        pass
    assert not setup.model.net.whiten.weight.requires_grad
    assert setup.model.net.whiten.bias.requires_grad


def test_recordings_are_forgotten_when_other_weights_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten = []
    monkeypatch.setattr("rungs.training.step.Stepper.forget", lambda self: forgotten.append(True))
    for epochs, times in (("[]", 0), ("[1, 1, 3]", 2)):
        forgotten.clear()
        recipe = recipe_of("training.freeze=backbone", f"training.unfreeze_epochs={epochs}", "training.epochs=4")
        for _ in train_epochs(setup_of(recipe), [], Screen()):
            pass
        assert len(forgotten) == times


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_and_two_epochs_equal_four(tmp_path: Path, optimizer: str) -> None:
    recipe = recipe_of("training.freeze=3", "training.unfreeze_epochs=[1, 3]", "training.frozen_norms=true",
                       f"optim.name={optimizer}", "optim.layer_decay=0.7", "optim.head_lr=0.02")  # fmt: skip
    straight = run(recipe, tmp_path / "straight")
    run(recipe, tmp_path / "halves", stop_after=2)
    resumed = run(recipe, tmp_path / "halves", resume=True)
    assert without_times(resumed.history) == without_times(straight.history)
    a, b = (checkpoint.restore(RunDir(tmp_path / folder))[0] for folder in ("straight", "halves"))
    assert a is not None
    assert b is not None
    for name in ("model", "optimizer", "ema", "best"):
        assert require_equal(getattr(a, name), getattr(b, name), name) > 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.freeze=6"], r"training\.freeze: 6 stages to freeze, but this net has 6"),
        (["training.freeze=backbone", "training.unfreeze_epochs=[1,1,1,2,2,2]"], r"unfreeze_epochs: .*6 times, but 5"),
    ],
)
def test_more_stages_than_a_net_has_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        setup_of(recipe_of(*overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.unfreeze_epochs=[1]"], r"unfreeze_epochs: nothing is frozen"),
        (
            ["training.freeze=1", "training.unfreeze_epochs=[1,2]"],
            r"a stage is unfrozen 2 times, but 1 is frozen\n  -> give at most 1 epoch, or",
        ),
        (["training.freeze=1", "training.unfreeze_epochs=[4]"], r"unfreeze_epochs: after epoch 4 no epoch is left"),
        (["training.freeze=0"], r"training\.freeze"),
        (["training.freeze=head"], r"training\.freeze"),
        (["optim.layer_decay=1.5"], r"optim\.layer_decay"),
        (["optim.head_lr=0"], r"optim\.head_lr"),
    ],
)
def test_combinations_without_a_meaning_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe_of(*overrides)


def test_several_ranks_cannot_unfreeze() -> None:
    recipe, dataset = load_dataset(recipe_of("training.freeze=1", "training.unfreeze_epochs=[1]"), False)
    with pytest.raises(UserError, match=r"training\.unfreeze_epochs"):
        assemble(recipe, dataset, World(0, 2, torch.device("cpu")))


def test_a_shorter_training_unfreezes_earlier() -> None:
    recipe = recipe_of("training.epochs=20", "training.freeze=3", "training.unfreeze_epochs=[5, 10, 19]")
    assert stretched(recipe, 0.5).training.unfreeze_epochs == (2, 5)
    assert stretched(recipe, 0.05).training.unfreeze_epochs == ()


def test_every_stage_below_the_head_can_be_frozen_alone() -> None:
    setup = setup_of(recipe_of("training.freeze=1"))
    below, *above = stages(setup.model)
    assert not any(parameter.requires_grad for parameter in parameters_of(below))
    assert all(parameter.requires_grad for stage in above for parameter in parameters_of(stage))
