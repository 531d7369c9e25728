"""A net of the user's own: trained, resumed and loaded from the file that the user names, and from no other."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command import rungs
from msgspec.structs import replace
from torch import Tensor, nn

from rungs import load, train
from rungs.errors import UserError
from rungs.models import build_model
from rungs.models.own import spec_of
from rungs.recipe.identity import differences, digest
from rungs.recipe.own import Own
from rungs.recipe.toml import choose, parse, read, to_toml
from rungs.run.folder import RunDir
from rungs.study.ladder.record import LadderDir

NET = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, *, width: int, image_size: int, classes: int, drop: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


def tiny(*, image_size: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, classes))
"""
RECIPE = """
name = "mine"
data = { source = "digits", train = 200, validation = 100 }
model = { name = "my_net.py:Net", width = 8 }
optim = { name = "adam", lr = 0.01 }
training = { epochs = 2, batch_size = 50, compile = "no" }
evaluation = { mistakes = 0, score_train = false }
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The path of a recipe with a net beside it."""
    (tmp_path / "my_net.py").write_text(NET)
    (tmp_path / "mine.toml").write_text(RECIPE)
    return tmp_path / "mine.toml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder; the recipe and the net lie beside it."""
    home = tmp_path_factory.mktemp("own")
    (home / "my_net.py").write_text(NET)
    (home / "mine.toml").write_text(RECIPE)
    train(home / "mine.toml", folder=home / "run")
    return home / "run"


def model_of(recipe: Path, *overrides: str) -> Own:
    model = choose(recipe, overrides).model
    assert isinstance(model, Own)
    return model


# --- the recipe ---------------------------------------------------------------------------------------


def test_a_recipe_names_a_file_beside_it_and_survives_writing_and_reading(mine: Path) -> None:
    recipe = read(mine)
    assert isinstance(recipe.model, Own)
    assert recipe.model.file == str(mine.parent / "my_net.py")
    assert (recipe.model.attribute, recipe.model.arguments) == ("Net", {"width": 8})
    assert parse(to_toml(recipe), "again") == recipe
    assert hash(recipe.model) == hash(replace(recipe.model, arguments={"width": 8}))


def test_the_identity_covers_the_content_of_the_file_and_the_arguments_but_not_its_place(
    mine: Path, tmp_path: Path
) -> None:
    before = read(mine)
    shutil.copytree(mine.parent, other := tmp_path / "other", ignore=shutil.ignore_patterns("other"))
    assert digest(read(other / "mine.toml")) == digest(before)
    assert differences(before, read(mine, ["model.width=9"])) == ("model.arguments.width",)
    (mine.parent / "my_net.py").write_text(NET + "# another\n")
    assert digest(read(mine)) != digest(before)
    assert differences(before, read(mine)) == ("model.sha256",)


def test_an_override_names_a_net_from_the_recipes_folder_and_drops_the_other_models_fields(mine: Path) -> None:
    (mine.parent / "plain.toml").write_text(
        RECIPE.replace('name = "my_net.py:Net", width = 8', 'name = "plain", stages = [[4]], batch_norm = true')
    )
    overrides = ("model.name=my_net.py:Net", "model.width=4")
    assert model_of(mine.parent / "plain.toml", *overrides) == model_of(mine, "model.width=4")
    assert model_of(mine, "model.name=my_net.py:tiny").arguments == {}
    assert digest(choose(mine, ["model.name=plain", "model.stages=[[4]]"]))


