"""Every rung of every shipped ladder builds; each of its parts trains two steps and scores; it is another net where it
says so.
"""

from __future__ import annotations

import math

import msgspec
import pytest
import torch
from msgspec.structs import replace

from rungs.models import build_model
from rungs.recipe import toml as recipes
from rungs.recipe.identity import digest
from rungs.recipe.models import MixConv, ResNet18
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import parse, to_toml
from rungs.run.record import EpochRow
from rungs.study.ladder import estimate, spec
from rungs.training.device import World

ALONE = World(0, 1, torch.device("cpu"))
SAME_LAYERS = {"basic-softmax-weights", "improved-softmax-weights"}
"""A softmax over the weights of a mixture is no layer of its own."""
OTHER_WEIGHTS = {"probe"}
"""Pretrained weights in the same layers."""


def recipe_of(ladder: str, rung: str) -> Recipe:
    (cell,) = spec.cells(*spec.load(ladder), seeds=1, only=[rung])
    return cell.recipe


def tiny(recipe: Recipe) -> Recipe:
    """The recipe on a few digits: the net, the optimiser and everything else as they are."""
    slow = isinstance(recipe.model, MixConv | ResNet18)
    train = 0.1 * recipe.data.train if isinstance(recipe.data.train, float) else 64
    data = replace(recipe.data, source="digits", train=train, validation=8, test=10)
    training = replace(recipe.training, batch_size=2 if slow else 8, precision="fp32")
    return replace(recipe, data=data, training=training)


def parts(recipe: Recipe) -> set[str]:
    """Return what of a recipe may train in a way of its own: its net, optimiser, loss, augmentation, and the like.

    Nets of one kind whose lists have the same lengths are alike: how wide their layers are is no way of its own.
    """
    training = recipe.training
    return {
        f"net {_shape(msgspec.to_builtins(recipe.model))}",
        f"optimiser {type(recipe.optim).__name__} {sorted(msgspec.to_builtins(recipe.optim))}",
        f"schedule {type(recipe.schedule).__name__}",
        f"loss {training.loss} {training.label_smoothing > 0}",
        f"average {training.ema_decay is not None} {training.image_scales}",
        *(f"augmentation {type(one).__name__}" for one in recipe.augment.train),
    }


def _shape(value: object) -> object:
    """Leave the numbers out of nested lists and tables; what is on or off, and words, stay."""
    if isinstance(value, dict):
        return {key: _shape(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shape(one) for one in value]
    return value if isinstance(value, str | bool | None) else type(value).__name__


def trained_and_built() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Divide all rungs into those that have a part which none before has, and the others."""
    known: set[str] = set()
    trained, built = [], []
    for name in spec.shipped():
        ladder, base = spec.load(name)
        for cell in spec.cells(ladder, base, seeds=1):
            (built if parts(cell.recipe) <= known else trained).append((name, cell.rung))
            known |= parts(cell.recipe)
    return trained, built


TRAINED, BUILT = trained_and_built()


@pytest.mark.parametrize(("ladder", "rung"), BUILT, ids=map(":".join, BUILT))
def test_a_rung_of_known_parts_builds(ladder: str, rung: str) -> None:
    recipe = recipe_of(ladder, rung)
    assert net_of(recipe)
    digits = replace(recipe, data=replace(recipe.data, source="digits"))
    assert digest(parse(to_toml(digits), "again")) == digest(digits)


@pytest.mark.parametrize(("ladder", "rung"), TRAINED, ids=map(":".join, TRAINED))
def test_a_rung_trains_two_steps_and_scores(ladder: str, rung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[EpochRow] = []
    train_together = estimate.train_together

    def watched(*args: object) -> list[tuple[EpochRow]]:
        for (row,) in train_together(*args):  # type: ignore[arg-type]
            assert isinstance(row, EpochRow)
            rows.append(row)
        return [(row,) for row in rows]

    monkeypatch.setattr(estimate, "train_together", watched)
    speed, images = estimate.probe(tiny(recipe_of(ladder, rung)), ALONE)
    assert min(speed.start_s, speed.train_image_s, speed.score_image_s) > 0
    assert (images["validation"], images["test"]) == (8, 10)
    assert [row.step for row in rows] == [1, 2]
    for row in rows:
        assert math.isfinite(row.train_loss)
        assert row.validation_loss is not None
        assert math.isfinite(row.validation_loss)
    assert rows[0].learning_rate > 0
    assert rows[0].train_loss != rows[1].train_loss


def net_of(recipe: Recipe) -> str:
    assert recipe.data.image_size is not None
    with torch.device("meta"):
        return str(build_model(recipe.model, image_size=recipe.data.image_size, classes=10))


@pytest.mark.parametrize("name", sorted(spec.shipped()))
def test_a_rung_that_changes_the_net_has_other_layers(name: str) -> None:
    ladder, base = spec.load(name)
    made = {cell.rung: cell.recipe for cell in spec.cells(ladder, base, seeds=1)}
    assert made[ladder.rungs[0].name].model == base.model
    for rung in ladder.rungs[1:]:
        below = spec.parent(ladder, rung)
        assert below is not None
        claimed = any(one.startswith("model.") for one in rung.set)
        assert (made[rung.name].model != made[below].model) == claimed, rung.name
        other = net_of(made[rung.name]) != net_of(made[below])
        assert other == (claimed and rung.name not in SAME_LAYERS | OTHER_WEIGHTS), rung.name


@pytest.mark.parametrize("rung", sorted(SAME_LAYERS))
def test_normalised_weights_make_other_outputs(rung: str) -> None:
    recipe = recipe_of("mixed-convolutions", rung)
    torch.manual_seed(0)
    one = build_model(recipe.model, image_size=32, classes=10).eval()
    raw = parse(to_toml(recipe), "raw", ["model.combine=mix"])
    other = build_model(raw.model, image_size=32, classes=10).eval()
    other.load_state_dict(one.state_dict())
    images = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert not torch.allclose(one(images), other(images), atol=1e-4)


def test_the_rung_of_the_speedrun_is_the_recipe_of_its_name() -> None:
    assert digest(recipe_of("speedrun", "speedrun-94")) == digest(recipes.load("speedrun-94"))
