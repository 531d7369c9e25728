"""Test-time augmentation through a whole run: its record, its summary, its claims."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import pytest
import torch
from rich.console import Console
from small import run, small
from torch.nn import functional as F

from rungs.data.imageset import ImageSet
from rungs.evaluate.tta import Averaged
from rungs.report import format as fmt
from rungs.report import run_tables
from rungs.run.folder import RunDir
from rungs.run.record import RunRecord
from rungs.ship.bundle import load_weights
from rungs.training.dataset import load_dataset

SHORT = ("training.epochs=3", "training.precision=fp32", "evaluation.batch_size=64", "evaluation.tta_share=0.5")


def looked_twice(folder: Path, part: ImageSet, views: Literal["mirror", "mirror-translate"]) -> tuple[float, float]:
    """Return loss and accuracy of the saved weights, the surer half of the images seen as they are."""
    net = load_weights(folder, torch.device("cpu")).model.eval()
    x = part.at(torch.arange(len(part))).float() / 255
    with torch.no_grad():
        logits, means = net(x), Averaged(net, views)(x)
    confidences = logits.softmax(1).amax(1).tolist()
    for i in sorted(range(len(x)), key=confidences.__getitem__)[: round(len(x) / 2)]:
        logits[i] = means[i]
    right = (logits.argmax(1) == part.labels).float().mean().item()
    return F.cross_entropy(logits, part.labels).item(), right


def printed(record: RunRecord) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(run_tables.summary(record))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("views", ["mirror", "mirror-translate"])
def test_the_record_holds_a_second_look_at_the_saved_weights(
    tmp_path: Path, views: Literal["mirror", "mirror-translate"]
) -> None:
    recipe = small(*SHORT, f"evaluation.tta={views}")
    parts = load_dataset(recipe, False)[1].parts
    record = run(recipe, tmp_path)
    assert RunDir(tmp_path).read_record() == record
    for part, plain, twice in (
        (parts.validation, record.validation, record.validation_tta),
        (parts.test, record.test, record.test_tta),
    ):
        assert part is not None and plain is not None and twice is not None
        assert plain.n == twice.n == len(part) == sum(map(sum, twice.confusion))
        loss, accuracy = looked_twice(tmp_path, part, views)
        assert twice.accuracy == pytest.approx(accuracy, abs=1e-6)
        assert twice.loss == pytest.approx(loss, abs=1e-4)
        assert abs(twice.loss - plain.loss) > 1e-3  # digits are not symmetric
        assert twice.mistakes == ()


def test_without_it_a_run_is_the_same_and_its_second_look_is_none(tmp_path: Path) -> None:
    plain = run(small(*SHORT), tmp_path / "plain")
    twice = run(small(*SHORT, "evaluation.tta=mirror"), tmp_path / "twice")
    assert (plain.validation_tta, plain.test_tta) == (None, None)
    assert (twice.train, twice.validation, twice.test) == (plain.train, plain.validation, plain.test)
    assert [row.train_loss for row in twice.history] == [row.train_loss for row in plain.history]
    assert "TTA" not in printed(plain)
    text = printed(twice)
    assert twice.test_tta is not None and twice.validation_tta is not None
    for name, result in (("test", twice.test_tta), ("validation", twice.validation_tta)):
        (line,) = (line for line in text.splitlines() if f"{name} accuracy with TTA" in line)
        assert fmt.percent(result.accuracy) in line
        (line,) = (line for line in text.splitlines() if f"{name} loss with TTA" in line)
        assert fmt.loss(result.loss) in line


def test_without_a_validation_set_the_test_set_alone_is_looked_at_twice(tmp_path: Path) -> None:
    record = run(small(*SHORT, "evaluation.tta=mirror", "data.validation=0"), tmp_path)
    assert record.test_tta is not None and record.validation_tta is None


@pytest.mark.parametrize(
    ("value", "tolerance", "tta", "verdict", "agrees"),
    [
        (1.0, 0.0, "mirror", "worse", False),
        (0.0, 0.0, "mirror", "cannot tell", None),
        (0.5, 0.5, "mirror", "cannot tell", None),
        (1.0, 0.0, "none", "not measured", None),
    ],
)
def test_a_claim_of_it_is_compared_with_it(
    tmp_path: Path, value: float, tolerance: float, tta: str, verdict: str, agrees: bool | None
) -> None:
    claim = f"claims=[{{metric='test_tta_accuracy', value={value}, tolerance={tolerance}, source='a paper'}}]"
    record = run(small(*SHORT, "training.epochs=1", f"evaluation.tta={tta}", claim), tmp_path)
    (row,) = run_tables.comparisons(record)
    assert (row.metric, row.claimed) == ("test accuracy with TTA", fmt.percent(value))
    assert (row.verdict.startswith(verdict), row.agrees, row.source) == (True, agrees, "a paper")
    assert row.measured == (fmt.NOTHING if record.test_tta is None else fmt.percent(record.test_tta.accuracy))
    assert (verdict in printed(record)) == (record.test_tta is not None)