def test_a_shipped_recipe_finds_the_file_from_the_current_folder(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    model = choose("digits-quick", ["model.name=my_net.py:tiny"]).model
    assert isinstance(model, Own)
    assert model.file == str(mine.parent / "my_net.py")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.name=no_net.py:Net", "model.name, .*no_net.py: the file of your net cannot be read"),
        ("model.name=my_net.py", "no class or function named"),
        ("model.name=own", "no file named for your own net"),
        ("model.image_size=8", "model.image_size: rungs sets this argument itself"),
        ("model.classes=8", "model.classes: rungs sets this argument itself"),
        ("model.sha256=7", "model.sha256: Expected str, got int"),
    ],
)
def test_a_recipe_that_names_no_net_is_told_so(mine: Path, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        choose(mine, [override])


# --- the net ------------------------------------------------------------------------------------------

HEAD = "import torch\nfrom torch import nn\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (HEAD + "class Nett(nn.Module): ...", "this file has no class or function 'Net'\n.*mean 'Nett'"),
        (HEAD + "Net = 7", "no class or function 'Net'"),
        (HEAD + "1 / 0", r"my_net.py, line 3: my_net.py:Net cannot be imported: ZeroDivisionError: division by zero"),
        (HEAD + "raise SystemExit(3)", r"line 3: .*cannot be imported: SystemExit: 3"),
        (HEAD + "def Net(:", r"my_net.py, line 3: my_net.py:Net cannot be imported: SyntaxError"),
        (HEAD + "import no_such_module_here", "line 3: .*ModuleNotFoundError: No module named"),
        (HEAD + "def Net(width, classes): ...", "takes no argument 'image_size'\n.*add image_size and classes"),
        (HEAD + "def Net(width, image_size): ...", "takes no argument 'classes'"),
        (HEAD + "def Net(widht, image_size, classes): ...", "model.width: .*takes no argument 'width'\n.*mean 'widht'"),
        (HEAD + "def Net(width, depth, image_size, classes): ...", "model.depth: .*needs an argument 'depth'"),
        (
            HEAD + "def Net(width, image_size, classes):\n    raise ValueError('odd')",
            "line 4: .*ValueError: odd",
        ),
        (HEAD + "def Net(width, image_size, classes): return 7", "returned a int, not a torch.nn.Module"),
        (HEAD + "def Net(**given): return nn.Flatten()", "has no trainable weights"),
        (HEAD + "def Net(**given): return nn.Conv2d(3, 10, 3)", r"returns shape \(2, 10, 6, 6\) for 2 images and 10"),
        (
            HEAD + "def Net(**given): return nn.Linear(5, 5)",
            r"cannot take images of shape \(2, 3, 8, 8\): Run",
        ),
        (
            HEAD + "class Net(nn.Linear):\n    def __init__(self, **given): super().__init__(192, 10)\n"
            "    def forward(self, x): return {'logits': x}",
            "returns a dict for 2 images",
        ),
        (
            HEAD + "class Net(nn.Linear):\n    def __init__(self, **given): super().__init__(192, 10)\n"
            "    def forward(self, x):\n        return super().forward(x.view(2, -1))",
            r"line 6: .*cannot take images.*view size is not compatible",
        ),
    ],
)
def test_each_thing_that_a_net_does_wrong_is_said_with_its_place(mine: Path, code: str, words: str) -> None:
    (mine.parent / "my_net.py").write_text(code)
    with pytest.raises(UserError, match=f"(?s){words}"):
        build_model(read(mine).model, image_size=8, classes=10)


def test_a_file_that_changed_under_a_recipe_is_not_run(mine: Path) -> None:
    recipe = read(mine)
    (mine.parent / "my_net.py").write_text(f"open({str(mine.parent / 'marker')!r}, 'w')\n{NET}")
    with pytest.raises(UserError, match="has changed since the recipe was written"):
        build_model(recipe.model, image_size=8, classes=10)
    assert not (mine.parent / "marker").exists()


# --- training, resuming, loading ----------------------------------------------------------------------


def test_training_leaves_the_file_and_a_recipe_that_names_it(trained: Path) -> None:
    record = RunDir(trained).read_record()
    assert record.status == "finished"
    assert record.model.name == "my_net.py:Net"
    assert (trained / "my_net.py").read_text() == NET
    assert 'name = "my_net.py:Net"' in (trained / "recipe.toml").read_text()
    assert isinstance(record.recipe.model, Own)
    assert record.recipe.model.file == "my_net.py"
    assert digest(record.recipe) == digest(read(trained / "recipe.toml"))


def test_the_command_line_trains_shows_scores_and_predicts(mine: Path, tmp_path: Path) -> None:
    assert "Conv2d" in rungs("show", mine, "--out", tmp_path / "out").stdout
    rungs("train", mine, "--out", tmp_path / "run", "--set", "training.epochs=1")
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    said = rungs("predict", tmp_path / "run", tmp_path / "photo.png", code=2).stderr
    assert "my_net.py:Net" in said
    assert "--model my_net.py" in said
    net = tmp_path / "run" / "my_net.py"
    assert "photo.png" in rungs("predict", tmp_path / "run", tmp_path / "photo.png", "--model", net).stdout
    assert "accuracy" in rungs("evaluate", tmp_path / "run", "--model", mine.parent / "my_net.py").stdout
    net.write_text(NET + "# another")
    assert "has changed" in rungs("evaluate", tmp_path / "run", "--model", net, code=2).stderr
    rungs("report", tmp_path / "run")


def test_a_run_is_resumed_with_its_copy_and_not_with_a_changed_file(mine: Path, tmp_path: Path, trained: Path) -> None:
    folder = tmp_path / "run"
    train(mine, folder=folder, keep_going=lambda row: False)
    (mine.parent / "my_net.py").write_text(NET + "# another\n")
    with pytest.raises(UserError, match=r"another recipe: model.sha256 differs\n.*source of your net changed"):
        train(mine, folder=folder, resume=True)
    record = train(folder / "recipe.toml", folder=folder, resume=True)
    assert record.status == "finished"
    usual = RunDir(trained).read_record()
    assert [row.train_loss for row in record.history] == [row.train_loss for row in usual.history]  # the same seed


