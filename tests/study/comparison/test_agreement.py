"""`rungs climb` and `rungs compare` say the same of the same runs: difference, interval and p."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import draw_photos

from rungs import climb
from rungs.study.comparison.candidates import read_candidates
from rungs.study.comparison.pairs import compare
from rungs.study.ladder.record import LadderRecord

BASE = """
name = "tiny"
[data]
source = "{source}"
image_size = 16
{split}
[model]
name = "plain"
stages = [[4], [8]]
hidden = [16]
[optim]
name = "adamw"
lr = 0.01
[training]
epochs = 1
batch_size = 20
[evaluation]
mistakes = 0
score_test = false
"""
LADDER = """
name = "agreement"
about = "Three rungs, so that they share what seeds do."
base = "tiny.toml"
builds_on = "base"
seeds = 3
rungs = [
  { name = "first", about = "As it is." },
  { name = "slow", about = "A small rate.", set = ["optim.lr=0.0005"] },
  { name = "wide", about = "Twice the channels.", set = ["model.stages=[[8], [16]]"] },
]
"""


def climbed(folder: Path, source: str, split: str) -> tuple[LadderRecord, Path]:
    (folder / "tiny.toml").write_text(BASE.format(source=source, split=split))
    (folder / "ladder.toml").write_text(LADDER)
    out = folder / "climb"
    return climb(folder / "ladder.toml", folder=out, jobs=0), out


@pytest.mark.undrawn
@pytest.mark.parametrize("shared", [False, True], ids=["each seed its own images", "all seeds the same images"])
def test_both_commands_give_one_answer(tmp_path: Path, shared: bool) -> None:
    source, split = "digits", "train = 300\nvalidation = 100"
    if shared:
        source, split = f"folder:{tmp_path / 'photos'}", ""
        draw_photos(tmp_path / "photos" / "train", per_class=30)
        draw_photos(tmp_path / "photos" / "val", per_class=20, seed=1)
    record, out = climbed(tmp_path, source, split)
    hashes = {cell.hashes["validation"] for rung in record.rungs for cell in rung.cells}
    assert (len(hashes) == 1) == shared
    for rung in record.rungs[1:]:
        (pair,) = compare(read_candidates([f"{out}:first", f"{out}:{rung.name}"]), "rungs compare").pairs
        part, found = pair.parts[0], rung.difference
        assert found is not None and part.part == "validation" and part.seed_from == "ladder"
        assert (found.n, found.mean) == (part.pairs, pytest.approx(part.difference))
        assert found.p == pytest.approx(part.p)
        assert (found.low, found.high) == pytest.approx(part.interval)
        assert (part.images_se > 0) == shared  # else their luck is in the variation of the pairs
    assert record.looks == (3,) and record.margin == 0.01
