"""The records of the trainings in `diagnose/test_real_runs.py`, without their pictures."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from rungs.run.record import RunRecord, from_json, to_json
from rungs.study.measures import system

FILE = Path(__file__).with_name("faulty_records.json.gz")
KEEP = "RUNGS_KEEP_FAULTY_RECORDS"
"""Set by `make_faulty_records.py`."""


def key(overrides: Sequence[str]) -> str:
    """Return the overrides as one text, folders without where they lie."""
    return re.sub(r"folder:[^\"]*/", "folder:", " ".join(overrides))


def read() -> dict[str, RunRecord]:
    """Return the records that are kept."""
    raw = msgspec.json.decode(gzip.decompress(FILE.read_bytes()), type=dict[str, msgspec.Raw])
    return {name: from_json(bytes(record), RunRecord, FILE) for name, record in raw.items()}


def write(records: Mapping[str, RunRecord]) -> None:
    """Keep these records alone, in a file that is the same for the same records."""
    raw = {name: msgspec.Raw(_without_folders(to_json(_bare(records[name])))) for name in sorted(records)}
    FILE.write_bytes(gzip.compress(msgspec.json.encode(raw), mtime=0))


def _bare(record: RunRecord) -> RunRecord:
    """Leave out the pictures and predictions of single images, which no rule reads, and the kernel's build."""
    parts = {name: getattr(record, name) for name in ("train", "validation", "test", "validation_tta", "test_tta")}
    bare = {name: replace(part, mistakes=(), per_image=None) for name, part in parts.items() if part is not None}
    environment = replace(record.environment, platform=system(record.environment.platform))
    return replace(record, environment=environment, **bare)


def _without_folders(record: bytes) -> bytes:
    """Cut absolute paths to their base names, so that a record does not tell where it was made."""
    return re.sub(rb'"(folder:)?/[^"]*/', rb'"\1', record)
