"""The command that retrains a run with one change."""

from __future__ import annotations

import shlex

from rungs.recipe import toml as recipes
from rungs.run.record import RunRecord


def command(record: RunRecord, cure: str, run: str = "RUN") -> str:
    """Return a cure as a complete command.

    Args:
        record: The run.
        cure: The cure of one of its findings.
        run: The run's folder; "RUN" stands in for it.
    """
    if not cure.startswith("--"):
        return cure
    run = run if run == "RUN" else shlex.quote(run)
    if cure.startswith("--resume"):
        return f"rungs train {run}/recipe.toml --out {run} {cure}"
    recipe = record.recipe
    if recipe.name not in recipes.shipped() or record.changed:
        return f"rungs train {run}/recipe.toml {cure}"
    usual, words = recipes.load(recipe.name), ["rungs", "train", recipe.name]
    words += ["--data", recipe.data.source] if recipe.data.source != usual.data.source else []
    words += ["--seed", str(recipe.seed)] if recipe.seed != usual.seed else []
    return f"{shlex.join(words)} {cure}"
