"""Better, worse, or not to be told apart: the difference of two recipes with both kinds of luck allowed for.

A score rests on images that happen to be in the test set, and on a seed that happened to be drawn. Comparing two single
runs image by image knows the first alone: with 10,000 images it may well find two runs of one recipe different, and so
they are, as nets; but the recipe is not better than itself. Bouthillier et al. 2021 (arXiv:2103.03098) measured how
large the luck of seeds is beside that of images, and that conclusions without it fail. So both variances are added.

The luck of seeds is measured where a recipe was trained with several. Where it was not, or with few, an allowance
stands in for it: `SEED_SD`, weighed as if it were `ALLOWANCE_DF` degrees of freedom of measurement (the moderated
variance of Smyth 2004, doi:10.2202/1544-6115.1027). So one run of each recipe can be compared at all, cautiously, and
each further seed makes the answer more one's own.
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
0.55. Some of it is the luck of images, which so counts twice: on the side of caution."""
ALLOWANCE_DF = 4.0
"""Four more runs of a recipe than one weigh as much as the allowance."""
MOST_SEEDS = 200
"""What would need more seeds than these is not to be decided by seeds."""


@dataclass(frozen=True)
class Seeds:
    """How much seeds move the difference of one pair of runs."""

    pair_variance: float
    df: float
    pairs: float  # that the difference is the mean of; 2 / (1/a + 1/b) of a and b runs that are no pairs

    @property
    def se(self) -> float:
        """Standard error that seeds give the mean difference."""
        return math.sqrt(self.pair_variance / self.pairs)

    @property
    def sd(self) -> float:
        """Sd of one run's accuracy."""
        return math.sqrt(self.pair_variance / 2)


def allowance(accuracy: float) -> float:
    """Return the sd over seeds that is assumed of a recipe with such an accuracy; see `SEED_SD`."""
    return SEED_SD * math.sqrt(max(0.0, accuracy * (1 - accuracy)))


def seeds_of_pairs(differences: Sequence[float], groups: Sequence[Sequence[float]]) -> Seeds:
    """Return the luck of seeds in the mean of paired differences.

    Args:
        differences: Of each pair's accuracies, at least one. Two or more say themselves how much seeds move them.
        groups: The accuracies of all runs of each candidate; with two or more pairs of those in pairs, as the others
            are left out.
    """
    if len(differences) < 2:
        seeds = seeds_apart(groups)
        return Seeds(seeds.pair_variance, seeds.df, 1.0)
    prior = 2 * allowance(_centre(groups)) ** 2
    moderated, df = _moderated(variance(differences), len(differences) - 1, prior)
    return Seeds(moderated, df, len(differences))


def seeds_apart(groups: Sequence[Sequence[float]]) -> Seeds:
    """Return the luck of seeds in the difference of two means, pooled within the candidates.

    Args:
        groups: The accuracies of all runs of each of the two candidates.
    """
    df = sum(len(group) - 1 for group in groups)
    pooled = sum(variance(group) * (len(group) - 1) for group in groups if len(group) > 1) / max(1, df)
    moderated, df_all = _moderated(pooled, df, allowance(_centre(groups)) ** 2)
    return Seeds(2 * moderated, df_all, 2 / sum(1 / len(group) for group in groups))


def _moderated(measured: float, df: int, prior: float) -> tuple[float, float]:
    together = ALLOWANCE_DF + df
    return (ALLOWANCE_DF * prior + df * measured) / together, together


def _centre(groups: Sequence[Sequence[float]]) -> float:
    return sum(sum(group) / len(group) for group in groups) / len(groups)


@dataclass(frozen=True)
class Judged:
    """A difference with both kinds of luck allowed for."""

    interval: Interval  # 95 %
    p: float  # two-sided


def judge(difference: float, images_se: float, images: int, seeds: Seeds, exact: float = 0.0) -> Judged:
    """Return interval and p of a difference: Student's t with the variances of images and of seeds added.

    The degrees of freedom are those of Satterthwaite 1946 (doi:10.2307/3002019).

    Args:
        difference: Of accuracies.
        images_se: Its standard error over images.
        images: How many.
        seeds: Its luck of seeds.
        exact: p of an exact test over images alone, which the result is never below: with few images on which the nets
            differ the normal distribution promises too much.
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

    Both answers come from asking that |difference| be z(97.5 %) + z(80 %) standard errors, with the other kind of luck
    as it is now; normal distribution, so that few seeds are a little too few.

    Args:
        difference: Of accuracies.
        discordant: Mean square of an image's difference; for single runs the share of images on which they differ.
        images_se: Standard error over images.
        seeds: The luck of seeds.
        sets: How many sets of images the pairs of runs have, each its own; 1 where all have the same. Images are those
            of one set, as a user would cut it. The sets are taken for independent; cuts of one pool overlap, so that
            it takes somewhat more.
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
