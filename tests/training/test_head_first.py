"""Fine-tuning that begins with a trained head."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from resumed import require_equal
from safetensors.torch import load_file
from small import run, small

from rungs.errors import UserError
from rungs.recipe.spec import Recipe
from rungs.training.dataset import load_dataset
from rungs.training.device import World
from rungs.training.head_first import begin_with_head
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
    begun = begin_with_head(setup)
    changed = {name for name, tensor in begun.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("net.fc.") for name in changed), changed
    assert begun.ema is not None
    averaged = begun.ema.module.state_dict()  # the average begins with the trained head
    assert all(torch.equal(averaged[name], tensor) for name, tensor in begun.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in begun.model.parameters())


def test_it_is_the_head_of_a_frozen_run_of_as_many_epochs(tmp_path: Path) -> None:
    """So its length, rates and batches are those of the recipe."""
    begun = begin_with_head(setup_of(recipe_of("training.ema_decay=none")))
    frozen = recipe_of(
        "training.head_epochs=0", "training.freeze=backbone", "training.epochs=3", "augment.train=[]",
        "training.ema_decay=none", "stopping.keep=last",
    )  # fmt: skip
    run(frozen, tmp_path / "frozen")
    kept, mine = load_file(tmp_path / "frozen" / "weights.safetensors"), begun.model.state_dict()
    assert require_equal({name: mine[name] for name in kept}, kept) > 3


def test_without_head_epochs_a_setup_stays_as_it_is() -> None:
    setup = setup_of(recipe_of("training.head_epochs=0"))
    assert begin_with_head(setup) is setup


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
        begin_with_head(setup)
    assert caught.value.where == "training.head_epochs"
