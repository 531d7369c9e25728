"""What the tests of searches share: a recipe that trains in a moment, a space, and ways to look into a storage."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from command import UNDRAWN, rungs

from rungs.study.search.options import SearchOptions
from rungs.study.search.storage import open_storage, optuna
from rungs.study.search.study import Search, Work
from rungs.study.search.tune import prepare

RECIPE = """
name = "tiny"
[data]
source = "digits"
train = 300
validation = 100
[model]
name = "plain"
stages = [[8]]
[optim]
name = "sgd"
lr = 0.1
momentum = 0.9
[training]
epochs = 2
batch_size = 50
"""
SPACE = """
name = "rates"
about = "Rates and batches."
[[fields]]
field = "optim.lr"
low = 0.001
high = 1.0
log = true
points = 2
[[fields]]
field = "training.batch_size"
choices = [25, 50]
"""


def write_files(folder: Path, recipe: str = RECIPE, space: str = SPACE) -> None:
    (folder / "tiny.toml").write_text(recipe)
    (folder / "rates.toml").write_text(space)


def plan_of(*args: Any, **options: Any) -> Search:
    return prepare(SearchOptions(*args, **options))


def command(*words: str) -> list[str]:
    return [*UNDRAWN, "tune", "tiny.toml", "--space", "rates.toml", *words]


def rungs_tune(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Search here, in this process."""
    return rungs("tune", "tiny.toml", "--space", "rates.toml", "--workers", "0", *words, cwd=folder)


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command(*words), cwd=folder, stdout=pipe, stderr=pipe, text=True, env=os.environ)


def trials(address: Path | str) -> list[Any]:
    """Return Optuna's trials of the one study in a storage; [] where there is none yet."""
    if "://" not in str(address) and not Path(address).exists():
        return []
    storage = open_storage(str(address))
    studies = [one for one in storage.get_all_studies() if not one.study_name.endswith("-finals")]
    return optuna().load_study(study_name=studies[0].study_name, storage=storage).trials if studies else []


def wait_for(condition: Callable[[], Any], timeout_s: float = 120) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def storage_of(work: Work) -> Any:
    return open_storage(work.address)
