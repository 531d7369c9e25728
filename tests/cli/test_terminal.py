"""What commands print, in a pipe."""

from __future__ import annotations

import pytest
from rich.table import Column, Table

from rungs.cli.terminal import out, print_unfolded


def test_a_row_stays_on_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    path, width = "folder/" * 40 + "photo.png", out.width
    table = Table(Column("file", overflow="fold"), "note", box=None)
    table.add_row(path, "smaller than the net's input")
    print_unfolded(table)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "photo.png" in line)
    assert path in line
    assert "smaller than the net's input" in line
    assert out.width == width
