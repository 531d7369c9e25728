"""The notebooks of examples/: what they show is committed, is theirs, names nobody's machine, and can be made again."""

from __future__ import annotations

import getpass
import importlib
import re
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat import NotebookNode

import rungs
from rungs.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
PATHS = re.compile(r"(?<![\w.:/])/(?:home|root|work|tmp|Users|usr|opt|mnt|var)/[\w.-]+")
"""Absolute paths, as this machine and others have them."""


def read(path: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def words(cell: NotebookNode) -> str:
    """Return what a cell shows, as text, without its pictures."""
    shown = [part for output in cell.outputs for part in output.get("data", {}).values()]
    shown += [output.get("text", "") for output in cell.outputs]
    return re.sub(r'src="data:[^"]*"', "", "\n".join(shown))


def test_both_notebooks_are_there() -> None:
    assert [path.name for path in NOTEBOOKS] == ["first-steps.ipynb", "seed-001.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_was_executed_in_order_without_an_error(path: Path) -> None:
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert kinds <= {"execute_result", "stream"} and "stderr" not in words(cells[0])
    shown = "".join(part for cell in cells for out in cell.outputs for part in out.get("data", {}).get("text/html", ""))
    assert shown.count("<table>") >= 3 and shown.count("data:image/svg+xml;base64,") >= 3 and "<script" not in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_shown_names_no_machine_and_no_user(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    shown = "\n".join(map(words, code_cells(read(path))))
    assert PATHS.findall(shown) == [] and PATHS.search("in /home/ann/photos")
    user = getpass.getuser()
    assert user == "root" or not re.search(rf"\b{re.escape(user)}\b", shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_commands_functions_and_links_of_a_notebook_exist(path: Path) -> None:
    notebook = read(path)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert set(re.findall(r"`rungs ([a-z-]+)", prose)) <= set(COMMANDS)
    links = re.findall(r"\]\(([^)#]+)\)", prose)
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []
    code = "\n".join(cell.source for cell in code_cells(notebook))
    names = re.findall(r"^from rungs import (.*)$", code, re.MULTILINE)
    assert names and {name for line in names for name in line.split(", ")} <= set(rungs.__all__)
    for cell in code_cells(notebook):
        compile(cell.source, path.name, "exec")


@pytest.fixture(scope="module")
def executed() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples"))
        return importlib.import_module("execute")


@pytest.mark.dear
@pytest.mark.parametrize("name", ["first-steps", pytest.param("seed-001", marks=pytest.mark.needs_cifar)])
def test_a_notebook_runs_from_its_first_cell_to_its_last(name: str, executed: ModuleType) -> None:
    path = ROOT / "examples" / f"{name}.ipynb"
    again = executed.execute(path)
    for before, after in zip(code_cells(read(path)), code_cells(again), strict=True):
        assert {o.output_type for o in before.outputs} == {o.output_type for o in after.outputs}
        assert ("<table>" in words(before)) == ("<table>" in words(after))
