"""A record at the end of a notebook's cell: the tables and figures of its page, alone and without torch."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import bench_samples
import ladder_samples
import pytest
import rate_samples
import samples
import search_samples

import rungs
from rungs.run.record import Record

ROOT = Path(__file__).parents[2]
SHOWN: dict[str, tuple[Record, tuple[str, ...], int]] = {
    "run": (samples.claimed(), ("82.94 %", "test accuracy", "44 min 23 s"), 2),
    "a run without a test score": (samples.first_epoch(), ("parameters",), 1),
    "diverged": (samples.diverged(), ("The training diverged",), 1),
    "a hundred classes": (samples.sized(100, 3), ("test accuracy",), 1),
    "score": (samples.result(10, 10000, 0.83), ("accuracy", "calibration error", "10,000"), 1),
    "ladder": (ladder_samples.diary(), ("Best on validation", "real gain", "against what it builds on"), 2),
    "search": (search_samples.usual(), ("trial",), 1),
    "range test": (rate_samples.rates(), ("rate",), 1),
    "bench": (bench_samples.bench(), ("time by phase",), 1),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_record_shows_its_table_and_its_figures(name: str) -> None:
    record, words, figures = SHOWN[name]
    shown = record._repr_html_()
    assert shown is not None and "<script" not in shown and "http" not in re.sub(r'src="[^"]*"', "", shown)
    assert all(word in shown for word in words)
    tree = ElementTree.fromstring(shown.replace("<br>", "<br/>").replace('auto">', 'auto"/>'))
    assert tree.findall(".//table/tr/td")
    pictures = [image.attrib["src"].removeprefix("data:image/svg+xml;base64,") for image in tree.iter("img")]
    assert len(pictures) >= figures
    for picture in pictures:
        assert ElementTree.fromstring(base64.b64decode(picture)).tag.endswith("svg")


def test_names_of_classes_and_files_stay_text() -> None:
    for record in (samples.odd_names(), ladder_samples.hostile(), search_samples.hostile()):
        assert "<script" not in (record._repr_html_() or "")


def test_a_part_of_a_record_shows_as_text() -> None:
    row = samples.healthy().history[0]
    assert row._repr_html_() is None


def test_a_record_read_from_its_file_shows_without_torch() -> None:
    code = (
        "import sys\n"
        "from rungs.study.ladder.record import LadderRecord\n"
        "from rungs.run.record import from_json\n"
        "record = from_json(open(sys.argv[1], 'rb').read(), LadderRecord, 'here')\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert '<table>' in record._repr_html_() and 'torch' not in sys.modules"
    )
    results = ROOT / "results" / "deep-then-regularise.json"
    done = subprocess.run([sys.executable, "-c", code, results], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_as_text_a_record_is_cut_short() -> None:
    class Printer:
        said = ""

        def text(self, words: str) -> None:
            self.said += words

    long, short = Printer(), Printer()
    samples.healthy()._repr_pretty_(long, False)
    samples.healthy().history[0]._repr_pretty_(short, False)
    assert long.said.startswith("RunRecord(") and long.said.endswith("…") and len(long.said) < 400
    assert rungs.html(samples.healthy().history[0]) is None and short.said.startswith("EpochRow(")
