"""What a folder is, whichever it is; and what is said where it is not what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import rungs

from rungs.errors import UserError
from rungs.run.folder import RunDir, numbered
from rungs.study import folders
from rungs.study.cures import diagnosis
from rungs.study.folds.record import FoldsDir
from rungs.study.ladder.record import LadderDir
from rungs.study.search.record import SearchDir

STUDIES = [kind for kind in folders.KINDS if kind is not RunDir]


@pytest.mark.parametrize("kind", folders.KINDS)
def test_a_folder_is_told_by_its_record(kind: type[folders.AnyDir], tmp_path: Path) -> None:
    assert folders.identify(tmp_path) is None
    (tmp_path / kind.name).write_text("{}")
    assert type(folders.identify(tmp_path)) is kind
    found = folders.holder(tmp_path / kind.name)
    assert type(found) is kind and found.path == tmp_path
    assert folders.holder(tmp_path / "package.json") is None


def test_every_kind_of_study_is_known() -> None:
    """A new slice is added to the list, too."""
    slices = {path.parent.name for path in (Path(folders.__file__).parent).glob("*/record.py")}
    assert {kind.__module__.split(".")[-2] for kind in STUDIES} == slices
    assert len({kind.name for kind in folders.KINDS}) == len(folders.KINDS)


@pytest.mark.parametrize("kind", folders.KINDS)
def test_a_folder_without_a_record_names_every_kind(kind: type[folders.AnyDir], tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        folders.rewrite_report(tmp_path)
    assert refused.value.where == str(tmp_path) and kind.name in refused.value.what
    assert refused.value.do is not None and kind.what in refused.value.do


@pytest.mark.parametrize("kind", folders.KINDS)
def test_the_report_of_every_kind_is_written_from_its_record(kind: type[folders.AnyDir], tmp_path: Path) -> None:
    (tmp_path / kind.name).write_text("no record")
    with pytest.raises(UserError) as refused:
        folders.rewrite_report(tmp_path)
    assert kind.name in str(refused.value.where)


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_is_no_run(kind: type[folders.AnyDir], tmp_path: Path) -> None:
    (tmp_path / kind.name).write_text("{}")
    with pytest.raises(UserError, match=f"this is {kind.what}, not a run") as refused:
        diagnosis.diagnose(tmp_path)
    assert refused.value.do
    if kind in (LadderDir, FoldsDir):  # rungs and folds can be compared
        folders.require_runs([tmp_path])
    else:
        with pytest.raises(UserError, match=f"this is {kind.what}, not a run"):
            folders.require_runs([tmp_path])


def test_compare_says_what_was_given_instead_of_a_run(tmp_path: Path) -> None:
    SearchDir(tmp_path).record.write_text("{}")
    done = rungs("compare", str(tmp_path), str(tmp_path), code=2)
    assert "this is a search, not a run" in done.stderr and "give run folders" in done.stderr


def test_a_number_behind_a_name_that_is_taken(tmp_path: Path) -> None:
    first = tmp_path / "net"
    assert numbered(first) == first
    first.mkdir()
    (tmp_path / "net-2").mkdir()
    assert numbered(first) == tmp_path / "net-3"
    assert numbered(first, taken=lambda path: path == first) == tmp_path / "net-2"
