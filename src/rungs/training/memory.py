"""Keep freed memory in the process, so that each step writes into pages that are already there.

A training step allocates and frees the same large blocks again and again. By default glibc returns blocks of this size
to the system, which clears each page once more when it is touched next. Torch is not imported here: this should happen
before its first allocation.
"""

from __future__ import annotations

import ctypes
import os
import sys

SWITCH = "RUNGS_KEEP_MEMORY"
"""Environment variable; "no" leaves memory as the system has it."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
NEVER = -1
LARGEST_KEPT = (1 << 30, 32 << 20)
"""Bytes; larger blocks, such as a whole data set, are mapped on their own and returned as soon as they are freed. glibc
before 2.35 refuses the first."""
GLIBC_SETTLES_AT = {M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20}
"""Thresholds that glibc's own rule reaches with large blocks (mallopt(3), "dynamic mmap threshold")."""


def keep_freed_memory() -> str:
    """Keep freed memory from now on, in huge pages where the system gives them to those who ask.

    Returns:
        What was done, in words.
    """
    libc = _glibc()
    if os.environ.get(SWITCH) == "no":
        return f"returned to the system when freed ({SWITCH}=no)"
    if libc is None:
        return "left to the system (no glibc)"
    if "malloc" in os.environ.get("LD_PRELOAD", ""):
        return f"left to {os.environ['LD_PRELOAD']}"
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it at its first large allocation
    libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    kept = next((size for size in LARGEST_KEPT if libc.mallopt(M_MMAP_THRESHOLD, size)), 0)
    return f"kept when freed, in blocks of up to {kept >> 20} MiB, in huge pages where possible"


def return_freed_memory() -> None:
    """Return to glibc's usual thresholds, to measure what keeping memory gains; huge pages stay."""
    libc = _glibc()
    if libc is not None and os.environ.get(SWITCH) != "no":
        for parameter, value in GLIBC_SETTLES_AT.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
