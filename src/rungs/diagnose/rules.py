"""All rules that read a `RunRecord`, which of them outrank others, and the finding of a sound run.

Each rule is a function of the record that returns a `Finding` or None; the other files of this package hold them by
topic.
"""

from __future__ import annotations

from collections.abc import Callable

from rungs.diagnose.configuration import double_softmax, early_decay, large_stem
from rungs.diagnose.curves import gap, underfitting, unfinished, unstable
from rungs.diagnose.endings import diverged, guessing, interrupted
from rungs.diagnose.evaluation_mode import evaluation_mode
from rungs.diagnose.few_images import few_images
from rungs.diagnose.held_out import absent_class, augmented_validation, near_copies, small_images
from rungs.diagnose.labels import label_noise
from rungs.diagnose.learning import dead_relus, few_steps, saturated_sigmoids, slow, stuck, too_fast
from rungs.diagnose.mirrors import mirrored_symbols
from rungs.diagnose.momentum import momentum
from rungs.diagnose.order import unshuffled
from rungs.diagnose.overfitting import overfitting, validation_diverges, validation_rises
from rungs.diagnose.pace import large_eps, long_warm_up, rising_rate, stopped_early
from rungs.diagnose.parts import other_test, parts_mismatch
from rungs.diagnose.protocol import leak, mixed_code, skipped, test_selection
from rungs.diagnose.regularisation import regularised, strong_augmentation
from rungs.diagnose.scores import augmented_test, calibration, confused_pair, imbalance, no_validation, small_validation
from rungs.diagnose.sound import sound
from rungs.diagnose.weights import lopsided_weights
from rungs.run.looks import Look, own
from rungs.run.record import Finding, RunRecord

RULES: tuple[Callable[[RunRecord], Finding | None], ...] = (
    unshuffled, momentum, regularised, strong_augmentation, large_eps, long_warm_up, rising_rate, lopsided_weights,
    diverged, interrupted, leak, near_copies, absent_class, augmented_validation, evaluation_mode, parts_mismatch,
    label_noise, small_images, stopped_early, double_softmax, dead_relus, saturated_sigmoids, too_fast, few_steps,
    slow, stuck, imbalance, few_images, guessing, other_test, validation_diverges, overfitting, validation_rises,
    underfitting, early_decay, unfinished, large_stem, mirrored_symbols, gap, unstable, no_validation,
    small_validation, confused_pair, calibration, augmented_test, skipped, mixed_code,
)  # fmt: skip
"""In the order in which their findings are shown: settings that explain all the rest, then faults of the data, then
what the curves and scores show."""

OF_CURVES = (
    "validation-diverges", "overfitting", "validation-rises", "underfitting", "early-decay", "unfinished", "gap",
    "unstable",
)  # fmt: skip
OF_SCORES = ("label-noise", "guessing", "small-validation", "confused-pair", "calibration", "augmented-test")
OF_PARTS = ("parts-mismatch", "other-test")
UNLEARNT = ("rate-too-large", "few-steps", "rate-too-small", "stuck", *OF_CURVES, *OF_PARTS, *OF_SCORES)
"""What is seen of any net that has not learnt, whatever the reason."""
STIFLED = ("saturated-sigmoids", "vanishing-gradients")
WEAK = ("diverged", "dead-relus", *STIFLED, "double-softmax", "evaluation-mode", *UNLEARNT)
"""What is seen of a net that a setting keeps from learning, whatever the setting."""
SILENCES: dict[str, tuple[str, ...]] = {
    "unshuffled": ("momentum", "regularised", "strong-augmentation", *WEAK),
    "momentum": WEAK,
    "regularised": WEAK,
    "strong-augmentation": WEAK,
    "large-eps": WEAK,
    "long-warm-up": WEAK,
    "rising-rate": WEAK,
    "class-weights": (*WEAK, "imbalance"),
    "augmented-validation": ("label-noise", *OF_CURVES, *OF_PARTS, "guessing"),
    "label-noise": ("underfitting", "unfinished", "validation-rises", "confused-pair"),
    "small-images": ("underfitting", "unfinished", "label-noise"),
    "stopped-early": ("unfinished", "underfitting", "unstable"),
    "augmented-test": ("mirrored-symbols",),
    "diverged": ("dead-relus", *STIFLED, "double-softmax", "evaluation-mode", *UNLEARNT),
    "evaluation-mode": ("few-steps", *OF_CURVES, *OF_PARTS, *OF_SCORES),
    "parts-mismatch": (*OF_CURVES, "other-test", "guessing", "confused-pair", "calibration"),
    "other-test": ("confused-pair", "calibration"),
    "double-softmax": ("saturated-sigmoids", "rate-too-small", "stuck", "unfinished", "underfitting", "calibration"),
    "saturated-sigmoids": UNLEARNT,
    "vanishing-gradients": UNLEARNT,
    "dead-relus": UNLEARNT,
    "too-few-to-tell": ("small-validation",),
    "rate-too-large": ("few-steps", "rate-too-small", "stuck", *OF_CURVES, *OF_SCORES),
    "few-steps": ("rate-too-small", "stuck", *OF_CURVES, *OF_SCORES),
    "rate-too-small": ("stuck", *OF_CURVES, *OF_SCORES),
    "stuck": (*OF_CURVES, *OF_SCORES),
    "guessing": ("small-validation", "confused-pair", "calibration"),
    "validation-diverges": ("overfitting", "gap"),
    "overfitting": ("gap",),
    "early-decay": ("unfinished", "underfitting"),
    "unfinished": ("underfitting",),
    "unstable": ("unfinished",),
    "imbalance": ("guessing",),
    "test-selection": ("no-validation",),
}
"""One fault, one finding: a rule that applies silences those that see its consequences."""
ONLY_AS_WARNINGS = ("dead-relus", "label-noise", "regularised", "test-selection")
"""A note of theirs explains nothing, and so silences nothing."""


DOUBTS = ("label-noise", "no-validation", "unstable")
"""Notes of runs that are not called good."""


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
    doubts = any(finding.level == "warning" or finding.rule in DOUBTS for finding in found)
    unjudged = record.folds is not None and record.validation is None  # trained on all images
    if record.status == "finished" and not doubts and not unjudged:
        verdict = sound(record)
        found = [verdict, *(finding for finding in found if finding.rule not in _silenced(verdict))]
    return tuple(sorted(found, key=lambda finding: ("good", "warning", "note").index(finding.level)))


def _silenced(finding: Finding) -> tuple[str, ...]:
    """Return the rules that have nothing to add to a finding."""
    if finding.rule in ONLY_AS_WARNINGS and finding.level != "warning":
        return ()
    return SILENCES.get(finding.rule, ())
