"""How many images or seeds would decide a comparison."""

from __future__ import annotations

import math

from rungs.study.comparison.paired import MOST_IMAGES, Z_LEVEL, Z_POWER, images_needed
from rungs.study.comparison.record import Needed
from rungs.study.variation import Seeds

MOST_SEEDS = 200
"""A difference that needs more seeds than this cannot be decided by seeds."""
FEWEST_PAIRS = 3
"""Fewer are never advised: two may agree by chance where a test set is small."""


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
