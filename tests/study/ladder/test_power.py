"""What a dry run says that the seeds can find."""

from __future__ import annotations

from pathlib import Path

import pytest
from ladder_samples import diary

from rungs.run.folder import write_whole
from rungs.run.record import to_json
from rungs.study.ladder.climb import prepare
from rungs.study.ladder.options import ClimbOptions
from rungs.study.ladder.power import findable


def test_before_anything_is_trained_other_recipes_say_how_far_seeds_move_a_run(tmp_path: Path) -> None:
    plan = prepare(ClimbOptions("first-cnn", folder=tmp_path))
    words = findable(plan)
    assert words.startswith("With 3 seeds and 11 changes, a look finds differences above about 5.2 points (80 % power")
    assert "seed sd taken as 0.92 points, as of measured recipes at 70 %" in words and "with 5 seeds above" in words


def test_cells_trained_so_far_are_a_pilot(tmp_path: Path) -> None:
    plan = prepare(ClimbOptions("first-cnn", folder=tmp_path, seeds=20))
    write_whole(plan.folder.record, to_json(diary()))
    words = findable(plan)
    sd = float(words.partition("seed sd ")[2].partition(" points")[0])
    assert sd == pytest.approx(0.3, rel=0.4)  # `ladder_samples.cell` draws with it
    assert "of the cells trained so far" in words and words.endswith(").")  # no look after 20 seeds


def test_a_single_rung_has_nothing_to_find(tmp_path: Path) -> None:
    assert findable(prepare(ClimbOptions("speedrun", folder=tmp_path))) == ""