def test_code_that_lies_in_a_run_folder_is_never_imported_unasked(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, folder := tmp_path / "run")
    marker = tmp_path / "marker"
    for place in (folder / "my_net.py", tmp_path / "my_net.py"):
        place.write_text(f"open({str(marker)!r}, 'w')\n{NET}")
    for name in (folder, folder / "weights.safetensors"):
        with pytest.raises(UserError, match="code is only loaded if you name it"):
            load(name)
    with pytest.raises(UserError, match="has changed"):
        load(folder, model=folder / "my_net.py")
    rungs("report", folder)
    rungs("diagnose", folder)
    assert "code" in rungs("diagnose", folder, "--try", cwd=tmp_path, code=2).stderr
    record = RunDir(folder).read_record()
    with pytest.raises(UserError, match="you did not name"):
        build_model(record.recipe.model, image_size=8, classes=10)
    assert not marker.exists()


def test_a_run_of_rungs_own_net_takes_no_file(mine: Path, tmp_path: Path) -> None:
    train(mine, ["model.name=plain", "model.stages=[[4]]", "training.epochs=1"], folder=tmp_path / "run")
    with pytest.raises(UserError, match="its net is rungs' own plain and needs no file"):
        load(tmp_path / "run", model=mine.parent / "my_net.py")


@pytest.mark.dear
def test_a_ladder_climbs_with_it_in_processes_of_their_own(mine: Path, tmp_path: Path) -> None:
    (tmp_path / "steps.toml").write_text(
        'name = "steps"\nabout = "One."\nbase = "mine.toml"\nbuilds_on = "base"\nseeds = 1\n'
        '[[rungs]]\nname = "as-is"\nabout = "The base."\n'
    )
    rungs("climb", tmp_path / "steps.toml", "--out", tmp_path / "climb", "--epochs", "1", "--jobs", "1")
    record = LadderDir(tmp_path / "climb").read_record()
    assert record.rungs[0].cells[0].status == "finished"
    assert isinstance(record.recipe.model, Own)


# --- in Python ----------------------------------------------------------------------------------------


class Mine(nn.Module):
    def __init__(self, *, image_size: int, classes: int, width: int = 4) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(3 * image_size**2, width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.hidden(x.flatten(1)).relu())
        return out


def linear(*, image_size: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, classes))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (Mine, "python:Mine"),
        (linear, "python:linear"),
        (functools.partial(Mine, width=3), "python:Mine"),
        (Mine(image_size=8, classes=10), "python:Mine"),
    ],
)
def test_python_gives_a_class_a_function_or_a_net(
    given: nn.Module | Callable[..., nn.Module], name: str, mine: Path, tmp_path: Path
) -> None:
    before = {k: v.clone() for k, v in given.state_dict().items()} if isinstance(given, nn.Module) else {}
    folder = tmp_path / "run"
    train(mine, model=given, folder=folder, keep_going=lambda row: False)
    record = train(mine, model=given, folder=folder, resume=True)
    assert (record.status, record.model.name) == ("finished", name)
    if isinstance(given, nn.Module):
        assert all(torch.equal(value, before[key]) for key, value in given.state_dict().items())  # a copy is trained
    assert load(folder, model=given).classes
    with pytest.raises(UserError, match=r"(?s)if you name it.*rungs.load\(run, model="):
        load(folder)
    with pytest.raises(UserError, match="given in Python, not as a file"):
        load(folder, model=mine.parent / "my_net.py")
    other = Mine if given is linear else linear
    with pytest.raises(UserError, match="its source differs"):
        load(folder, model=other)
    with pytest.raises(UserError, match=r"another recipe: .*model\.sha256"):
        train(mine, model=other, folder=folder, resume=True)
    with pytest.raises(UserError, match="given in Python"):
        train(folder / "recipe.toml", folder=folder, resume=True)


def test_what_makes_a_given_net_another_run() -> None:
    assert spec_of(Mine).sha256 != spec_of(functools.partial(Mine, width=3)).sha256
    one, other = Mine(image_size=8, classes=10), Mine(image_size=8, classes=10)
    assert spec_of(one).sha256 == spec_of(other).sha256
    assert spec_of(one).arguments != spec_of(other).arguments  # their first weights


def test_a_net_without_readable_source_trains_but_is_not_resumed(mine: Path, tmp_path: Path) -> None:
    scope: dict[str, Callable[..., nn.Module]] = {}
    exec(
        "from torch import nn\ndef typed(image_size, classes): return nn.Sequential(nn.Flatten(), nn.Linear(192, 10))",
        scope,
    )
    train(mine, model=scope["typed"], folder=tmp_path / "run", keep_going=lambda row: False)
    with pytest.raises(UserError, match="source of this net cannot be read"):
        train(mine, model=scope["typed"], folder=tmp_path / "run", resume=True)
