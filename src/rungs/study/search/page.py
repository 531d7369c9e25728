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
from rungs.study.ladder import words as ladder_words
from rungs.study.search import axes, finalists, history, parallel, slices
from rungs.study.search import words as search_words
from rungs.study.search.record import SearchDir, SearchRecord
from rungs.study.search.space import Field
from rungs.study.search.verdict import current

CITATIONS = {
    "tpe": "TPE, the tree-structured Parzen estimator, models the densities of good and of other trials and tries "
    "values that are likelier among the good: Bergstra, Bardenet, Bengio and Kégl 2011, Algorithms for Hyper-Parameter "
    "Optimization, NeurIPS 24.",
    "random": "Random search: Bergstra and Bengio 2012, Random Search for Hyper-Parameter Optimization, JMLR 13:281.",
    "gp": "Gaussian processes: Snoek, Larochelle and Adams 2012, Practical Bayesian Optimization of Machine Learning "
    "Algorithms, arXiv:1206.2944.",
    "median": "Median pruning stops a trial whose best value so far is worse than the median of the others at the same "
    "epoch: Golovin et al. 2017, Google Vizier, doi:10.1145/3097983.3098043.",
    "hyperband": "Hyperband gives many trials few epochs and the best of them more: Li et al. 2018, JMLR 18(185), "
    "arXiv:1603.06560.",
}
"""Citations of samplers and pruners, by a word of their names."""
OPTUNA = "Optuna samples the values and stores the trials: Akiba et al. 2019, arXiv:1907.10902."
FANOVA = "Functional analysis of variance (fANOVA): Hutter, Hoos and Leyton-Brown 2014, ICML."
OPTIMISM = (
    "The best of many noisy results is optimistic (the winner's curse), and the more so the more one tries: "
    "Cawley and Talbot 2010, On Over-fitting in Model Selection, JMLR 11:2079. So the best few and "
    "the unchanged recipe are retrained with seeds that the search did not use; intervals are 95 % Student's t over "
    "these seeds, and differences are paired by seed, with Holm's correction over all of them."
)
SECOND_CHOICE = (
    "The winner is the best of a few re-run means, so its own mean is again too high. Its corrected value is that of "
    "the finalist that is best on some of the seeds, read on the others (nested: Varma and Simon 2006, "
    "doi:10.1186/1471-2105-7-91) and extrapolated to all of the seeds. The lower end of its interval holds for all "
    "finalists at once (Bonferroni), so also for the one that was chosen; a choice for being high leaves the upper end "
    "valid (Benjamini, Hechtlinger and Stark 2019, arXiv:1906.00505). For a loss, too high is too low, and the ends "
    "change places. The means of the finalists that did not win are, for the same reason, slightly too low."
)
TEST_SCORE = (
    "The test score is an honest score of the winner's trained nets, since no choice was made on these images. The "
    "luck of their seeds remains in it: the recipe with another seed is expected to score slightly lower."
)


def write(record: SearchRecord, folder: SearchDir) -> Path:
    """Write the page of a search from its record and its log of test-set openings, and return its path."""
    record = current(record)
    facts = _facts(record, openings(read(folder.looks)))
    return lay_out("rungs.study.search/page.html", facts, _drawn(record), folder.report)


def _drawn(record: SearchRecord) -> Iterator[Drawing]:
    """Yield the figures that are not empty."""
    metric, n = report_metric.metric_words(record.metric), fmt.many(len(record.trials), "trial")
    if record.finalists:
        alt = f"{metric} of {fmt.many(len(record.finalists), 'finalist')}, in the search and retrained"
        yield Drawing("finalists", f"{alt}; the table below has the numbers", finalists.finalists(record))
    if search_words.of_state(record, "complete", "pruned"):
        alt = f"{metric} of {n} in order; the table of all trials has the numbers"
        yield Drawing("history", alt, history.history(record))
    if any(value is not None for trial in record.trials for value in trial.curve):
        yield Drawing("learning-curves", f"{metric} of {n} by epoch", history.learning_curves(record))
    if record.importance:
        shares = ", ".join(f"{name} {100 * share:.0f} %" for name, share in record.importance.items())
        yield Drawing("importance", f"Importance of the fields: {shares}", history.importance(record))
    if not search_words.of_state(record, "complete", "pruned"):
        return
    fields = ", ".join(field.field for field in record.space.fields)
    yield Drawing("slices", f"{metric} of {n} over each of {fields}", slices.slices(record))
    if slices.pairs(record) and len(slices.pairable(record)) >= 2:
        pairs = "; ".join(f"{a.field} and {b.field}" for a, b in slices.pairs(record))
        yield Drawing("pairs", f"{metric} over pairs of fields: {pairs}", slices.over_pairs(record))
    yield Drawing("parallel", f"{n} as lines through the values of {fields}", parallel.parallel(record))


def _facts(record: SearchRecord, opened: int = 0) -> dict[str, Any]:
    """Return the variables of the template.

    Args:
        record: The search.
        opened: How often its test set was opened, by its log; 0 without a log.
    """
    scales = axes.scales(record)
    return {
        "record": record,
        "search_words": search_words,
        "verdict": search_words.lead(search_words.verdict(record)),
        "merits": list(_merits(record, opened)),
        "test_words": test_words(record, opened),
        "shown": axes.shown,
        "scales": scales,
        "lettered": [scale for scale in scales if axes.lettered(scale)],
        "ranges": [(field.field, range_words(field)) for field in record.space.fields],
        "trials": search_words.ranked(record),
        "in_finals": search_words.finalist_trials(record),
        "training": search_words.train_command(record),
        "cell_words": "median" if any(s.kind == "choices" for pair in slices.pairs(record) for s in pair) else "",
        "dots": any("choices" not in (a.kind, b.kind) for a, b in slices.pairs(record)),
        "method": list(_method(record)),
        "signs": ladder_words.SIGNS,
        "toml": compact(recipes.to_toml(record.recipe)),
    }


