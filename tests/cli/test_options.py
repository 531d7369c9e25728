"""Options: flags, signature and echoed command come from one dataclass and say the same."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from pathlib import Path
from typing import Any

import pytest
import tyro

import rungs
from rungs.cli.main import CONFIG
from rungs.errors import UserError, require_between
from rungs.recipe.flags import echo
from rungs.recipe.optimizers import SGD
from rungs.study.bench.options import BenchOptions
from rungs.study.comparison.options import CompareOptions
from rungs.study.cures.options import CureOptions
from rungs.study.ladder.options import ClimbOptions
from rungs.study.rates.options import RateOptions
from rungs.study.search.options import SearchOptions
from rungs.training.options import SHORT, TrainOptions
from rungs.training.train import prepare

SETS = ("optim.lr=0.05", "augment.train=[{name='flip'}]")
ASKED = [
    ("train", TrainOptions("lab-003")),
    ("train", TrainOptions("my recipe.toml", SETS, data="folder:my photos", seed=3, skip_unreadable=True)),
    ("train", TrainOptions("a", epochs=3, lr=1e-5, batch_size=16, image_size=160, layout="part/class", folds=5)),
    ("climb", ClimbOptions("first-cnn", SETS, data="digits", seeds=2, only=("a", "b"), epochs=3, images=0.25, jobs=2)),
    ("tune", SearchOptions("lab-003", "lr-batch")),
    (
        "tune",
        SearchOptions(
            "lab-003", "mine.toml", SETS, trials=7, sampler="random", pruner="none", metric="validation_loss", epochs=2,
            images=1e-3, storage="sqlite:///a b.db", top=1, seeds=2, sampler_seed=5, folder=Path("s"),
            skip_unreadable=True,
        ),
    ),
    ("lr-find", RateOptions("lab-003", SETS[:1], low=3.3e-7, high=2, steps=40, seeds=1, checks=2, seed=4)),
    ("bench", BenchOptions(seconds=2.5)),
    ("bench", BenchOptions("resnet18", SETS)),
    ("compare", CompareOptions(("runs/a", "climbs/b:rung"))),
    ("diagnose", CureOptions("runs/a b", seeds=2, epochs=1, images=0.5, jobs=1, only=("gap",), data="digits")),
]  # fmt: skip


@pytest.mark.parametrize(("command", "options"), ASKED)
def test_an_echoed_command_parses_back_to_equal_options(command: str, options: Any) -> None:
    words = shlex.split(echo(command, options))
    assert words[:2] == ["rungs", command]
    assert tyro.cli(type(options), args=words[2:], config=CONFIG) == options


def test_a_short_option_changes_its_field_and_cannot_be_given_with_the_same_set() -> None:
    given = TrainOptions("lab-003", ("optim.momentum=0.5",), epochs=3, lr=1e-5, batch_size=16, image_size=48)
    recipe = prepare(dataclasses.replace(given, layout="class", folds=4)).recipe
    assert (recipe.training.epochs, recipe.training.batch_size, recipe.data.image_size) == (3, 16, 48)
    assert (recipe.data.layout, recipe.data.folds) == ("class", 4)
    assert recipe.optim == SGD(lr=1e-5, momentum=0.5)
    with pytest.raises(UserError, match=r"--batch-size 16 and --set training\.batch_size = 8 were given together"):
        prepare(dataclasses.replace(given, overrides=("training.batch_size = 8",)))
    for name, field in SHORT.items():
        section, _, last = field.partition(".")
        assert last in getattr(recipe, section).__struct_fields__ and hasattr(given, name)


def test_what_says_only_where_or_how_fast_is_not_echoed_and_makes_no_other_study() -> None:
    one = ClimbOptions("first-cnn", folder="here", jobs=3, pack=2, tensorboard=True, tell=lambda *_: None)
    assert echo("climb", one) == "rungs climb first-cnn" and one == ClimbOptions("first-cnn")


def test_a_part_of_the_options_can_be_echoed() -> None:
    asked = RateOptions("lab-003", SETS[:1], steps=40, data="digits")
    assert echo("train", asked, only=("recipe", "overrides")) == "rungs train lab-003 --set optim.lr=0.05"


def test_lists_from_python_are_echoed_one_by_one() -> None:
    options = ClimbOptions("first-cnn", ["optim.lr=0.1", "seed=1"], only=["initial"])  # type: ignore[arg-type]
    assert echo("climb", options) == "rungs climb first-cnn --set optim.lr=0.1 --set seed=1 --only initial"


def test_a_recipe_and_a_space_made_in_python_are_echoed_by_name() -> None:
    from rungs.recipe import toml as recipes
    from rungs.study.search import space

    options = SearchOptions(recipes.load("lab-003"), space.load("lr-batch"))
    assert echo("tune", options) == "rungs tune lab-003 --space lr-batch"


@pytest.mark.parametrize(
    ("door", "options"),
    [
        (rungs.train, TrainOptions),
        (rungs.climb, ClimbOptions),
        (rungs.tune, SearchOptions),
        (rungs.lr_find, RateOptions),
        (rungs.bench, BenchOptions),
    ],
)
def test_the_python_api_has_the_options_as_arguments(door: Any, options: type) -> None:
    parameters = inspect.signature(door).parameters
    assert list(parameters) == [field.name for field in dataclasses.fields(options)]
    first, *others = parameters.values()
    assert first.kind is first.POSITIONAL_OR_KEYWORD
    assert {one.kind for one in others if one.name not in ("overrides", "space")} == {first.KEYWORD_ONLY}
    assert (door.__doc__ or "").count("\n") > 2


def test_a_number_out_of_range_is_named_with_its_flag_and_its_range() -> None:
    for value in (0, 11):
        with pytest.raises(UserError, match=f"--jobs must be from 1 to 10, got {value}"):
            require_between(value, 1, 10, "--jobs")
    require_between(None, 1, 10, "--jobs")
    require_between(1, 1, 10, "--jobs")
    require_between(10, 1, 10, "--jobs")
