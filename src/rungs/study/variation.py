"""How much seeds and images move a difference of two recipes, and the test that adds both.

A score depends on the seed and on which images are scored. Comparing two single runs image by image accounts for the
images alone: with 10,000 images it may well find two runs of one recipe different, and so they are, as nets; but the
recipe is not better than itself. Bouthillier et al. 2021 (arXiv:2103.03098) measured the variance over seeds against
that over images, and showed that conclusions without it fail. So both variances are added.

Few seeds measure their own variance badly: with three pairs, Student's t asks for twice the standard errors that a
known variance would. Runs of one ladder differ about equally from seed to seed, so a comparison's own variance is
shrunk towards that of the ladder's whole table of rungs and seeds (the moderated variance of Smyth 2004,
doi:10.2202/1544-6115.1027). Where there is no table, a value measured elsewhere stands in, `SEED_SD`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np
from scipy.special import stdtr, stdtrit

from rungs.report.metric import is_accuracy
from rungs.report.seeds import PRIOR_DF, SEED_SD
from rungs.study.statistics import LEVEL, Interval, mean_variance

POOL_DF = 4.0
"""Degrees of freedom that the table of a ladder adds to a comparison, if it has as many: less than it has, because the
seeds may move one rung more than another."""
FLOOR = 0.0025
"""The least p (1 - p) of an accuracy p: at 100 % it would be zero, and any difference infinitely many sd."""
TIE = 1e-12
"""A variance below the square of this is that of rounding: accuracies on small sets are often equal."""


def weight(metric: str, mean: float) -> float:
    """Return what the variance over seeds of a metric grows with: p (1 - p) of an accuracy p; 1 for a loss."""
    return max(FLOOR, mean * (1 - mean)) if is_accuracy(metric) else 1.0


@dataclass(frozen=True)
class Pool:
    """The variance over seeds that the rungs of a ladder share."""

    variance: float  # of one run, divided by `weight`; differences of two rungs have twice as much
    df: int


def pool(table: Mapping[str, Mapping[int, float]], metric: str, *, paired: bool = True) -> Pool:
    """Return the residual variance of a table of rungs and seeds, after the effect of each rung, and of each seed.

    Args:
        table: Rung -> seed -> value of the metric; cells may be missing.
        metric: Accuracies are divided by sqrt(p (1 - p)) of their rung's mean p, so that rungs can be pooled.
        paired: For differences, in which what a seed does to all rungs alike cancels; else for values of single rungs,
            in which it does not.
    """
    seeds = sorted({seed for values in table.values() for seed in values})
    rows, scaled = list[list[float]](), list[float]()
    for place, values in enumerate(table.values()):
        if not values:
            continue
        scale = math.sqrt(weight(metric, fmean(values.values())))
        for seed, value in values.items():
            of_seed = [float(paired and seed == other) for other in seeds]
            rows.append([float(place == other) for other in range(len(table))] + of_seed)
            scaled.append(value / scale)
    if not rows:
        return Pool(0.0, 0)
    design, y = np.array(rows), np.array(scaled)
    effects, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    df = len(y) - int(rank)
    return Pool(float(((y - design @ effects) ** 2).sum()) / df if df else 0.0, df)


@dataclass(frozen=True)
class Seeds:
    """How much seeds move the difference of one pair of runs."""

    pair_variance: float
    df: float
    pairs: (
        float  # averaged in the difference; 2 / (1/a + 1/b) for a and b unpaired runs; of folds, as many as they equal
    )
    own_df: float = 0.0  # of `df`, measured on these two recipes
    pooled_df: float = 0.0  # of `df`, from the other rungs of a ladder

    @property
    def se(self) -> float:
        """Standard error of the mean difference from the choice of seeds."""
        return math.sqrt(self.pair_variance / self.pairs)

    @property
    def sd(self) -> float:
        """Sd of one run's accuracy."""
        return math.sqrt(self.pair_variance / 2)


