"""Recipes: every shipped one loads and trains; every wrong one is told what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import SMALL

from rungs.errors import UserError
from rungs.recipe.augments import Flip, Greyscale
from rungs.recipe.identity import changes, code_version, digest, fingerprint
from rungs.recipe.models import Plain
from rungs.recipe.optimizers import SGD, Constant
from rungs.recipe.spec import StoppingSpec, TrainingSpec
from rungs.recipe.toml import load, parse, shipped, to_toml


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_recipe_survives_writing_and_reading(name: str) -> None:
    recipe = load(name)
    assert recipe.name == name
    assert recipe.about.endswith(".")
    assert parse(to_toml(recipe), "again") == recipe


def test_lab_003_is_what_the_seed_says() -> None:
    recipe = load("lab-003")
    assert (recipe.data.train, recipe.data.validation, recipe.data.image_size) == (49_000, 1_000, 32)
    assert recipe.model == Plain(stages=((32, 64), (128, 128), (256, 256)), hidden=(256, 64), dropout=(0.5,))
    assert recipe.optim == SGD(lr=0.01, momentum=0.9)
    assert recipe.schedule == Constant()
    assert recipe.training == TrainingSpec(epochs=20, batch_size=64)
    assert recipe.stopping == StoppingSpec(monitor="validation_loss")
    assert recipe.augment.train == recipe.augment.validation == (Flip(p=0.5), Greyscale(p=0.1))
    assert {c.metric: c.value for c in recipe.claims} == {
        "train_accuracy": 0.9512,
        "validation_accuracy": 0.8330,
        "test_accuracy": 0.8294,
    }
    assert recipe.assumptions


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "optim.lrr=1",
            r"optim\.lrr: no such field\n.*did you mean 'lr'\? allowed: decay_all, head_lr, layer_decay, lr, momentum",
        ),
        ("modle.x=1", r"modle: no such field\n.*did you mean 'model'"),
        ("optim.lr=fast", r"optim\.lr: Expected float, got str \('fast'\)"),
        ("optim.lr=0", r"optim\.lr: Expected float > 0"),
        (
            "optim.name=adm",
            r"optim\.name: 'adm' is not allowed\n.*did you mean 'adam'\? allowed: adam, adamw, muon, rmsprop, sgd",
        ),
        ("augment.train.0.p=2", r"augment\.train\.0\.p: Expected float <= 1"),
        ("augment.train.7.p=1", r"not a position in a list"),
        ("training.cuda_graphs=yes", r"training\.cuda_graphs: 'yes' is not allowed\n.*allowed: false, true"),
        ("augment.train=[{name='flp'}]", r"augment\.train\.0\.name: 'flp' is not allowed\n.*did you mean 'flip'"),
        ("training.precision=fp16", r"allowed: auto, bf16, fp32"),
        ("model.stages=[[1.5]]", r"model\.stages\.0\.0: Expected int, got float"),
        ("optim.lr", r"not an assignment"),
        ("seed.x=1", r"'seed' is a value"),
        ("training.epochs=none", r"training\.epochs: this field is missing"),
        ("model.dropout=[0.1,0.1,0.1]", r"3 dropouts for 2 hidden layers"),
    ],
)
def test_a_wrong_override_is_named_with_what_is_right(override: str, message: str) -> None:
    overrides = [override] if override != "seed.x=1" else ["seed=1", override]
    with pytest.raises(UserError) as caught:
        load("lab-003", overrides)
    assert re.search(message, str(caught.value)), str(caught.value)


def test_changing_a_name_drops_the_fields_of_the_other() -> None:
    recipe = load("lab-003", ["optim.name=adam", "optim.lr=0.001", "augment.train.1.name=rotate"])
    assert type(recipe.optim).__name__ == "Adam"
    assert type(recipe.augment.train[1]).__name__ == "Rotate"


def test_none_is_a_value_where_a_field_has_it_and_takes_others_out() -> None:
    grouped = load("photos", ["data.groups.name=none"])
    assert type(grouped.data.groups).__name__ == "NoGroups"
    assert load("photos", ["data.groups=none"]).data.groups is None
    padded = load("lab-003", ["model.padding=none", "training.clip_norm=none"])
    assert (padded.model.padding, padded.training.clip_norm) == ("none", None)  # type: ignore[union-attr]


def test_unknown_recipes_and_bad_toml(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'lab-003'"):
        load("lab003")
    path = tmp_path / "mine.toml"
    path.write_text("name = ")
    with pytest.raises(UserError, match=r"mine\.toml: not valid TOML"):
        load(path)


@given(st.floats(1e-6, 10), st.integers(1, 400), st.sampled_from(["sgd", "adam", "adamw", "rmsprop"]))
def test_overrides_reach_their_fields_and_the_digest(lr: float, epochs: int, name: str) -> None:
    recipe = parse(SMALL, "small", [f"optim.name={name}", f"optim.lr={lr!r}", f"training.epochs={epochs}"])
    assert (recipe.optim.lr, recipe.training.epochs) == (lr, epochs)
    assert parse(to_toml(recipe), "again") == recipe
    assert (digest(recipe) == digest(parse(SMALL, "small"))) == (recipe == parse(SMALL, "small"))


def test_a_fingerprint_depends_on_recipe_data_and_code() -> None:
    recipe, other = load("lab-003"), load("lab-003", ["seed=1"])
    prints = {fingerprint(r, data, code) for r in (recipe, other) for data in ("a", "b") for code in ("1", "2")}
    assert len(prints) == 8
    assert code_version().startswith("0.") and code_version() == code_version()
    assert fingerprint(recipe, "a", "1") == fingerprint(load("lab-003"), "a", "1")


def test_changes_names_what_makes_a_claim_incomparable() -> None:
    resolved = load("lab-003", ["seed=7", "data.source='cifar10:/data'", "training.precision=bf16"])
    assert changes(resolved) == ()
    assert changes(load("lab-003", ["optim.lr=0.5", "training.epochs=2"])) == ("optim.lr", "training.epochs")
    assert changes(load("lab-003", ["data.source=digits", "optim.name=adam"]))[0] == "data.source"
    assert changes(parse(SMALL, "small")) == ()
