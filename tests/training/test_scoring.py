"""The temperature that is stored with a run, and why there is none."""

from __future__ import annotations

import torch

from rungs.training.scoring import _temperature


def test_the_reason_why_no_temperature_was_fitted_is_the_one_that_holds() -> None:
    logits, labels = torch.eye(3).repeat(60, 1), torch.arange(3).repeat(60)
    fitted, reason = _temperature(logits, labels)
    assert fitted != 1.0 and reason == "fitted on 180 validation images"
    assert _temperature(logits[:99], labels[:99]) == (1.0, "not fitted: 99 validation images, and it takes 100")
    logits[4, 1] = torch.inf
    reason = "not fitted: the net's outputs for some validation images are not finite"
    assert _temperature(logits, labels) == (1.0, reason)