def moderated(
    own: float, own_df: int, prior: float | None, pool: Pool | None = None, scale: float = 1.0
) -> tuple[float, float, float]:
    """Return a variance shrunk towards a ladder's pool, and towards a prior as far as the pool is small.

    Args:
        own: The variance as measured; 0 without any degree of freedom.
        own_df: Its degrees of freedom, which the pool contains as well.
        prior: Variance to assume instead of a pool; None for none.
        pool: Of the ladder.
        scale: What the pool's variance is multiplied with.

    Returns:
        The variance, its degrees of freedom, and how many of these are the pool's.
    """
    from_pool = 0.0 if pool is None else min(POOL_DF, max(0, pool.df - own_df))
    from_prior = 0.0 if prior is None else max(0.0, PRIOR_DF - from_pool)
    df = from_pool + from_prior + own_df
    if df == 0:
        return 0.0, 0.0, 0.0
    total = own_df * own + from_prior * (prior or 0.0)
    total += from_pool * pool.variance * scale if pool is not None else 0.0
    return total / df, df, from_pool


def seeds_of_pairs(
    differences: Sequence[float],
    means: tuple[float, float],
    metric: str = "test_accuracy",
    *,
    pool: Pool | None = None,
    image_variance: float = 0.0,
    ratio: float = 0.0,
) -> Seeds:
    """Return the variation over seeds of the mean of paired differences.

    Args:
        differences: Of each pair of runs, at least one.
        means: Of the two recipes.
        metric: The metric.
        pool: Of the ladder that both belong to, if any.
        image_variance: Variance of a single pair's difference from the choice of its images, where each pair has
            images of its own: then the pairs' variance contains it, and so has the prior's to.
        ratio: n_test / n_train, if the pairs are folds of one set; else 0. Folds share training images, so that
            their mean varies as that of fewer pairs (Nadeau and Bengio 2003, see `rungs.study.statistics.of_folds`),
            and never less than by the choice of images alone.
    """
    n = len(differences)
    own = variance(differences) if n > 1 else 0.0
    scale = sum(weight(metric, mean) for mean in means)
    prior = SEED_SD**2 * scale + image_variance if is_accuracy(metric) else None
    found, df, pooled = moderated(own, n - 1, prior, pool, scale)
    if ratio:
        return Seeds(max(found, image_variance), df, 1 / mean_variance(n, ratio), n - 1, pooled)
    return Seeds(found, df, n, n - 1, pooled)


def seeds_apart(groups: Sequence[Sequence[float]]) -> Seeds:
    """Return the variation over seeds of the difference of two mean accuracies, pooled within the candidates.

    Args:
        groups: The accuracies of all runs of each of the two candidates.
    """
    df = sum(len(group) - 1 for group in groups)
    own = sum(variance(group) * (len(group) - 1) for group in groups if len(group) > 1) / max(1, df)
    prior = SEED_SD**2 * fmean(weight("test_accuracy", fmean(group)) for group in groups)
    found, df_all, _ = moderated(own, df, prior)
    return Seeds(2 * found, df_all, 2 / sum(1 / len(group) for group in groups), df)


@dataclass(frozen=True)
class Judged:
    """A difference tested over both images and seeds."""

    interval: Interval  # 95 %
    p: float  # two-sided


def judge(difference: float, images_se: float, images: int, seeds: Seeds, exact: float = 0.0) -> Judged:
    """Return interval and p of a difference: Student's t with the variances of images and of seeds added.

    The degrees of freedom are those of Satterthwaite 1946 (doi:10.2307/3002019).

    Args:
        difference: The mean, of accuracies or losses.
        images_se: Its standard error over images that all runs share; 0 where each pair of runs has its own, because
            the variation over pairs then contains theirs.
        images: How many.
        seeds: Its variation over seeds, with at least one degree of freedom.
        exact: p of an exact test over images alone, a lower bound of the result: with few images on which the nets
            differ the normal approximation is too optimistic.
    """
    images_part, seeds_part = images_se**2, seeds.se**2
    total = images_part + seeds_part
    if total < TIE**2:  # all pairs differ alike: that all signs agree has this chance (sign test)
        chance = 1.0 if abs(difference) < TIE else min(1.0, 2 * 0.5**seeds.pairs)
        return Judged((difference, difference), max(exact, chance))
    df = total**2 / (images_part**2 / max(1, images - 1) + seeds_part**2 / seeds.df)
    half = float(stdtrit(df, 1 - LEVEL / 2)) * math.sqrt(total)
    p = float(2 * stdtr(df, -abs(difference) / math.sqrt(total)))
    return Judged((difference - half, difference + half), max(p, exact))
