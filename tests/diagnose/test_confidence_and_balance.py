"""What the rules of calibration and imbalance say where a temperature or balanced classes already help."""

from __future__ import annotations

import samples
from msgspec.structs import replace

from rungs.diagnose.scores import calibration, imbalance
from rungs.run.record import Scaled


def test_a_temperature_that_calibrates_leaves_nothing_to_cure() -> None:
    record = samples.overfitting()
    assert record.test is not None
    for error, cure, words in ((0.012, None, "leaves 1.2 points: nothing is left to do"), (0.085, True, "8.5 points.")):
        after = Scaled(temperature=1.7, loss=0.5, calibration_error=error, calibration=record.test.calibration)
        found = calibration(replace(record, test=replace(record.test, scaled=after)))
        assert found is not None and (found.cure is not None) == bool(cure)
        assert "temperature 1.70" in found.text and words in found.text


def test_an_absent_rare_class_has_no_recall_to_tell() -> None:
    record = samples.imbalanced()
    assert record.test is not None
    table = (*record.test.confusion[:9], (0,) * 10)
    found = imbalance(replace(record, test=replace(record.test, confusion=table)))
    assert found is not None and found.level == "note" and "recognised" not in found.text
    assert found.cure == "--set data.balance=sampling"
