"""Fine-tuning that begins with a trained head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from resumed import require_equal
from safetensors.torch import load_file
from small import Told, run, small

from rungs.errors import UserError
from rungs.recipe.spec import Recipe
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.head_first import train_head
from rungs.training.setup import Setup, assemble


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def recipe_of(*overrides: str) -> Recipe:
    return small("model.name=resnet18", "model.width=4", "data.train=200", "training.head_epochs=3", *overrides)


def setup_of(recipe: Recipe) -> Setup:
    resolved, dataset = load_dataset(recipe, False)
    return assemble(resolved, dataset, World(0, 1, torch.device("cpu")))


def test_the_head_is_trained_and_nothing_below_it() -> None:
    setup = setup_of(recipe_of("training.ema_decay=0.9", "optim.lr=0.05", "optim.head_lr=0.2"))
    before = {name: tensor.clone() for name, tensor in setup.model.state_dict().items()}
    told = Told()
    train_head(setup, told)
    assert told.said == ["first the head alone: 3 epochs on features that are computed once"]
    changed = {name for name, tensor in setup.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("net.fc.") for name in changed), changed
    assert setup.ema is not None
    averaged = setup.ema.module.state_dict()  # the average begins with the trained head
    assert all(torch.equal(averaged[name], tensor) for name, tensor in setup.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in setup.model.parameters())


def test_it_is_the_head_of_a_frozen_run_of_as_many_epochs(tmp_path: Path) -> None:
    """So its length, rates and batches are those of the recipe."""
    setup = setup_of(recipe_of("training.ema_decay=none"))
    train_head(setup, Told())
    frozen = recipe_of(
        "training.head_epochs=0", "training.freeze=backbone", "training.epochs=3", "augment.train=[]",
        "training.ema_decay=none", "stopping.keep=last",
    )  # fmt: skip
    run(frozen, tmp_path / "frozen")
    kept, mine = load_file(tmp_path / "frozen" / "weights.safetensors"), setup.model.state_dict()
    assert require_equal({name: mine[name] for name in kept}, kept) > 3


def test_a_run_that_is_resumed_is_bit_for_bit_the_one_that_was_not(tmp_path: Path) -> None:
    recipe = recipe_of("training.epochs=3")
    run(recipe, tmp_path / "whole")
    run(recipe, tmp_path / "stopped", stop_after=1)
    run(recipe, tmp_path / "stopped", resume=True)
    whole, stopped = (load_file(tmp_path / folder / "weights.safetensors") for folder in ("whole", "stopped"))
    assert require_equal(whole, stopped) > 3


def test_a_net_without_a_head_of_its_own_is_refused() -> None:
    setup = setup_of(small("training.head_epochs=2", "data.train=200"))
    with pytest.raises(UserError, match="cannot be trained alone") as caught:
        train_head(setup, Told())
    assert caught.value.where == "training.head_epochs"


def test_a_head_that_diverges_ends_its_run_as_diverged(tmp_path: Path) -> None:
    record = run(recipe_of("optim.lr=1e30", "optim.weight_decay=0.4", "training.head_epochs=30"), tmp_path / "run")
    assert record.status == "diverged"
    assert record.history == ()


def test_a_run_that_has_begun_does_not_train_its_head_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("training.epochs=2")
    run(recipe, tmp_path / "run", stop_after=1)
    monkeypatch.setattr("rungs.training.run.train_head", lambda *_: pytest.fail("it was trained again"))
    assert run(recipe, tmp_path / "run", resume=True).status == "finished"
    assert run(recipe, tmp_path / "run", resume=True).status == "finished"


def test_a_head_that_is_all_that_is_trained_does_not_come_first() -> None:
    with pytest.raises(UserError, match="nothing comes after it"):
        recipe_of("training.freeze=backbone")
    recipe_of("training.freeze=backbone", "training.unfreeze_epochs=[1]")


def test_a_pass_over_the_images_for_the_head_counts() -> None:
    one, other = setup_of(recipe_of()), setup_of(recipe_of("training.head_epochs=0"))
    assert one.flops_before == 300 * one.forward_flops[8]  # training and validation images
    assert other.flops_before == 0
