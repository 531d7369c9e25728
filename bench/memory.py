"""What does keeping freed memory gain, and would another allocator gain more? Steps of a recipe in fresh processes.

A step frees and allocates the same large blocks again and again. `system` is glibc as it is, which returns them to the
system; `kept` is what `rungs` does (`rungs.training.memory`). The others leave glibc's settings alone: `tunables` are
glibc's own from its environment, jemalloc and mimalloc are preloaded where they are installed (on Debian: libjemalloc2,
libmimalloc2.0). All except `system` ask for huge pages. The ratio is the system's time over theirs, in the same round:
above 1 it is faster.

    python bench/memory.py speedrun-94 --steps 3 --rounds 3
"""

from __future__ import annotations

import ctypes.util
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import torch
import tyro
from common import compared, keep, sentences

from rungs.errors import UserError, require_between
from rungs.recipe.toml import load
from rungs.study.bench.phases import train_on, training_feed
from rungs.training.dataset import load_dataset
from rungs.training.device import World, cores, device_name, peak_memory_bytes
from rungs.training.memory import SWITCH, keep_freed_memory
from rungs.training.setup import assemble

CPU = torch.device("cpu")
WARM_UP = 6
"""Steps before those that are measured: until then a step still touches new pages."""
AS_IT_IS, HUGE = {SWITCH: "no"}, {"THP_MEM_ALLOC_ENABLE": "1"}
TUNABLES = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592"
NEVER_PURGED = "oversize_threshold:1,background_thread:true,dirty_decay_ms:-1,muzzy_decay_ms:-1"
"""As torch's tuning guide sets jemalloc for a CPU, with memory never returned instead of after months."""
SETTINGS: dict[str, dict[str, str]] = {
    "system": AS_IT_IS,
    "kept": {},
    "tunables": {**AS_IT_IS, "GLIBC_TUNABLES": TUNABLES},
    "jemalloc": {**AS_IT_IS, **HUGE, "LD_PRELOAD": "jemalloc"},
    "jemalloc, never purged": {**AS_IT_IS, **HUGE, "LD_PRELOAD": "jemalloc", "MALLOC_CONF": NEVER_PURGED},
    "mimalloc": {**AS_IT_IS, **HUGE, "LD_PRELOAD": "mimalloc"},
}
"""Name -> environment of the process; of LD_PRELOAD the library's bare name."""


def installed() -> dict[str, dict[str, str]]:
    """Return the settings whose library is found, with its file name."""
    found = {}
    for name, environment in SETTINGS.items():
        bare = environment.get("LD_PRELOAD")
        library = ctypes.util.find_library(bare) if bare else None
        if bare and library is None:
            print(f"{name}: not measured, lib{bare} is not installed")
        else:
            found[name] = {**environment, **({"LD_PRELOAD": library} if library else {})}
    return found


def take_steps(recipe: str, data: str, steps: int) -> dict[str, float]:
    """Return the median milliseconds of a step and the peak memory of this process."""
    library = os.environ.get("LD_PRELOAD", "")
    if library and library not in Path("/proc/self/maps").read_text():  # the loader goes on without what it cannot load
        raise UserError(f"{library} was not loaded", where="LD_PRELOAD", do="check the installation")
    keep_freed_memory()
    chosen, dataset = load_dataset(load(recipe, [f"data.source={json.dumps(data)}"]), False)
    setup = assemble(chosen, dataset, World(0, 1, CPU))
    setup.trained.train()
    feed, times = training_feed(setup, chosen.training.batch_size), []
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        train_on(setup, feed)
        times.append(time.perf_counter() - began)
    return {"ms": 1e3 * statistics.median(times[WARM_UP:]), "peak_mb": peak_memory_bytes(CPU) / 1e6}


def fresh(recipe: str, data: str, steps: int, environment: dict[str, str]) -> dict[str, float]:
    """Take the steps in a new process."""
    command = [sys.executable, __file__, recipe, "--data", data, "--steps", str(steps), "--here"]
    plain = {name: value for name, value in os.environ.items() if name not in ("GLIBC_TUNABLES", "LD_PRELOAD")}
    done = subprocess.run(command, env={**plain, **environment}, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(
    recipe: Annotated[str, tyro.conf.Positional] = "speedrun-94",
    data: str = "cifar10",
    steps: int = 3,
    rounds: int = 3,
    here: bool = False,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure and print a row for each setting.

    Args:
        recipe: Whose steps to take; lab-003 is the other one to try.
        data: Source of images.
        steps: Measured steps of a process, after six.
        rounds: Fresh processes of each setting, in alternation.
        here: Take the steps in this process and print the figures (used by the script itself).
        json_path: Also write the figures here.
    """
    require_between(steps, 1, 1000, "--steps")
    require_between(rounds, 1, 100, "--rounds")
    if here:
        print(json.dumps(take_steps(recipe, data, steps)))
        return
    load(recipe)  # report a wrong one before the first process
    settings = installed()
    ms: dict[str, list[float]] = {name: [] for name in settings}
    peak_mb: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(rounds):
        for name, environment in settings.items():
            figures = fresh(recipe, data, steps, environment)
            ms[name].append(figures["ms"])
            peak_mb[name].append(figures["peak_mb"])
    machine = f"{device_name(CPU)}, {torch.get_num_threads()} of {cores()} cores, torch {torch.__version__}"
    print(f"{recipe} on {machine}, n = {rounds} processes each")
    rows = {}
    for name in settings:
        row = compared(ms[name], ms["system"], "system / this")
        rows[name] = {**row, "ms": ms[name], "peak_mb": peak_mb[name]}
        typical, most = statistics.median(ms[name]), max(peak_mb[name])
        print(f"{name}: {typical:.0f} ms a step, {row['system / this']} times {row['range']}, at most {most:,.0f} MB")
    result = {"machine": machine, "date": time.strftime("%Y-%m-%d"), "recipe": recipe, "steps": steps, "n": rounds}
    keep({**result, "settings": rows}, json_path)


if __name__ == "__main__":
    with sentences():
        tyro.cli(main)
