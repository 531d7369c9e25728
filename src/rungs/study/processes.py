"""Worker processes: how many, with how many threads, and that they end with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

from rungs.errors import UserError

CONTEXT = multiprocessing.get_context("spawn")  # a forked torch hangs
MOST_JOBS = 4
"""By default: each job holds its own copy of the data."""
JOBS_ALLOWED = 64


def default_jobs() -> int:
    """Return how many cells to train at once: small nets leave cores idle that a cell beside them can use."""
    import torch

    return 1 if torch.cuda.is_available() else min(torch.get_num_threads(), MOST_JOBS)


def share_threads(jobs: int) -> None:
    """Let this process use its share of the threads that it would use alone."""
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // max(1, jobs)))


def follow_parent() -> None:
    """End this process when its parent is gone, so that nobody trains for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)  # for a step that is under way
        os._exit(1)


def require_startable(*numbers: tuple[str, int, int, int], what: str = "climb") -> None:
    """Refuse what would start itself again in each of its workers, or on each rank, and numbers out of range.

    Args:
        numbers: Flag, its number, the smallest and the largest allowed.
        what: A climb, or a tune.

    Raises:
        UserError: It is one of these.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # what Python itself asks before it starts one
        said = f"a worker of a {what} read your script again and came to its {what}(…)"
        do = 'put what starts the climb under  if __name__ == "__main__":'.replace("climb", what)
        raise UserError(said, where=f"rungs.{what}", do=do)
    if "WORLD_SIZE" in os.environ:
        raise UserError(f"a {what} starts its own processes", where="torchrun", do=f"start it alone: rungs {what} …")
    for flag, number, least, most in numbers:
        if not least <= number <= most:
            raise UserError(f"{number} is not from {least} to {most}", where=flag, do="give a number between these")
