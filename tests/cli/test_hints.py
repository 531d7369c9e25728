"""What is typed almost right is answered with what is right, in a line or two."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import rungs
from conftest import draw_photos

from rungs.cli.listing import RECIPES, matching
from rungs.cli.main import COMMANDS
from rungs.recipe import toml as recipes


def hint(*words: str, cwd: Path | None = None) -> str:
    """Return what a wrong command is answered with: few lines, no usage."""
    done = rungs(*words, cwd=cwd, code=2)
    assert done.stdout == "" and done.stderr.count("\n") <= 10
    return done.stderr


@pytest.mark.parametrize(("typed", "meant"), [("tarin", "train"), ("predcit", "predict"), ("lr_find", "lr-find")])
def test_a_mistyped_command(typed: str, meant: str) -> None:
    assert f"no command '{typed}'\n  -> did you mean '{meant}'?" in hint(typed, "lab-003")


def test_a_word_that_is_near_to_no_command() -> None:
    assert hint("xyz").endswith("no command 'xyz'\n  -> rungs --help lists all commands\n")


def test_no_command_at_all_prints_the_overview() -> None:
    assert rungs(code=2).stdout == rungs("--help").stdout


@pytest.mark.parametrize(("typed", "meant"), [("--epoch", "--epochs"), ("--batchsize", "--batch-size")])
def test_a_mistyped_flag_is_answered_with_one_of_the_same_command(typed: str, meant: str) -> None:
    told = hint("train", "lab-003", typed, "3")
    assert meant in told and "rungs climb" not in told and "rungs tune" not in told


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("optim.learning_rate", "optim.lr"),
        ("learning_rate", "optim.lr"),
        ("lr", "optim.lr"),
        ("momentum", "optim.momentum"),
        ("batch", "training.batch_size"),
        ("training.bs", "training.batch_size"),
        ("size", "data.image_size"),
        ("epochs", "training.epochs"),
        ("optim.epoch", "training.epochs"),
        ("training.patience", "stopping.patience"),
    ],
)
def test_a_field_by_another_name_or_at_another_place(typed: str, meant: str) -> None:
    assert f"{typed}: no such field\n  -> did you mean '{meant}'?" in hint("train", "lab-003", "--set", f"{typed}=3")


@pytest.mark.parametrize("source", ["photos", "./photos", "missing", "~/missing"])
def test_a_source_without_its_kind(source: str, tmp_path: Path) -> None:
    draw_photos(tmp_path / "photos")
    told = hint("train", "digits-quick", "--data", source, cwd=tmp_path)
    assert f"did you mean 'folder:{source}'?" in told and not (tmp_path / "runs").exists()


def test_a_source_that_is_nearly_one() -> None:
    assert "did you mean 'cifar10'?" in hint("train", "digits-quick", "--data", "cifar11")


@pytest.mark.parametrize("command", ["train", "climb"])
def test_images_in_place_of_a_recipe(command: str, tmp_path: Path) -> None:
    draw_photos(tmp_path / "my photos")
    for given in ("my photos", "folder:my photos"):
        meant = f"did you mean rungs {command} photos --data 'folder:my photos'?"
        assert meant in hint(command, given, cwd=tmp_path)


def test_the_folder_of_a_run_in_place_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(recipes.shipped()["digits-quick"], tmp_path / "run" / "recipe.toml")
    assert "did you mean run/recipe.toml?" in hint("train", "run", cwd=tmp_path)


def test_the_version() -> None:
    import rungs as package

    for flag in ("--version", "-V"):
        assert rungs(flag).stdout == f"rungs {package.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_of_a_shell_completes_every_command(shell: str) -> None:
    script = rungs("completion", shell).stdout
    assert all(name in script for name in COMMANDS) and "--batch-size" in script.replace("\\-", "-")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_command_and_a_flag(tmp_path: Path) -> None:
    (tmp_path / "rungs.bash").write_text(rungs("completion", "bash").stdout)
    for words, place, meant in (("rungs tra", 1, "train"), ("rungs train --ep", 2, "--epochs")):
        line = f"source rungs.bash; COMP_WORDS=({words}); COMP_CWORD={place}; _tyro_rungs; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout.split() == [meant], done.stderr


def test_every_shipped_recipe_is_listed_in_one_group() -> None:
    grouped = [name for patterns in RECIPES.values() for name in matching(patterns, recipes.shipped())]
    assert sorted(grouped) == sorted(recipes.shipped())
    told = rungs("list").stdout
    places = [told.index(f"recipes: {group}") for group in RECIPES] + [told.index(f"\n{rest}") for rest in
              ("ladders", "spaces", "models")]  # fmt: skip
    assert places == sorted(places)


@pytest.mark.parametrize("words", [("list",), ("train", "--help"), ("completion", "bash"), ("--version",), ("tarin",)])
def test_what_only_tells_loads_neither_torch_nor_numpy(words: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        "from rungs.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'torch', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
