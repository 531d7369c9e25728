"""Worker processes: their number, their threads, and their end with the parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

from rungs.errors import UserError

CONTEXT = multiprocessing.get_context("spawn")  # a forked torch hangs
MOST_JOBS = 4
"""By default: each job holds its own copy of the data."""


def threads_each(jobs: int, threads: int) -> int:
    """Return each worker's share of the threads."""
    return max(1, threads // max(1, jobs))


def share_threads(jobs: int) -> None:
    """Limit this process to its share of the threads."""
    import torch

    torch.set_num_threads(threads_each(jobs, torch.get_num_threads()))


def follow_parent() -> None:
    """End this process when its parent is gone, so that no orphaned worker keeps training."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)  # for a running step
        os._exit(1)


def require_alone(command: str) -> None:
    """Refuse several ranks of `torchrun` for what trains in one process, or starts its own.

    Raises:
        UserError: There are several ranks.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise UserError(
            f"{command} cannot run on several ranks", where="torchrun", do=f"run it alone: rungs {command} …"
        )


def require_startable(command: str) -> None:
    """Refuse a script that would start this again in each of its workers, or on each rank.

    Args:
        command: "climb" or "tune".

    Raises:
        UserError: It would.
    """
    # Python itself checks this before it starts a process
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        what = f"a worker of this {command} imported your script and called {command}() again"
        raise UserError(what, where=f"rungs.{command}", do=f'call {command}() under  if __name__ == "__main__":')
    require_alone(command)
