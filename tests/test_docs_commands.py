"""The README and the docs tell only what works: each command is run here, made small, each path is there."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import rungs, script
from conftest import draw_photos
from documented import PAGES, ROOT, blocks, commands, of_program, prose, quoted

from rungs.recipe.toml import load
from rungs.study.search.space import parse
from rungs.study.search.values import check

PROGRAMS = ("rungs", "torchrun", "make", "python", "pip", ".venv/bin/pip")

FEW = "--set data.train=60 --set data.validation=30 --set training.epochs=1 --set training.batch_size=30"
THIN = "--data digits --set data.image_size=8 --set model.stages=[[4]] --set model.hidden=[8] --set model.dropout=[]"
PHOTOS = "--set data.image_size=8 --set training.epochs=1 --set training.batch_size=8"
TINY = "--image-size 32 --epochs 1 --batch-size 8"
APPENDED = {
    "rungs train photos --data folder:my-photos --folds": f"{TINY} --folds 2",
    "rungs train photos": TINY,
    "rungs climb photos": "--status --out climbs/none-yet",
    "rungs train digits-quick --epochs": "--set data.train=60 --set data.validation=30",
    "rungs train digits-quick": FEW,
    "rungs train resnet18": PHOTOS,
    "rungs train lab-003 --resume": f"{FEW} {THIN} --out runs/begun",
    "rungs train lab-003": f"{FEW} {THIN}",
    "rungs train speedrun": f"--data digits {FEW} --set data.validation=0 --set model.widths=[4,4,4]",
    "rungs climb first-cnn --status": "--out climbs/none-yet",
    "rungs climb first-cnn": "--dry-run --data digits --only initial",
    "rungs climb three-nets": "--dry-run --data digits --only net-1",
    "rungs climb mine.toml": "--dry-run --only base",
    "rungs tune lab-003": f"{FEW} {THIN} --images 1 --epochs 1 --trials 1 --workers 0 --top 1 --seeds 1",
    "rungs lr-find lab-003": f"{FEW} {THIN} --steps 20 --seeds 1 --checks 1",
    "rungs show lab-003": "--data digits",
    "rungs bench resnet18": f"{PHOTOS} --seconds 1",
    "rungs bench digits-quick": f"{FEW} --seconds 1",
    "rungs bench": f"{FEW} {THIN} --seconds 1",
    "rungs diagnose runs/lab-003-de4a1c --try": "--seeds 1 --epochs 1 --jobs 0",
    "rungs diagnose runs/photos --try": "--seeds 1 --epochs 1 --jobs 0",
}
"""What is appended to a command, so that it takes a moment: by the first of these beginnings that it has.

Of a flag that is given twice the last counts.
"""
SMALLER = {
    '"training.epochs=5"': '"training.epochs=1", "data.train=60"',
    "seconds=5": 'overrides=["data.train=60", "training.batch_size=30"], seconds=1',
    "seeds=5": 'seeds=1, epochs=1, images=0.1, jobs=0, only=("base",)',
}
"""What is replaced in examples in Python, for the same."""
ON_PHOTOS = f"digits-quick --data folder:photos {PHOTOS}"
MADE = {
    "runs/lab-003-de4a1c": f"train {ON_PHOTOS}",
    "runs/photos": f"train {ON_PHOTOS}",
    "runs/mine": f"train {ON_PHOTOS}",
    "runs/begun": f"train lab-003 {FEW} {THIN}",
    "runs/a": f"train digits-quick {FEW}",
    "runs/b": f"train digits-quick {FEW} --set optim.lr=0.01",
    "runs/a0": f"train digits-quick {FEW} --seed 0",
    "runs/a1": f"train digits-quick {FEW} --seed 1",
    "runs/b0": f"train digits-quick {FEW} --seed 0 --set optim.lr=0.01",
    "runs/b1": f"train digits-quick {FEW} --seed 1 --set optim.lr=0.01",
    "runs/mine-1a2b3c": f"train digits-quick {FEW} --set model.name=my_net.py:Net --set model.width=4",
    "climbs/first-cnn": (
        "climb first-cnn --data digits --seeds 1 --epochs 1 --images 0.05 --jobs 0 --only initial --only relu-linear"
    ),
    "climbs/there": "climb first-cnn --data digits --seeds 1 --epochs 1 --images 0.05 --jobs 0 --only relu",
}
"""The folders that commands name, and what makes them."""

PICTURED = ("cat", "dog", "train", "test", "photos", "2023", "2024")
"""Folders of pictures, in examples."""
WRITTEN = (*PICTURED, "final", "runs", "climbs", "searches", "comparisons", "rates", "figures", "RUN-cures")
"""Folders that commands write."""
ENDINGS = ("py", "html", "json", "jsonl", "toml")
"""Of files that pages name."""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with the files that commands name."""

    root = tmp_path_factory.mktemp("workshop")
    for seed, name in enumerate(("photos", "my-photos", "new-photos", "more-photos")):
        draw_photos(root / name, seed=seed)
    for name in ("cat.jpg", "ship.png", "photo.jpg", "other.png"):
        shutil.copy(root / "photos" / "circle" / "00.jpg", root / name)
    (root / "dogs").mkdir()
    shutil.copytree(root / "photos" / "circle", root / "dogs" / "pictures")
    rows = [f"{path.stem},{('beagle', 'boxer')[i % 2]}" for i, path in enumerate(root.glob("dogs/pictures/*"))]
    (root / "dogs" / "labels.csv").write_text("\n".join(["id,breed", *rows]))
    (root / "mine.toml").write_text(next(text for _, text in blocks("toml") if "builds_on" in text))
    (root / "my_net.py").write_text(next(text for _, text in blocks("python") if "class Net" in text))
    preset = (ROOT / "src/rungs/recipe/presets/digits-quick.toml").read_text()
    (root / "my-recipe.toml").write_text(re.sub(r"epochs = \d+", "epochs = 1", preset))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield root


