"""Work on many files at once."""

from __future__ import annotations

import os
import threading
import time

import pytest

from rungs.data.parallel import in_parallel


def threads_used(items: int = 24) -> int:
    def work(_: int) -> int:
        time.sleep(0.002)
        return threading.get_ident()

    return len(set(in_parallel(work, range(items))))


def test_results_come_in_order() -> None:
    def slow_first(i: int) -> int:
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    assert list(in_parallel(slow_first, range(50))) == [i * i for i in range(50)]


def test_no_more_threads_than_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5}, raising=False)
    assert threads_used() == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 4, 5}, raising=False)
    assert 1 < threads_used() <= 3


def test_where_no_affinity_is_known_the_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads_used() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert threads_used() == 2
