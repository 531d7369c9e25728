"""Which fields a metric hangs on, over the trials of a search."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from rungs.study.search.storage import optuna

if TYPE_CHECKING:
    from optuna import Study

FEWEST = 8
"""Trials that were trained to their end; a forest over fewer says what chance put there."""
EVALUATORS = (
    ("FanovaImportanceEvaluator", "fANOVA (Hutter, Hoos and Leyton-Brown 2014, PMLR 32:754) over {n} whole trials"),
    ("PedAnovaImportanceEvaluator", "PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255) over {n} whole trials"),
)


def importance(study: Study, fields: int) -> tuple[dict[str, float], str]:
    """Return each field's share of what the fields explain of the metric's variance, and how it was estimated.

    Args:
        study: The search.
        fields: How many it varies.

    Returns:
        ({}, why not) where too few trials, or one field alone, say nothing.
    """
    package = optuna()
    whole = study.get_trials(deepcopy=False, states=(package.trial.TrialState.COMPLETE,))
    if fields < 2:
        return {}, "one field alone explains all"
    if len(whole) < FEWEST:
        return {}, f"{len(whole)} whole trials are too few to say: {FEWEST} are needed"
    for name, words in EVALUATORS:
        with suppress(ValueError, RuntimeError, ZeroDivisionError):
            made = getattr(package.importance, name)
            evaluator = made(seed=0) if name.startswith("Fanova") else made()
            found = package.importance.get_param_importances(study, evaluator=evaluator)
            total = sum(found.values())
            if total > 0:
                return {field: float(share / total) for field, share in found.items()}, words.format(n=len(whole))
    return {}, "all whole trials have about the same value"
