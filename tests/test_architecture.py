"""The architecture holds: imports go down, the command line is light, families are complete."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import rungs
from rungs.recipe import identity

SOURCE = Path(rungs.__file__).parent
ROOT = Path(__file__).parents[1]


def test_the_floors_hold() -> None:
    script = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([script, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "5 kept, 0 broken" in done.stdout


def test_the_package_has_thirteen_entries_each_a_noun_of_the_field() -> None:
    nouns = {"cli", "data", "diagnose", "errors.py", "evaluate", "models", "optim", "recipe", "report", "run", "ship",
             "study", "training"}  # fmt: skip
    found = {path.name for path in SOURCE.iterdir() if path.name != "__pycache__"}
    assert found == nouns | {"__init__.py", "__main__.py", "py.typed"}


def test_the_version_of_the_code_knows_all_that_computes() -> None:
    """A change in any of these files may change what a recipe computes, and so must change its fingerprints."""
    assert {"data", "models", "optim", "evaluate", "training"} <= set(identity.PACKAGES_THAT_COMPUTE)
    for folder in identity.PACKAGES_THAT_COMPUTE:
        assert list((SOURCE / folder).rglob("*.py")), folder
    for name in identity.FILES_THAT_COMPUTE:
        assert (SOURCE / "recipe" / f"{name}.py").is_file(), name
    silent = {"__init__", "explain", "flags", "identity", "overrides", "own", "presets", "roles", "shorten", "toml"}
    assert {path.stem for path in (SOURCE / "recipe").glob("*.py")} == silent | set(identity.FILES_THAT_COMPUTE)


def test_help_and_the_package_load_nothing_heavy() -> None:
    code = (
        "import sys; import rungs; assert len([m for m in sys.modules if m.startswith('rungs')]) == 1\n"
        "sys.argv = ['rungs', '--help']\n"
        "from rungs.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as e: assert e.code == 0\n"
        "print(sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.splitlines()[-1]
    for heavy in ("torch", "numpy", "matplotlib", "sklearn", "PIL", "jinja2"):
        assert f"'{heavy}'" not in loaded


def test_files_stay_short_enough_to_read() -> None:
    # most have less than 300; beyond 400 one file is two ideas
    for path in SOURCE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path


def test_nothing_unsafe_and_nothing_global() -> None:
    """No pyplot, no unpickling of anything, no eval; torch.load only of plain weights."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("eval", "exec", "pickle.load", "pickle.loads"), f"{path}:{node.lineno}"
                if name == "torch.load":
                    assert "weights_only=True" in ast.unparse(node), f"{path}:{node.lineno}"
            if isinstance(node, ast.ImportFrom | ast.Import):
                assert "pyplot" not in ast.unparse(node), f"{path}:{node.lineno}"
