"""Does the diagnosis name a fault that was planted? Each is trained on digits or on 3,000 small images of CIFAR-10.

Right: the first finding is the fault, and its cure is the one that was broken. Half: the fault is named, but not first,
or with another cure. Wrong: another cause comes first. Missed: nothing is said, or all is called good.

    RUNGS_DATA=DATA python bench/planted_faults.py --only "momentum|noise"
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import torch
import tyro
from fault_list import BASES, FAULTS, NET, Fault
from torch import Tensor

from rungs import data
from rungs.data.imageset import Source
from rungs.diagnose import examine
from rungs.evaluate.device import open_device
from rungs.recipe.toml import parse
from rungs.run.folder import RunDir
from rungs.run.record import Finding, RunRecord
from rungs.training import feed
from rungs.training.device import World
from rungs.training.options import RunOptions
from rungs.training.run import run_recipe


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """Plant the fault's data and order for the trainings inside."""
    load = data.load

    def changed(source: str, image_size: int | None = None) -> Source:
        found = load(source, image_size)
        return fault.change(found) if fault.change else found

    labels: list[Tensor] = []

    def by_class(n: int, seed: int, epoch: int) -> Tensor:
        return labels[0].argsort(stable=True)

    seen = feed.training_batches

    def watched(setup, epoch):  # type: ignore[no-untyped-def]
        labels[:] = [setup.parts.train.labels.cpu()]
        return seen(setup, epoch)

    with patch.object(data, "load", changed):
        if not fault.by_class:
            yield
            return
        with patch.object(feed, "order", by_class), patch.object(feed, "training_batches", watched):
            yield


def train(fault: Fault, folder: Path) -> RunRecord:
    """Train a fault's recipe; return its record."""
    overrides = list(fault.overrides)
    if overrides[:1] and overrides[0].startswith("own:"):
        path = folder.with_suffix(".py")
        path.write_text(NET)
        overrides[0] = f'model={{name="{path}:Net", fault="{overrides[0][4:]}"}}'
        overrides.append("optim.lr=0.02")
    recipe = parse(BASES[fault.base], fault.base, overrides)
    with planted(fault):
        return run_recipe(recipe, RunDir(folder), World(0, 1, open_device()), RunOptions())


Verdict = Literal["right", "half", "wrong", "missed"]


def judge(fault: Fault, found: tuple[Finding, ...]) -> Verdict:
    """Judge what was found of a fault."""
    names = [bool(re.fullmatch(fault.rules, finding.rule)) for finding in found]
    first = found[0] if found else None
    if first is not None and names[0]:
        return "right" if re.search(fault.cure, first.cure or "") else "half"
    if any(names):
        return "half"
    return "wrong" if any(finding.level == "warning" for finding in found) else "missed"


def main(only: str = ".", keep: Path | None = None, details: bool = False) -> None:
    """Plant the faults whose names match, and print a table of what was said of each.

    Args:
        only: A regular expression.
        keep: Keep the runs in this folder, and judge those that are there again instead of training them.
        details: Print all findings.
    """
    counts: dict[str, int] = {}
    print("| planted | first finding | its cure | |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for fault in (one for one in FAULTS if re.search(only, one.name)):
            began = time.perf_counter()
            folder = (keep or Path(temporary)) / re.sub(r"\W+", "-", fault.name)
            folder.parent.mkdir(parents=True, exist_ok=True)
            place = RunDir(folder)
            record = place.read_record() if place.record.exists() else train(fault, folder)
            found = examine(record)
            verdict = judge(fault, found)
            counts[verdict] = counts.get(verdict, 0) + 1
            title, cure = (f"{found[0].title} (`{found[0].rule}`)", found[0].cure) if found else ("-", None)
            print(f"| {fault.name} | {title} | {f'`{cure}`' if cure else '-'} | {verdict} |", flush=True)
            if details:
                for finding in found:
                    print(f"      {finding.level:8} {finding.rule}: {finding.text} [{finding.cure}]")
            print(f"{fault.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    print("\n" + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) + f" of {sum(counts.values())}")


if __name__ == "__main__":
    torch.set_num_threads(min(2, torch.get_num_threads()))
    tyro.cli(main)
