"""All rules that read a `RunRecord`, which of them outrank others, and the finding of a sound run.

Each rule is a function of the record that returns a `Finding` or None; the other files of this package hold them by
topic.
"""

from __future__ import annotations

from collections.abc import Callable

from rungs.diagnose import evidence
from rungs.diagnose.configuration import double_softmax, early_decay, large_stem
from rungs.diagnose.curves import (
    OVERFIT_NATS,
    OVERFIT_RISE,
    UNDERFIT,
    gap,
    overfitting,
    underfitting,
    unfinished,
    unstable,
    validation_diverges,
    validation_rises,
)
from rungs.diagnose.endings import diverged, guessing, interrupted
from rungs.diagnose.evaluation_mode import evaluation_mode
from rungs.diagnose.findings import FEW_EPOCHS, loss_of, note, validated
from rungs.diagnose.label_floor import label_floor
from rungs.diagnose.learning import dead_relus, few_steps, saturated_sigmoids, slow, stuck
from rungs.diagnose.parts import other_test, parts_mismatch
from rungs.diagnose.protocol import leak, mixed_code, skipped, test_selection
from rungs.diagnose.scores import augmented_test, calibration, confused_pair, imbalance, no_validation, small_validation
from rungs.run.looks import Look, own
from rungs.run.record import Finding, RunRecord

RULES: tuple[Callable[[RunRecord], Finding | None], ...] = (
    diverged, interrupted, leak, evaluation_mode, parts_mismatch, double_softmax, dead_relus, saturated_sigmoids,
    few_steps, slow, stuck, guessing, other_test, validation_diverges, overfitting, validation_rises, underfitting,
    early_decay, unfinished, large_stem, imbalance, gap, unstable, no_validation, small_validation, confused_pair,
    calibration, augmented_test, skipped, mixed_code,
)  # fmt: skip

OF_CURVES = (
    "validation-diverges", "overfitting", "validation-rises", "underfitting", "early-decay", "unfinished", "gap",
    "unstable",
)  # fmt: skip
OF_SCORES = ("guessing", "small-validation", "confused-pair", "calibration", "augmented-test")
OF_PARTS = ("parts-mismatch", "other-test")
UNLEARNT = ("few-steps", "rate-too-small", "stuck", *OF_CURVES, *OF_PARTS, *OF_SCORES)
"""What is seen of any net that has not learnt, whatever the reason."""
STIFLED = ("saturated-sigmoids", "vanishing-gradients")
SILENCES: dict[str, tuple[str, ...]] = {
    "diverged": ("dead-relus", *STIFLED, "double-softmax", "evaluation-mode", *UNLEARNT),
    "evaluation-mode": ("few-steps", *OF_CURVES, *OF_PARTS, *OF_SCORES),
    "parts-mismatch": (*OF_CURVES, "other-test", "guessing", "confused-pair", "calibration"),
    "other-test": ("confused-pair", "calibration"),
    "double-softmax": ("saturated-sigmoids", "rate-too-small", "stuck", "unfinished", "underfitting", "calibration"),
    "saturated-sigmoids": UNLEARNT,
    "vanishing-gradients": UNLEARNT,
    "few-steps": ("rate-too-small", "stuck", *OF_CURVES, *OF_SCORES),
    "rate-too-small": ("stuck", *OF_CURVES, *OF_SCORES),
    "stuck": (*OF_CURVES, *OF_SCORES),
    "guessing": ("small-validation", "confused-pair", "calibration"),
    "validation-diverges": ("overfitting", "gap"),
    "overfitting": ("gap",),
    "early-decay": ("unfinished", "underfitting"),
    "unfinished": ("underfitting",),
    "unstable": ("unfinished",),
    "test-selection": ("no-validation",),
}
"""One fault, one finding: a rule that applies silences those that see its consequences."""


def examine(record: RunRecord, looks: tuple[Look, ...] = ()) -> tuple[Finding, ...]:
    """Return what all rules see: warnings first, then notes; before them a "good" one where all is well.

    Args:
        record: The run.
        looks: As its log has them.
    """
    seen = [finding for rule in RULES if (finding := rule(record)) is not None]
    seen += [finding] if (finding := test_selection(record, own(looks, record))) is not None else []
    silent = {name for finding in seen for name in _silenced(finding)}
    found = [finding for finding in seen if finding.rule not in silent]
    doubts = any(finding.level == "warning" or finding.rule in ("no-validation", "unstable") for finding in found)
    if record.status == "finished" and not doubts:
        found.append(_sound(record))
    return tuple(sorted(found, key=lambda finding: ("good", "warning", "note").index(finding.level)))


def _silenced(finding: Finding) -> tuple[str, ...]:
    """Return the rules that have nothing to add to a finding."""
    if finding.rule == "dead-relus":
        return UNLEARNT if finding.level == "warning" else ()
    if finding.rule == "test-selection":
        return SILENCES[finding.rule] if finding.level == "warning" else ()
    return SILENCES.get(finding.rule, ())


def _sound(record: RunRecord) -> Finding:
    """Return the finding of a finished run without a warning."""
    done, losses = len(record.history), [loss_of(row) for row in validated(record)]
    above = bool(losses) and losses[-1] > min(losses) + max(OVERFIT_NATS, OVERFIT_RISE * min(losses))
    above &= label_floor(record) == 0  # such labels make a net less confident, and so raise the loss
    if done < FEW_EPOCHS or above:
        text = f"After {'1 epoch' if done == 1 else f'{done} epochs'} the curves cannot show whether training goes well"
        text += ": the validation loss ended above its minimum, but too soon after it to say why." if above else "."
        return note(
            "few-epochs",
            "Too few epochs to judge",
            text,
            f"--set training.epochs={max(10, 2 * done)}",
            f"a run that no other rule warns of has fewer than {FEW_EPOCHS} epochs, or ends with a validation loss "
            f"{100 * OVERFIT_RISE:.0f} % and {OVERFIT_NATS:g} above its minimum",
            "a rule of thumb of ours",
            evidence.curves(record),
        )
    text = "The training loss fell smoothly, validation followed, and no rule of this report found a problem."
    modest = record.train is not None and record.train.accuracy < UNDERFIT
    if record.train is not None and modest:
        text += (
            f" Yet only {100 * record.train.accuracy:.1f} % of the training images are classified correctly: longer "
        )
        text += "training, another learning rate (rungs lr-find) or a larger net may do much better."
    return Finding(
        rule="sound",
        level="note" if modest else "good",
        title="No problem found, but room to learn" if modest else "No problem found",
        text=text,
        threshold="a run is finished, has a validation set, and no rule warns of it",
        citation="the rules of this page",
        evidence=evidence.curves(record),
    )
