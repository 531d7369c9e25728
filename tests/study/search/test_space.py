"""Spaces: every field and both ends of each range are proved against a recipe before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from searches import plan_of

from rungs.cli import listing
from rungs.errors import UserError
from rungs.recipe import toml as recipes
from rungs.recipe.augments import Flip
from rungs.recipe.models import Plain
from rungs.study.search import space as search_space
from rungs.study.search.space import parse
from rungs.study.search.values import assignments, check, grid, own_values

HEAD = 'name = "mine"\nabout = "Mine."\n'


def space_of(*fields: str) -> search_space.Space:
    return parse(HEAD + "".join(f"[[fields]]\n{field}\n" for field in fields), "mine.toml")


@pytest.mark.parametrize("name", search_space.shipped())
@pytest.mark.parametrize("recipe", ["lab-003", "explore-003", "digits-quick"])
def test_shipped_spaces_fit_the_shipped_recipes(name: str, recipe: str) -> None:
    space = search_space.load(name)
    check(space, recipes.load(recipe))
    assert space.name == name and space.source
    header = search_space.shipped()[name].read_text().splitlines()
    assert [line.split()[1] for line in header[:2]] == ["Source", "Command"]


def test_the_ready_spaces_hold_what_seed_003_tried() -> None:
    rate, batch = search_space.load("lr-batch").fields
    assert rate.log and rate.low is not None and rate.high is not None
    assert all(rate.low <= lr <= rate.high for lr in (0.0001, 0.001, 0.01))
    assert batch.choices == (32, 64, 128, 256, 512)
    assert set(search_space.shipped()) == {"lr-batch", "augment", "width-depth", "regularise"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (['field = "optim.lr"'], "field optim.lr: neither a range (low and high) nor choices"),
        (['field = "optim.lr"\nlow = 0.1'], "neither a range (low and high) nor choices"),
        (['field = "optim.lr"\nlow = 0.1\nhigh = 0.1'], "an empty range: low 0.1 is not below high 0.1"),
        (['field = "optim.lr"\nlow = 0.2\nhigh = 0.1'], "an empty range"),
        (['field = "optim.lr"\nlow = 0.0\nhigh = 0.1\nlog = true'], "log needs low above 0, got 0"),
        (['field = "optim.lr"\nlow = 0.1\nhigh = nan'], "is not finite"),
        (['field = "optim.lr"\nlow = 0.1\nhigh = inf'], "is not finite"),
        (['field = "optim.lr"\nlow = 0\nhigh = 0.1'], "low and high are of different types"),
        (['field = "optim.lr"\nlow = 0.1\nhigh = 0.2\nchoices = [0.1, 0.2]'], "both choices and a range"),
        (['field = "optim.lr"\nlow = 0.1\nhigh = 0.5\nstep = 0.3'], "a step of 0.3 does not lead from 0.1 to 0.5"),
        (['field = "optim.lr"\nlow = 0.1\nhigh = 0.5\nstep = 0.5'], "does not lead"),
        (['field = "optim.lr"\nlow = 0.1\nhigh = 0.5\nstep = -0.1'], "does not lead"),
        (['field = "optim.lr"\nlow = 0.1\nhigh = 0.5\nstep = 0.1\nlog = true'], "log and step cannot be combined"),
        (['field = "training.batch_size"\nlow = 8\nhigh = 64\nstep = 0.5'], "is not a whole number, but the range is"),
        (['field = "optim.lr"\nchoices = [0.1]'], "a single choice"),
        (['field = "optim.lr"\nchoices = [2020-01-01, 0.1]'], "2020-01-01 is a date, which no field accepts"),
        (['field = "optim.lr"\nchoices = [{a = [07:30:00]}, 0.1]'], "07:30:00 is a time, which no field accepts"),
        (['field = "optim.lr"\nchoices = [0.1, 0.1]'], "a choice is given twice"),
        (['field = "optim.lr"\nlow = 0.1\nhigh = "much"'], "field optim.lr, high"),
        (['field = "optim.lr"\nlow = 0.1\nhi = 0.2'], "did you mean 'high'?"),
        (['field = "optim.lr"\nchoices = [0.1, 0.2]'] * 2, "optim.lr is given twice"),
        (
            ['field = "optim"\nchoices = [{}, {a=1}]', 'field = "optim.lr"\nchoices = [0.1, 0.2]'],
            "optim.lr overlaps optim",
        ),
        (['field = "data.source"\nchoices = ["digits", "cifar10"]'], "cannot be compared"),
        (['field = "data"\nchoices = [{}, {a=1}]'], "a search cannot vary data.source"),
        (['field = "data.validation"\nchoices = [0.1, 0.2]'], "cannot be compared"),
        (['field = "data.test"\nchoices = [0.1, 0.2]'], "the test set is not for selection"),
        (['field = "data.image_size"\nchoices = [8, 16]'], "cannot be compared"),
        (['field = "seed"\nlow = 0\nhigh = 9'], "a seed that wins is lucky"),
        (['field = "evaluation.tta"\nchoices = ["none", "mirror"]'], "a search cannot vary evaluation"),
        (['field = "stopping.monitor"\nchoices = ["validation_loss", "validation_accuracy"]'], "stopping.monitor"),
        (['field = "augment.validation"\nchoices = [[], [{name="flip"}]]'], "augment.validation"),
        (['field = "augment"\nchoices = [{}, {train=[]}]'], "search fields inside it other than augment.validation"),
        (['field = "about"\nchoices = ["a", "b"]'], "it does not change the result"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_by_file_and_field(fields: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        space_of(*fields)
    assert message in " ".join(str(caught.value).split()) and "mine.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (['field = "optim.rate"\nlow = 0.1\nhigh = 0.2'], "optim.rate: no such field -> did you mean"),
        (['field = "optim.momentum"\nlow = 0.5\nhigh = 0.9'], "no such field"),  # of adamw
        (['field = "optim.lr"\nlow = -0.1\nhigh = 0.2'], "field optim.lr"),
        (['field = "optim.weight_decay"\nlow = 0.0\nhigh = 1e200'], "field optim.weight_decay"),
        (['field = "training.batch_size"\nlow = 8.0\nhigh = 64.0'], "Expected int"),
        (['field = "training.batch_size"\nlow = 1\nhigh = 64'], "field training.batch_size"),
        (['field = "training.batch_size"\nchoices = [32, "many"]'], "field training.batch_size"),
        (['field = "model.name"\nchoices = ["plain", "alexnet"]'], "did you mean"),
        (['field = "optim.lr.rate"\nchoices = [1, 2]'], "is a value and has no fields"),
        (['field = "model.hidden"\nchoices = [[64], []]'], "model.dropout: 1 dropout for 0 hidden layers"),
    ],
)
def test_a_field_that_does_not_fit_the_recipe_is_refused(fields: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check(space_of(*fields), recipes.load("digits-quick"))
    assert message in " ".join(str(caught.value).split()) and "space mine" in str(caught.value)


def test_values_that_fit_alone_but_not_together_are_found_before_anything_runs() -> None:
    fields = (
        'field = "model.hidden"\nchoices = [[64], [64, 32]]',
        'field = "model.dropout"\nchoices = [[0.1], [0.1, 0.2]]',
    )
    with pytest.raises(UserError, match="2 dropouts for 1 hidden"):
        check(space_of(*fields), recipes.load("digits-quick"))


def test_losses_of_different_kinds_cannot_be_searched_by_loss() -> None:
    space = space_of('field = "training.loss"\nchoices = ["nll", "softmax-cross-entropy"]')
    check(space, recipes.load("digits-quick"))
    with pytest.raises(UserError, match="cannot be compared"):
        check(space, recipes.load("digits-quick"), "validation_loss")


def test_a_trial_becomes_assignments_that_make_its_recipe() -> None:
    space = space_of(
        'field = "optim.lr"\nlow = 0.001\nhigh = 0.1\nlog = true',
        'field = "model.stages"\nchoices = [[[8], [16]], [[8, 8], [16]]]',
        'field = "augment.train"\nchoices = [[], [{ name = "flip", p = 0.25 }]]',
        'field = "training.ema_decay"\nchoices = ["none", 0.9]',
        'field = "optim.decay_all"\nchoices = [false, true]',
    )
    values = {
        "optim.lr": 0.0123456789,
        "model.stages": "[[8,8],[16]]",
        "augment.train": '[{"name":"flip","p":0.25}]',
        "training.ema_decay": "none",
        "optim.decay_all": True,
    }
    base = recipes.load("digits-quick", ["training.ema_decay=0.99"])
    made = recipes.parse(recipes.to_toml(base), base.name, assignments(space, values))
    assert made.optim.lr == 0.0123457 and made.optim.decay_all is True
    assert isinstance(made.model, Plain) and made.model.stages == ((8, 8), (16,))
    assert made.augment.train == (Flip(p=0.25),)
    assert made.training.ema_decay is None


def test_the_recipes_own_values_are_found_where_all_lie_inside() -> None:
    base = recipes.load("digits-quick")
    rate, batch = 'field = "optim.lr"\nlow = 0.001\nhigh = 0.1', 'field = "training.batch_size"\nchoices = [32, 64]'
    assert own_values(space_of(rate, batch), base) == {"optim.lr": 0.004, "training.batch_size": 64}
    assert own_values(space_of(rate, batch), recipes.load("digits-quick", ["optim.lr=0.5"])) is None
    assert own_values(space_of(rate, batch), recipes.load("digits-quick", ["training.batch_size=48"])) is None
    stepped = 'field = "optim.lr"\nlow = 0.0\nhigh = 0.01\nstep = 0.001'
    assert own_values(space_of(stepped), base) == {"optim.lr": 0.004}
    assert own_values(space_of(stepped.replace("0.001", "0.0025")), base) is None
    second = 'field = "model.stages.1.0"\nlow = 16\nhigh = 64'
    assert own_values(space_of(second), base) == {"model.stages.1.0": 64}


def test_a_grid_has_both_ends_of_each_range_and_every_choice() -> None:
    space = space_of(
        'field = "optim.lr"\nlow = 0.001\nhigh = 0.1\nlog = true\npoints = 3',
        'field = "training.label_smoothing"\nlow = 0.0\nhigh = 0.3\nstep = 0.1',
        'field = "training.batch_size"\nlow = 10\nhigh = 12\npoints = 9',
    )
    points = grid(space)
    assert len(points) == 3 * 4 * 3 and len({tuple(point.values()) for point in points}) == len(points)
    assert sorted({point["optim.lr"] for point in points}) == [0.001, 0.01, 0.1]
    assert sorted({point["training.label_smoothing"] for point in points}) == [0.0, 0.1, 0.2, 0.3]
    assert {point["training.batch_size"] for point in points} == {10, 11, 12}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a', "not valid TOML"),
        ('name = "a"\nabout = "b"\nfields = []', "fields"),
        ('name = "a"\nabout = "b"', "fields: this field is missing"),
        ('name = "a"\n[model]\nname = "plain"', "this is a recipe, not a space"),
        ('name = "a"\nrungs = []', "this is a ladder, not a space"),
    ],
)
def test_a_file_that_is_no_space_says_what_it_is(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        search_space.load(path)
    assert message in str(caught.value) and "a.toml" in str(caught.value)


def test_a_space_made_in_python_is_checked_as_well() -> None:
    fields = (search_space.Field(field="seed", low=0, high=9),)
    with pytest.raises(UserError, match="space mine, field seed: a search cannot vary seed"):
        plan_of("digits-quick", search_space.Space(name="mine", about="", fields=fields))


def test_list_shows_the_spaces_with_their_fields(capsys: pytest.CaptureFixture[str]) -> None:
    listing.list_("spaces")
    said = " ".join(capsys.readouterr().out.split())
    assert all(name in said for name in search_space.shipped()) and "optim.lr, training.batch_size" in said


def test_a_space_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'lr-batch'"):
        search_space.load("lr-bach")
    with pytest.raises(UserError, match="this is a folder"):
        search_space.load(tmp_path)
    (tmp_path / "picture.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        search_space.load(tmp_path / "picture.toml")