def _merits(record: SearchRecord, opened: int) -> Iterator[tuple[str, str, str]]:
    """Yield name, number and remark of the key figures, the test score first."""
    test = _tested(record, opened)
    if record.test is not None:
        yield test
    yield from _chosen(record)
    tally = search_words.counted(record)
    pruned = search_words.state_words(record, search_words.STATES[1:]) or "none pruned"
    yield "trials complete", str(tally["complete"]), pruned
    yield "time", fmt.seconds(record.train_s), f"training time of all workers{_lasted(record)}"
    if record.test is None:
        yield test


def _tested(record: SearchRecord, opened: int) -> tuple[str, str, str]:
    words = test_words(record, opened)
    if record.test is None:
        return "test accuracy", fmt.NOTHING, words
    bounds = report_metric.bounds("test_accuracy", record.test.low, record.test.high)
    return "test accuracy", fmt.percent(record.test.mean), _with_interval(words, bounds)


def _chosen(record: SearchRecord) -> Iterator[tuple[str, str, str]]:
    """Yield the winner's value, corrected for the choice, and the optimism of the search; else the best trial."""
    named = search_words.winner(record)
    if named is None:
        if (top := search_words.best(record)) is not None:
            yield "best trial", search_words.value(record, top.value), f"trial {top.number}; optimistic: not retrained"
        return
    mean, corrected = search_words.value(record, named.rerun.mean), search_words.corrected(record, named)
    words, number = f"{named.name}, mean of {fmt.many(named.rerun.n, 'fresh seed')}", mean
    if corrected is not None:
        number = search_words.value(record, corrected.mean)
        words += f" {mean}, corrected for having been chosen {search_words.chosen_as(record)}"
    bounds = search_words.estimate_bounds(record, corrected or named.rerun)
    yield "winner, retrained", number, _with_interval(words, bounds)
    promising = search_words.most_promising(record)
    one = promising if named.searched is None else named
    if one is not None and (optimism := search_words.optimism(record, one)) is not None:
        whose = f"of the best trial's value ({one.name})" if one is promising else f"of the winner's value ({one.name})"
        bounds = search_words.difference_bounds(record, optimism)
        yield "optimism", search_words.difference(record, optimism.mean), _with_interval(whose, bounds)


def test_words(record: SearchRecord, opened: int) -> str:
    """Describe how often the test set was opened, by its log if there is one."""
    if opened > 1:
        return f"the test set was opened {opened} times in this search: its score is no longer fresh"
    if record.test is not None:
        return "the test set was opened once, after the winner was named"
    return "the test set was opened, but this record has no test score" if opened else "the test set is closed"


def _with_interval(words: str, interval: str) -> str:
    return f"{words}; 95 % interval {interval}" if interval else words


def _lasted(record: SearchRecord) -> str:
    """Return ", within 2 h 44 min", from the first start to the record; "" if unknown."""
    try:
        started, finished = (datetime.fromisoformat(when) for when in (record.started, record.finished))
        return f", within {fmt.seconds((finished - started).total_seconds())}"
    except (ValueError, TypeError):
        return ""


def range_words(field: Field) -> str:
    """Describe the range of a field; "" for a list of choices."""
    if field.choices or field.low is None or field.high is None:
        return ""
    words = f"{axes.text(field.low)} to {axes.text(field.high)}"
    whole = isinstance(field.low, int) and isinstance(field.high, int)
    notes = ["whole numbers"] if whole else []
    notes += ["logarithmic"] if field.log else []
    notes += [f"in steps of {axes.text(field.step)}"] if field.step is not None else []
    return ", ".join([words, *notes])


def _method(record: SearchRecord) -> Iterator[str]:
    """Yield sentences on the search's methods, as far as this record knows them."""
    stopping = record.recipe.stopping
    metric, monitor = (report_metric.metric_words(w) for w in (record.metric, stopping.monitor))
    kept = "last epoch" if stopping.keep == "last" else f"epoch with the best {monitor}"
    yield (
        f"Every trial was trained with the recipe's seed, {record.recipe.seed}; its value is the {metric} at the "
        f"{kept}, for a pruned trial among the epochs until then. No value comes from the "
        "test set."
    )
    yield OPTUNA
    names = f"{record.sampler} {record.pruner}".lower().replace("-", " ").split()
    yield from (words for name, words in CITATIONS.items() if name in names or name in {w[: len(name)] for w in names})
    if record.importance:
        yield (
            f"Importance was estimated by {record.importance_by or 'the search'}. It holds for these ranges only: a "
            "field that was varied little seems unimportant."
        )
        if record.importance_by.lower().startswith("fanova") and "Hutter" not in record.importance_by:
            yield FANOVA
    yield OPTIMISM
    if len(record.finalists) > 1:
        yield SECOND_CHOICE
        if record.test is not None:
            yield TEST_SCORE
    taken = [trial for trial in record.trials if trial.takes_up is not None]
    if taken:
        yield f"{fmt.many(len(taken), 'trial')} resumed one whose worker had stopped or died."