def make_ready(command: str) -> None:
    """Make the folders that a command names and that are not there yet."""
    if command.startswith("rungs guard"):
        command += " runs/a"  # it reads whatever runs there are
    for folder, words in MADE.items():
        if re.search(rf"{folder}(?![\w-])", command) and not Path(folder).exists():
            rungs(*shlex.split(f"{words} --out {folder}"))


def test_every_line_of_a_block_is_a_command_that_is_tested() -> None:
    assert len(commands()) > 50
    assert commands() == [command for command in commands() if command in of_program(*PROGRAMS)]


@pytest.mark.parametrize("command", of_program("rungs", "torchrun"))
@pytest.mark.usefixtures("small_ceilings")
def test_a_command_of_the_docs_works(command: str, workshop: Path) -> None:
    here = re.sub("^torchrun .* -m rungs ", "rungs ", command)  # alone: two ranks have tests of their own
    appended = next((more for start, more in APPENDED.items() if here.startswith(start)), "")
    whole = f"{here} {appended}"
    new = re.search(r"--out (\S+)", here)
    if new:
        shutil.rmtree(new[1], ignore_errors=True)
    make_ready(whole.replace(new[0], "") if new else whole)
    rungs(*shlex.split(whole)[1:])
    if new:
        shutil.rmtree(new[1])  # the other commands have a smaller one


@pytest.mark.parametrize("command", of_program("make"))
def test_a_target_of_the_docs_is_in_the_makefile(command: str) -> None:
    _, target = command.split()
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", of_program("pip", ".venv/bin/pip"))
def test_extras_of_the_docs_can_be_installed(command: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = re.search(r"\[(.*)\]", command)
    assert asked and set(asked[1].split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("command", of_program("python"))
def test_a_script_of_the_docs_has_the_flags_that_are_named(command: str) -> None:
    _, path, *words = shlex.split(command)
    if path.startswith("docs/"):  # tests/test_docs.py runs it
        assert (ROOT / path).is_file() and not words
        return
    told = script(ROOT / path, "--help").stdout
    assert all(word in told for word in words if word.startswith("--"))


@pytest.mark.parametrize(("page", "example"), blocks("python"))
@pytest.mark.usefixtures("small_ceilings")
def test_an_example_in_python_works(page: str, example: str, workshop: Path) -> None:
    shutil.rmtree("runs/mine", ignore_errors=True)
    for whole, part in SMALLER.items():
        example = example.replace(whole, part)
    (workshop / "example.py").write_text(example)
    script(workshop / "example.py")
    shutil.rmtree("runs/mine", ignore_errors=True)  # the commands have another of this name


def test_the_space_of_the_docs_can_be_searched() -> None:
    (space,) = (text for page, text in blocks("toml") if page == "docs/deciding.md")
    check(parse(space, "the docs"), load("lab-003"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", prose(page)) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = [code for code in quoted(page) if re.fullmatch(r"([\w-]+/)+(\w+\.(py|toml|md|html|css))?", code)]
    paths = [path for path in paths if path.split("/")[0] not in WRITTEN and not re.search("[A-Z]{4}", path)]
    places = (ROOT, ROOT / "src", ROOT / "src" / "rungs", page.parent)
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name != "bench"], ids=lambda page: page.name)
def test_every_flag_that_a_page_names_is_one_of_a_command(page: Path) -> None:
    named = {flag for code in quoted(page) for flag in re.findall(r"--([a-z][a-z-]+)", code)}
    fields = {flag for flag in named if re.search(rf'\b{flag.replace("-", "_")}: |name="{flag}"', source())}
    assert named - fields - {"help"} == set()


def test_every_function_and_class_of_the_map_is_there() -> None:
    codes = quoted(ROOT / "docs/architecture.md")
    functions = {name for code in codes for name in re.findall(r"^(?:\w+\.)*(\w+)\(", code)}
    functions |= {name for code in codes for name in re.findall(r"^(?:\w+\.)+(\w+)$", code)}
    classes = {code for code in codes if re.fullmatch(r"([A-Z][a-z]+)+", code)}
    modules = {path.stem for path in (ROOT / "src").rglob("*.py")} | set(ENDINGS)
    defined = set(re.findall(r"^ *(?:def|class) (\w+)|^ *(\w+)(?:: .*)? = ", source(), re.MULTILINE))
    names = {name for pair in defined for name in pair}
    assert (functions | classes) - modules - names - {"Net"} == set()  # any net


def source() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
