"""The report of a search: one HTML file that needs no network, and its figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rungs.recipe import toml as recipes
from rungs.report import format as fmt
from rungs.report import metric as report_metric
from rungs.report.page import Drawing, compact, lay_out
from rungs.run.looks import openings, read
from rungs.run.record import Estimate
from rungs.study.ladder import words as ladder_words
from rungs.study.search import axes as along
from rungs.study.search import finalists as search_finalists
from rungs.study.search import history as search_figures
from rungs.study.search import parallel as search_parallel
from rungs.study.search import slices as search_slices
from rungs.study.search import words as facts
from rungs.study.search.record import SearchDir, SearchRecord
from rungs.study.search.space import Field

CITATIONS = {
    "tpe": "TPE, the tree-structured Parzen estimator, models where good and where other trials lie and tries what is "
    "likelier among the good: Bergstra, Bardenet, Bengio and Kégl 2011, Algorithms for Hyper-Parameter Optimization, "
    "NeurIPS 24.",
    "random": "Random search: Bergstra and Bengio 2012, Random Search for Hyper-Parameter Optimization, JMLR 13:281.",
    "gp": "Gaussian processes: Snoek, Larochelle and Adams 2012, Practical Bayesian Optimization of Machine Learning "
    "Algorithms, arXiv:1206.2944.",
    "median": "Median pruning ends a trial whose best value so far is worse than the median of the others at the same "
    "epoch: Golovin et al. 2017, Google Vizier, doi:10.1145/3097983.3098043.",
    "hyperband": "Hyperband gives many trials few epochs and the best of them more: Li et al. 2018, JMLR 18(185), "
    "arXiv:1603.06560.",
}
"""Of samplers and pruners, by a word of their names."""
OPTUNA = "Optuna asks for the values and keeps the trials: Akiba et al. 2019, arXiv:1907.10902."
FANOVA = "Functional analysis of variance (fANOVA): Hutter, Hoos and Leyton-Brown 2014, ICML."
OPTIMISM = (
    "The best of many noisy results looks better than it is (the winner's curse), and the more one tries, the more so: "
    "Cawley and Talbot 2010, On Over-fitting in Model Selection, JMLR 11:2079. So the best few are retrained with "
    "seeds that the search has not seen, and the recipe as it was beside them; intervals are Student's t over these "
    "seeds, 95 %, and differences are taken in pairs of equal seeds, corrected after Holm for all of them."
)
BEST_MEAN = (
    "The winner is the best of a few means of re-runs, so its own mean is still slightly optimistic; its test score, "
    "by which nothing was chosen, is not."
)


def write(record: SearchRecord, folder: SearchDir) -> Path:
    """Write the page of a search from its record and its log of looks, and return its path."""
    facts = _facts(record, openings(read(folder.looks)))
    return lay_out("rungs.study.search/page.html", facts, _drawn(record), folder.report)


def _drawn(record: SearchRecord) -> Iterator[Drawing]:
    """Yield the figures; none that would be empty."""
    metric, n = report_metric.metric_words(record.metric), fmt.many(len(record.trials), "trial")
    if record.finalists:
        alt = f"{metric} of {fmt.many(len(record.finalists), 'finalist')}, in the search and retrained"
        yield Drawing("finalists", f"{alt}; the table below has the numbers", search_finalists.finalists(record))
    if facts.of_state(record, "complete", "pruned"):
        alt = f"{metric} of {n} in their order; the table of all trials has the numbers"
        yield Drawing("history", alt, search_figures.history(record))
    if any(value is not None for trial in record.trials for value in trial.curve):
        yield Drawing("learning-curves", f"{metric} of {n} over the epochs", search_figures.learning_curves(record))
    if record.importance:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in record.importance.items())
        yield Drawing("importance", f"Importance of the fields: {shares}", search_figures.importance(record))
    if not facts.of_state(record, "complete", "pruned"):
        return
    fields = ", ".join(field.field for field in record.space.fields)
    yield Drawing("slices", f"{metric} of {n} over each of {fields}", search_slices.slices(record))
    if search_slices.pairs(record) and len(search_slices.pairable(record)) >= 2:
        pairs = "; ".join(f"{a.field} and {b.field}" for a, b in search_slices.pairs(record))
        yield Drawing("pairs", f"{metric} over pairs of fields: {pairs}", search_slices.over_pairs(record))
    yield Drawing("parallel", f"{n} as lines through the values of {fields}", search_parallel.parallel(record))


def _facts(record: SearchRecord, opened: int = 0) -> dict[str, Any]:
    """Return all that the template fills in.

    Args:
        record: The search.
        opened: How often its test set was opened, by the log of looks; 0 where there is none.
    """
    scales = along.scales(record)
    return {
        "record": record,
        "facts": facts,
        "verdict": facts.lead(facts.verdict(record)),
        "merits": list(_merits(record, opened)),
        "test_words": test_words(record, opened),
        "shown": along.shown,
        "scales": scales,
        "lettered": [scale for scale in scales if along.lettered(scale)],
        "ranges": [(field.field, range_words(field)) for field in record.space.fields],
        "trials": facts.ranked(record),
        "in_finals": facts.finalist_trials(record),
        "training": facts.train_command(record),
        "cell_words": "median"
        if any(s.kind == "choices" for pair in search_slices.pairs(record) for s in pair)
        else "",
        "dots": any("choices" not in (a.kind, b.kind) for a, b in search_slices.pairs(record)),
        "method": list(_method(record)),
        "signs": ladder_words.SIGNS,
        "toml": compact(recipes.to_toml(record.recipe)),
    }


def _merits(record: SearchRecord, opened: int) -> Iterator[tuple[str, str, str]]:
    """Yield name, number and a remark: what a person looks for first."""
    tally = facts.counted(record)
    yield "trials complete", str(tally["complete"]), facts.state_words(record, facts.STATES[1:]) or "none pruned"
    yield "time", fmt.seconds(record.train_s), f"training of all workers{_lasted(record)}"
    named = facts.winner(record)
    if named is not None:
        words = f"{named.name}, mean of {fmt.many(named.rerun.n, 'fresh seed')}"
        yield (
            "winner, retrained",
            facts.value(record, named.rerun.mean),
            _with_interval(words, facts.estimate_bounds(record, named.rerun)),
        )
    elif (top := facts.best(record)) is not None:
        yield "best trial", facts.value(record, top.value), f"trial {top.number}; optimistic: not retrained"
    promising = facts.most_promising(record)
    if promising is not None and promising.optimism is not None:
        words = f"of the best trial's value ({promising.name})"
        number = facts.difference(record, promising.optimism.mean)
        yield "optimism", number, _with_interval(words, facts.difference_bounds(record, promising.optimism))
    if record.test is not None:
        yield (
            "test accuracy",
            fmt.percent(record.test.mean),
            _with_interval(test_words(record, opened), _test_bounds(record.test)),
        )
    else:
        yield "test accuracy", fmt.NOTHING, test_words(record, opened)


def test_words(record: SearchRecord, opened: int) -> str:
    """Say how often the test set was opened, by the log of looks where there is one."""
    if opened > 1:
        return f"the test set was opened {opened} times in this search: its score is no longer fresh"
    if record.test is not None:
        return "the test set was opened once, after the winner was named"
    return "the test set was opened, though no score of it is here" if opened else "the test set is closed"


def _with_interval(words: str, interval: str) -> str:
    return f"{words}; 95 % interval {interval}" if interval else words


def _test_bounds(test: Estimate) -> str:
    return report_metric.bounds("test_accuracy", test.low, test.high)


def _lasted(record: SearchRecord) -> str:
    """Return ", within 2 h 44 min", from the first start to the record; "" where it is not known."""
    try:
        started, finished = (datetime.fromisoformat(when) for when in (record.started, record.finished))
        return f", within {fmt.seconds((finished - started).total_seconds())}"
    except (ValueError, TypeError):
        return ""


def range_words(field: Field) -> str:
    """Return what a search tries of a field, in words; "" where it is a list of choices."""
    if field.choices or field.low is None or field.high is None:
        return ""
    words = f"{along.text(field.low)} to {along.text(field.high)}"
    whole = isinstance(field.low, int) and isinstance(field.high, int)
    notes = ["whole numbers"] if whole else []
    notes += ["logarithmic"] if field.log else []
    notes += [f"in steps of {along.text(field.step)}"] if field.step is not None else []
    return ", ".join([words, *notes])


def _method(record: SearchRecord) -> Iterator[str]:
    """Say how the search was made and judged, only as far as this record has it."""
    metric, monitor = (report_metric.metric_words(w) for w in (record.metric, record.recipe.stopping.monitor))
    yield (
        f"Every trial was trained with the recipe's seed, {record.recipe.seed}; its value is the {metric} at the "
        f"epoch that its {monitor} chose, and of a pruned trial at the one chosen until then. No value "
        "is of the test set."
    )
    yield OPTUNA
    told = f"{record.sampler} {record.pruner}".lower().replace("-", " ").split()
    yield from (words for name, words in CITATIONS.items() if name in told or name in {w[: len(name)] for w in told})
    if record.importance:
        yield (
            f"Importance was estimated by {record.importance_by or 'the search'}. It holds for these ranges alone: a "
            "field that was varied little seems to matter little."
        )
        if record.importance_by.lower().startswith("fanova") and "Hutter" not in record.importance_by:
            yield FANOVA
    yield OPTIMISM
    if len(record.finalists) > 1:
        yield BEST_MEAN
    taken = [trial for trial in record.trials if trial.takes_up is not None]
    if taken:
        yield f"{fmt.many(len(taken), 'trial')} took up the values of one whose worker had stopped or died."
