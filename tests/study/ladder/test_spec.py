"""Ladders: the shipped ones, the recipes of their cells, what makes a climb a smaller one, and every error."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from small import SMALL

from rungs import data
from rungs.data.split import split_source
from rungs.errors import UserError
from rungs.recipe import identity, shorten
from rungs.recipe import toml as recipes
from rungs.recipe.optimizers import Adam, Cosine, Step
from rungs.recipe.shorten import deviations, reductions
from rungs.recipe.spec import Claim, Recipe
from rungs.study.ladder import spec
from rungs.study.ladder.spec import Cell, Ladder, assignments, cells, load, parent, parse

DIARY = """
name = "diary"
about = "A diary."
base = "net1-002"
builds_on = "previous"
seeds = 2

[[rungs]]
name = "start"
about = "The base."

[[rungs]]
name = "second"
about = "A smaller rate."
set = ["optim.lr=0.002"]

[[rungs]]
name = "third"
about = "Momentum."
set = ["optim.momentum=0.9"]
assumptions = ["nine tenths"]
claims = [{ metric = "test_accuracy", value = 0.5, source = "nobody" }]

[[rungs]]
name = "aside"
on = "start"
about = "Adam."
set = ["optim.name=adam", "optim.lr=0.001"]

[[rungs]]
name = "further"
about = "Adam, slower."
set = ["optim.lr=0.0005"]
"""
BASED = DIARY.replace('"previous"', '"base"')
SHIPPED = sorted(spec.shipped())


def rung(ladder: Ladder, name: str) -> spec.Rung:
    return next(one for one in ladder.rungs if one.name == name)


def made(text: str = DIARY, **options: object) -> dict[str, Recipe]:
    """Return the recipe of each rung of one seed."""
    ladder = parse(text, "diary.toml")
    base = recipes.load(ladder.base)
    return {cell.rung: cell.recipe for cell in cells(ladder, base, seeds=1, **options)}  # type: ignore[arg-type]


def refused(text: str) -> tuple[str, str | None, str | None]:
    with pytest.raises(UserError) as caught:
        parse(text, "diary.toml")
    return caught.value.what, caught.value.where, caught.value.do


# --- the shipped ladders ------------------------------------------------------------------------------


def test_the_shipped_ladders() -> None:
    names = [
        "deep-then-regularise",
        "first-cnn",
        "mixed-convolutions",
        "photos",
        "speedrun",
        "three-nets",
        "what-matters",
    ]
    assert sorted(SHIPPED) == names


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_ladder_loads(name: str) -> None:
    ladder, base = load(name)
    assert ladder.name == name
    assert base == recipes.load(ladder.base)
    assert ladder.about.endswith(".")
    assert ladder.source.startswith(("seed ", "airbench", "transfer"))
    assert len(ladder.headline.split()) >= 5 and not ladder.headline.endswith(".")  # a few words, no sentence
    assert ladder.rungs[0].set == ()  # the base as it is measured
    for one in ladder.rungs:
        assert one.about.endswith((".", ".)", "?")), one.name
        assert one.about[0].isupper() or one.about[0].isdigit() or one.about.startswith("..."), one.name
        assert all(claim.source.startswith(("seed ", "airbench")) for claim in one.claims)
    made_of = {cell.rung: cell.recipe for cell in cells(ladder, base, seeds=1)}
    for one in ladder.rungs[1:]:
        below = parent(ladder, one)
        assert below is not None
        differing = identity.differences(made_of[below], made_of[one.name])
        assert differing, one.name
        fields = [assignment.partition("=")[0] for assignment in one.set]
        family = {field.partition(".name")[0] if field.endswith(".name") else field for field in fields}
        for field in differing:  # nothing changes that no assignment of the rung is about
            assert any(f"{field}.".startswith(f"{f}.") or f"{f}.".startswith(f"{field}.") for f in family), field
    assert len({identity.digest(recipe) for recipe in made_of.values()}) == len(ladder.rungs)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_rungs_recipe_is_an_ordinary_one(name: str) -> None:
    for cell in cells(*load(name), seeds=1):
        assert recipes.parse(recipes.to_toml(cell.recipe), "again") == cell.recipe


# --- what builds on what ------------------------------------------------------------------------------


def test_a_diary_builds_on_the_previous_rung() -> None:
    ladder = parse(DIARY, "diary.toml")
    parents = {one.name: parent(ladder, one) for one in ladder.rungs}
    assert parents == {"start": None, "second": "start", "third": "second", "aside": "start", "further": "aside"}
    assert assignments(ladder, ladder.rungs[0]) == ()
    assert assignments(ladder, rung(ladder, "third")) == ("optim.lr=0.002", "optim.momentum=0.9")
    assert assignments(ladder, rung(ladder, "further")) == ("optim.name=adam", "optim.lr=0.001", "optim.lr=0.0005")


def test_a_comparison_builds_on_its_first_rung() -> None:
    ladder = parse(BASED, "diary.toml")
    parents = {one.name: parent(ladder, one) for one in ladder.rungs}
    assert parents == {"start": None, "second": "start", "third": "start", "aside": "start", "further": "start"}
    assert assignments(ladder, rung(ladder, "third")) == ("optim.momentum=0.9",)
    assert assignments(ladder, rung(ladder, "further")) == ("optim.lr=0.0005",)


def test_what_the_first_rung_sets_is_in_all_that_build_on_it() -> None:
    text = BASED.replace('about = "The base."', 'about = "The base."\nset = ["training.batch_size=50"]')
    assert {recipe.training.batch_size for recipe in made(text).values()} == {50}


def test_on_goes_before_builds_on() -> None:
    text = BASED.replace('name = "third"', 'name = "third"\non = "second"')
    ladder = parse(text, "diary.toml")
    assert assignments(ladder, rung(ladder, "third")) == ("optim.lr=0.002", "optim.momentum=0.9")


# --- cells --------------------------------------------------------------------------------------------


def test_cells_come_seed_by_seed() -> None:
    ladder = parse(DIARY, "diary.toml")
    base = recipes.load("net1-002")
    names = ["start", "second", "third", "aside", "further"]
    order = [(cell.rung, cell.seed) for cell in cells(ladder, base)]
    assert order == [(name, seed) for seed in (0, 1) for name in names]
    chosen = [(cell.rung, cell.seed) for cell in cells(ladder, base, seeds=3, only=["further", "second"])]
    assert chosen == [(name, seed) for seed in (0, 1, 2) for name in ("second", "further")]
    assert all(cell.recipe.seed == cell.seed for cell in cells(ladder, base, seeds=3))


def test_what_a_cells_recipe_says_of_itself() -> None:
    base = recipes.load("net1-002")
    start, third = made()["start"], made()["third"]
    assert (third.name, third.about, third.source) == ("diary-third", "Momentum.", "")
    assert third.assumptions == (*base.assumptions, "nine tenths")
    assert third.claims == (Claim(metric="test_accuracy", value=0.5, source="nobody"),)
    assert start.claims == ()  # those of the base are not the rung's
    assert (third.optim.lr, third.model, third.training) == (0.002, base.model, base.training)
    assert made()["aside"].optim == Adam(lr=0.001)
    assert made()["further"].optim == Adam(lr=0.0005)


def test_a_base_with_fields_changed_changes_every_cell() -> None:
    ladder = parse(DIARY, "diary.toml")
    base = recipes.load("net1-002", ["data.source=digits", "training.batch_size=16"])
    for cell in cells(ladder, base):
        assert (cell.recipe.data.source, cell.recipe.training.batch_size) == ("digits", 16)


def test_rungs_of_one_seed_share_their_split() -> None:
    source = data.load("digits", None)
    base = recipes.load("net1-002", ["data.source=digits"])
    parts = {
        (cell.rung, cell.seed): split_source(source, cell.recipe.data, cell.seed).hash
        for cell in cells(parse(DIARY, "diary.toml"), base, only=["start", "third", "aside"])
    }
    assert len(parts) == 6
    by_seed = [{parts[one] for one in parts if one[1] == seed} for seed in (0, 1)]
    assert [len(hashes) for hashes in by_seed] == [1, 1]
    assert by_seed[0] != by_seed[1]


def test_a_folder_is_named_after_all_that_changes_the_result() -> None:
    ladder = parse(DIARY, "diary.toml")
    base = recipes.load("net1-002")
    cell = cells(ladder, base)[0]
    assert cell.folder == f"start-seed0-{identity.digest(cell.recipe)[:8]}"
    assert len({one.folder for one in cells(ladder, base)}) == 10
    changed = ["optim.lr=0.5", "training.epochs=9", "data.train=0.5", "evaluation.watch_test=false", "model.linears=[]"]
    others = [cells(ladder, recipes.load("net1-002", [one]), seeds=1, only=["start"])[0].folder for one in changed]
    assert len({cell.folder, *others}) == 6
    told = replace(cell.recipe, name="x", about="Else.", source="me", assumptions=("a",), claims=())
    assert Cell("start", 0, told).folder == cell.folder
    text = DIARY.replace("Momentum.", "Other words.").replace("value = 0.5", "value = 0.6").replace("A diary", "A book")
    assert [one.folder for one in cells(parse(text, "x"), base)] == [one.folder for one in cells(ladder, base)]


def test_the_digest_of_a_study_changes_with_all_but_its_rungs_and_seeds() -> None:
    one, other = (recipes.load("net1-002", changed) for changed in ([], ["optim.weight_decay=0.1"]))
    studies = [(one, None, None), (other, None, None), (one, 4, None), (one, None, 0.5)]
    assert len({shorten.digest(*study) for study in studies}) == 4
    assert len(shorten.digest(one, None, None)) == 6


# --- shorter, and with fewer images -------------------------------------------------------------------


def test_epochs_stretch_a_schedule_in_proportion() -> None:
    text = DIARY.replace(
        'set = ["optim.momentum=0.9"]',
        """set = [
        "schedule={name='step', milestones=[4, 6], warmup_epochs=2}", "training.epochs=16"]""",
    )
    usual, shorter, longer = (made(text, epochs=epochs) for epochs in (None, 2, 24))
    assert [recipes_["start"].training.epochs for recipes_ in (usual, shorter, longer)] == [8, 2, 24]
    assert [recipes_["third"].training.epochs for recipes_ in (usual, shorter, longer)] == [16, 4, 48]
    assert usual["third"].schedule == Step(milestones=(4.0, 6.0), warmup_epochs=2.0)
    assert shorter["third"].schedule == Step(milestones=(1.0, 1.5), warmup_epochs=0.5)
    assert longer["third"].schedule == Step(milestones=(12.0, 18.0), warmup_epochs=6.0)


def test_epochs_of_its_own_change_nothing() -> None:
    assert made(epochs=8) == made()


def test_no_rung_is_shortened_to_nothing() -> None:
    text = DIARY.replace('"optim.momentum=0.9"', '"training.epochs=2"')
    assert made(text, epochs=1)["third"].training.epochs == 1


def test_other_schedules_keep_their_shape() -> None:
    text = DIARY.replace("optim.momentum=0.9", "schedule={name='cosine', final=0.1, warmup_epochs=1}")
    assert made(text, epochs=4)["third"].schedule == Cosine(final=0.1, warmup_epochs=0.5)


def test_images_are_thinned_from_what_a_rung_has() -> None:
    text = DIARY.replace("optim.lr=0.002", "data.train=0.5").replace("optim.momentum=0.9", "data.train=1000")
    thinned = {name: recipe.data.train for name, recipe in made(text, images=0.25).items()}
    assert thinned == {"start": 0.25, "second": 0.125, "third": 250, "aside": 0.25, "further": 0.25}
    assert isinstance(thinned["third"], int)
    assert made(text, images=0.0001)["third"].data.train == 1
    assert made(text, images=1.0) == made(text, images=None) == made(text)


def test_the_other_parts_are_never_thinned() -> None:
    assert {recipe.data.validation for recipe in made(images=0.1).values()} == {0.1}


def asked(*overrides: str, data: str | None = None, epochs: int | None = None, images: float | None = None):  # type: ignore[no-untyped-def]
    usual = recipes.load("net1-002")
    return reductions(usual, recipes.choose(usual, overrides, data=data), overrides, epochs=epochs, images=images)


def test_a_climb_as_its_file_says_is_not_reduced() -> None:
    assert asked() == ()
    assert asked(epochs=8, images=1.0) == ()
    assert asked(data="cifar10:/elsewhere") == ()
    assert asked("data.source='cifar10:/elsewhere'") == ()
    assert asked("optim.lr=0.01", "data.validation=0.1") == ()  # what they are anyway


def test_each_reduction_is_a_phrase() -> None:
    assert asked(data="digits") == ("digits instead of cifar10",)
    assert asked(epochs=2) == ("2 epochs for 8, and so in proportion",)
    assert asked(images=0.05) == ("5 % of the training images",)
    assert asked("optim.lr=0.5") == ("with optim.lr=0.5",)
    assert asked("data.validation=100") == ("with data.validation=100",)
    assert asked("model.convs.0.channels=9", "optim.lr=0.01") == ("with model.convs.0.channels=9",)
    assert asked("schedule={name='cosine'}") == ("with schedule={name='cosine'}",)
    assert asked("optim.name=adam", data="digits", epochs=2, images=0.5) == (
        "digits instead of cifar10",
        "2 epochs for 8, and so in proportion",
        "50 % of the training images",
        "with optim.name=adam",
    )


# --- a ladder of one's own ----------------------------------------------------------------------------


def test_a_base_beside_the_ladder_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "mine.toml").write_text(SMALL)
    (folder / "diary.toml").write_text(DIARY.replace("net1-002", "mine.toml"))
    monkeypatch.chdir(tmp_path)
    ladder, base = load(folder / "diary.toml")
    assert (ladder.name, base.name, base.data.source) == ("diary", "small", "digits")
    assert load("study/diary.toml") == (ladder, base)
    assert cells(ladder, base, seeds=1)[1].recipe.optim.lr == 0.002


def test_a_base_that_is_not_there_is_asked_for_where_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "diary.toml"
    path.write_text(DIARY.replace("net1-002", "net1-02"))
    with pytest.raises(UserError) as caught:
        load(path)
    assert caught.value.what == "no recipe 'net1-02'"
    assert caught.value.where == f"{path}, base"
    assert caught.value.do is not None
    assert caught.value.do.startswith("did you mean 'net1-002'? ")


def test_a_shipped_ladder_is_not_changed_by_a_file_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "three-nets").write_text(DIARY)
    monkeypatch.chdir(tmp_path)
    assert load("three-nets")[0].name == "three-nets"


# --- errors -------------------------------------------------------------------------------------------


def test_an_unknown_ladder() -> None:
    with pytest.raises(UserError) as caught:
        load("three-net")
    assert caught.value.what == "no ladder 'three-net'"
    assert caught.value.where is None
    allowed = "deep-then-regularise, first-cnn, mixed-convolutions, photos, speedrun, three-nets, what-matters"
    assert caught.value.do == f"did you mean 'three-nets'? allowed: {allowed}; or give the path of a .toml file"


def test_bad_toml_and_no_text(tmp_path: Path) -> None:
    what, where, do = refused("name = = 1")
    assert what.startswith("not valid TOML: ") and "line 1" in what
    assert (where, do) == ("diary.toml", "fix that line")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError) as caught:
        load(path)
    assert caught.value.what.startswith("not a text file: ")
    assert (caught.value.where, caught.value.do) == (str(path), "give a ladder, a TOML file in UTF-8")


@pytest.mark.parametrize(
    ("override", "what", "place", "do"),
    [
        ("optim.lrr=1", "no such field", "net1-002, optim.lrr", "did you mean 'lr'? allowed: "),
        ("modle.convs=[]", "no such field", "net1-002, modle", "did you mean 'model'? allowed: "),
        ("optim.name=adan", "'adan' is not allowed", "net1-002, optim.name", "did you mean 'adam'? allowed: "),
        ("model.convs.7.pool=max", "'7' is not a position in a list of 2", "--set model.convs.7.pool", "count from 0"),
        ("optim.lr", "not an assignment", "--set optim.lr", "write it as field=value"),
    ],
)
def test_an_override_that_no_recipe_has(tmp_path: Path, override: str, what: str, place: str, do: str) -> None:
    path = tmp_path / "diary.toml"
    path.write_text(DIARY.replace("optim.momentum=0.9", override))
    with pytest.raises(UserError) as caught:
        load(path)
    assert caught.value.what == what
    assert caught.value.where == f"ladder diary, rung third, {place}"
    assert caught.value.do is not None
    assert caught.value.do.startswith(do)


def test_two_rungs_of_one_name() -> None:
    text = DIARY.replace('name = "third"', 'name = "second"')
    assert refused(text) == (
        "two rungs are called 'second'",
        "diary.toml, rungs.2.name",
        "give each rung a unique name",
    )


def test_on_a_later_an_unknown_or_its_own_rung() -> None:
    for other, hint in (("further", "did you mean 'third'? "), ("aside", ""), ("stat", "did you mean 'start'? ")):
        what, where, do = refused(DIARY.replace('on = "start"', f'on = "{other}"'))
        assert (what, where) == (f"no rung {other!r} before 'aside'", "diary.toml, rungs.3.on")
        assert do == f"{hint}allowed: second, start, third"
    assert refused(DIARY.replace('name = "start"', 'name = "start"\non = "second"')) == (
        "no rung 'second' before 'start'",
        "diary.toml, rungs.0.on",
        "leave it out: the first rung builds on the base recipe",
    )


@pytest.mark.parametrize("field", ["metric", "value", "source"])
def test_a_claim_without_one_of_its_fields(field: str) -> None:
    whole = {"metric": '"test_accuracy"', "value": "0.5", "source": '"nobody"'}
    rest = ", ".join(f"{name} = {value}" for name, value in whole.items() if name != field)
    text = DIARY.replace('{ metric = "test_accuracy", value = 0.5, source = "nobody" }', f"{{ {rest} }}")
    assert refused(text) == ("this field is missing", f"diary.toml, rung third, claims.0.{field}", "add it")


def test_a_wrong_metric() -> None:
    what, where, do = refused(DIARY.replace("test_accuracy", "tset_accuracy"))
    assert (what, where) == ("'tset_accuracy' is not allowed", "diary.toml, rung third, claims.0.metric")
    assert do is not None
    assert do.startswith("did you mean 'test_accuracy'? allowed: highest_test_accuracy, ")


def test_a_wrong_word_for_what_it_builds_on() -> None:
    assert refused(DIARY.replace('"previous"', '"previus"')) == (
        "'previus' is not allowed",
        "diary.toml, builds_on",
        "did you mean 'previous'? allowed: base, previous",
    )


@pytest.mark.parametrize(("seeds", "what"), [("0", "Expected int >= 1 (0)"), ('"3"', "Expected int, got str ('3')")])
def test_wrong_seeds(seeds: str, what: str) -> None:
    text = DIARY.replace("seeds = 2", f"seeds = {seeds}")
    assert refused(text) == (what, "diary.toml, seeds", "fix that value")


def test_no_rungs() -> None:
    head = DIARY.partition("[[rungs]]")[0]
    assert refused(head) == ("this field is missing", "diary.toml, rungs", "add it")
    assert refused(f"{head}rungs = []") == (
        "Expected array of length >= 1 ([])",
        "diary.toml, rungs",
        "fix that value",
    )


def test_unknown_fields_of_a_ladder_and_of_a_rung() -> None:
    assert refused(DIARY.replace("seeds =", "seed =")) == (
        "no such field",
        "diary.toml, seed",
        "did you mean 'seeds'? allowed: about, base, builds_on, headline, margin, name, rungs, seeds, source",
    )
    assert refused(DIARY.replace('set = ["optim.momentum', 'sets = ["optim.momentum')) == (
        "no such field",
        "diary.toml, rung third, sets",
        "did you mean 'set'? allowed: about, assumptions, claims, name, on, seeds, set",
    )
    what, where, _ = refused(DIARY.replace("value = 0.5", "value = 0.5, page = 3"))
    assert (what, where) == ("no such field", "diary.toml, rung third, claims.0.page")


@pytest.mark.parametrize("name", ["Third", "th ird", "../third", "", "x" * 41])
def test_a_rungs_name_must_do_for_a_folder(name: str) -> None:
    _, where, _ = refused(DIARY.replace('name = "third"', f'name = "{name}"'))
    assert where is not None and re.fullmatch(r"diary.toml, rung .*, name", where)


def test_only_an_unknown_rung() -> None:
    ladder = parse(DIARY, "diary.toml")
    with pytest.raises(UserError) as caught:
        cells(ladder, recipes.load("net1-002"), only=["start", "thrid"])
    assert caught.value.what == "no rung 'thrid' in diary"
    assert caught.value.where == "--only"
    assert caught.value.do == "did you mean 'third'? allowed: aside, further, second, start, third"


def test_a_ladder_is_data_both_ways() -> None:
    ladder, _ = load("first-cnn")
    assert msgspec.convert(msgspec.to_builtins(ladder), Ladder) == ladder


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ('metric = "test_accuracy", value = 82', "82 is not an accuracy\n  -> write per cent as a fraction: 0.82"),
        ('metric = "highest_test_accuracy", value = 0.8', "needs a test score after every epoch"),
    ],
)
def test_a_claim_that_can_be_no_measurement_is_refused(tmp_path: Path, claim: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nabout = "A."\nbase = "digits-quick"\nbuilds_on = "base"\n'
        f'rungs = [{{ name = "one", about = "As it is.", claims = [{{ {claim}, source = "me" }}] }}]\n'
    )
    with pytest.raises(UserError, match=message):
        load(path)


def test_a_ladder_and_a_recipe_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="first-cnn is a ladder, not a recipe\n  -> rungs climb first-cnn"):
        recipes.load("first-cnn")
    with pytest.raises(UserError, match="this is a ladder, not a recipe"):
        recipes.load(spec.shipped()["first-cnn"])
    with pytest.raises(UserError, match="lab-003 is a recipe, not a ladder"):
        load("lab-003")


def test_photos_in_the_place_of_the_placeholder_are_no_deviation() -> None:
    usual = recipes.load("photos")
    phrases = reductions(usual, recipes.choose(usual, data="folder:cats"), (), epochs=None, images=None)
    assert phrases == ("folder:cats instead of folder:my-photos",)  # a study of its own, in a folder of its own
    assert deviations(phrases) == ()
    assert deviations((*phrases, "with optim.lr=0.5")) == ("with optim.lr=0.5",)
    assert deviations(("digits instead of cifar10",)) == ("digits instead of cifar10",)
