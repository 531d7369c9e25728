"""Better, worse or indistinguishable: the difference of two recipes, over both images and seeds.

A score depends on which images are in the test set and on the seed. Comparing two single runs image by image accounts
for the images alone: with 10,000 images it may well find two runs of one recipe different, and so they are, as nets;
but the recipe is not better than itself. Bouthillier et al. 2021 (arXiv:2103.03098) measured the variance over seeds
against that over images, and showed that conclusions without it fail. So both variances are added.

The variance over seeds is measured where a recipe was trained with several, and shrunk towards a prior, which stands in
for it where there is only one: `SEED_SD`, weighted as `PRIOR_DF` degrees of freedom (the moderated variance of Smyth
2004, doi:10.2202/1544-6115.1027). So single runs can be compared, cautiously, and each further seed moves the estimate
from the prior to what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance

from scipy.special import stdtr, stdtrit

from rungs.study.comparison.paired import MOST_IMAGES, Z_LEVEL, Z_POWER, images_needed
from rungs.study.comparison.record import Interval, Needed
from rungs.study.statistics import FEWEST_PAIRS, LEVEL

SEED_SD = 0.012
"""Sd of an accuracy p over seeds, divided by sqrt(p (1 - p)): the median of ten rungs of this project's ladders, each
measured with 3 to 5 seeds on the 10,000 test images of CIFAR-10 (smallest 0.006: speedrun-94 at 93.3 %, sd 0.17
points; largest 0.033: a first net at 51.8 %, sd 1.66 points; `results/*.json`). At 94 % it is 0.28 points, at 70 %
0.55. Some of it is variation over images, which is so counted twice: a conservative choice."""
PRIOR_DF = 4.0
"""Four more runs of a recipe than one weigh as much as the prior."""
MOST_SEEDS = 200
"""A difference that needs more seeds than this cannot be decided by seeds."""


@dataclass(frozen=True)
class Seeds:
    """How much seeds move the difference of one pair of runs."""

    pair_variance: float
    df: float
    pairs: float  # averaged in the difference; 2 / (1/a + 1/b) for a and b unpaired runs

    @property
    def se(self) -> float:
        """Standard error of the mean difference from the choice of seeds."""
        return math.sqrt(self.pair_variance / self.pairs)

    @property
    def sd(self) -> float:
        """Sd of one run's accuracy."""
        return math.sqrt(self.pair_variance / 2)


def prior_sd(accuracy: float) -> float:
    """Return the sd over seeds that is assumed of a recipe with such an accuracy; see `SEED_SD`."""
    return SEED_SD * math.sqrt(max(0.0, accuracy * (1 - accuracy)))


def seeds_of_pairs(differences: Sequence[float], groups: Sequence[Sequence[float]]) -> Seeds:
    """Return the variation over seeds of the mean of paired differences.

    Args:
        differences: Of each pair's accuracies, at least one. From two or more their variance is measured.
        groups: The accuracies of all runs of each candidate; with two or more pairs of those in pairs, as the others
            are left out.
    """
    if len(differences) < 2:
        seeds = seeds_apart(groups)
        return Seeds(seeds.pair_variance, seeds.df, 1.0)
    prior = 2 * prior_sd(_centre(groups)) ** 2
    moderated, df = _moderated(variance(differences), len(differences) - 1, prior)
    return Seeds(moderated, df, len(differences))


def seeds_apart(groups: Sequence[Sequence[float]]) -> Seeds:
    """Return the variation over seeds of the difference of two means, pooled within the candidates.

    Args:
        groups: The accuracies of all runs of each of the two candidates.
    """
    df = sum(len(group) - 1 for group in groups)
    pooled = sum(variance(group) * (len(group) - 1) for group in groups if len(group) > 1) / max(1, df)
    moderated, df_all = _moderated(pooled, df, prior_sd(_centre(groups)) ** 2)
    return Seeds(2 * moderated, df_all, 2 / sum(1 / len(group) for group in groups))


def _moderated(measured: float, df: int, prior: float) -> tuple[float, float]:
    together = PRIOR_DF + df
    return (PRIOR_DF * prior + df * measured) / together, together


def _centre(groups: Sequence[Sequence[float]]) -> float:
    return sum(sum(group) / len(group) for group in groups) / len(groups)


@dataclass(frozen=True)
class Judged:
    """A difference tested over both images and seeds."""

    interval: Interval  # 95 %
    p: float  # two-sided


def judge(difference: float, images_se: float, images: int, seeds: Seeds, exact: float = 0.0) -> Judged:
    """Return interval and p of a difference: Student's t with the variances of images and of seeds added.

    The degrees of freedom are those of Satterthwaite 1946 (doi:10.2307/3002019).

    Args:
        difference: Of accuracies.
        images_se: Its standard error over images.
        images: How many.
        seeds: Its variation over seeds.
        exact: p of an exact test over images alone, a lower bound of the result: with few images on which the nets
            differ the normal approximation is too optimistic.
    """
    images_part, seeds_part = images_se**2, seeds.se**2
    total = images_part + seeds_part
    if total == 0:
        return Judged((difference, difference), max(exact, float(difference == 0)))
    df = total**2 / (images_part**2 / max(1, images - 1) + seeds_part**2 / seeds.df)
    half = float(stdtrit(df, 1 - LEVEL / 2)) * math.sqrt(total)
    p = float(2 * stdtr(df, -abs(difference) / math.sqrt(total)))
    return Judged((difference - half, difference + half), max(p, exact))


def needed(difference: float, discordant: float, images_se: float, seeds: Seeds, sets: int = 1) -> Needed:
    """Return how many images or seeds would decide a difference as large as this one with 80 % power.

    Both require that |difference| be z(97.5 %) + z(80 %) standard errors, with the other variance unchanged; by the
    normal approximation, so that small numbers of seeds are slightly too small.

    Args:
        difference: Of accuracies.
        discordant: Mean square of an image's difference; for single runs the share of images on which they differ.
        images_se: Standard error over images.
        seeds: The variation over seeds.
        sets: How many distinct sets of images the pairs of runs have; 1 where all share one. Images are counted per
            set. The sets are treated as independent; splits of one pool overlap, so that it takes somewhat more.
    """
    allowed = (difference / (Z_LEVEL + Z_POWER)) ** 2  # the variance that the difference may have
    for_images, for_seeds = allowed - seeds.se**2, allowed - images_se**2
    images = math.ceil(discordant / for_images / sets) if for_images * MOST_IMAGES > discordant else None
    nets = images_needed(difference, discordant)
    more = math.ceil(seeds.pair_variance / for_seeds) if for_seeds * MOST_SEEDS > seeds.pair_variance else None
    return Needed(
        images=None if nets is None else math.ceil(nets / sets),
        images_for_recipes=images,
        seeds=None if more is None else max(FEWEST_PAIRS, more),
    )
