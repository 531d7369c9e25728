"""The variance over seeds: pooled over a table, shrunk, and added to that of the images."""

from __future__ import annotations

import math
from statistics import variance

import numpy as np
import pytest
from scipy import stats

from rungs.report.seeds import PRIOR_DF, T_PRIOR, next_run, prior_sd
from rungs.study.variation import POOL_DF, Pool, Seeds, judge, moderated, pool, seeds_apart, seeds_of_pairs, weight


def table(values: np.ndarray) -> dict[str, dict[int, float]]:
    return {f"rung-{i}": dict(enumerate(row)) for i, row in enumerate(values.tolist())}


def test_a_pool_is_the_residual_of_a_two_way_layout() -> None:
    """Against the textbook's sums of squares for a full table of losses, which are not scaled."""
    values = np.random.default_rng(0).normal(1.0, 0.1, (5, 4))
    residual = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    found = pool(table(values), "validation_loss")
    assert (found.df, found.variance) == (4 * 3, pytest.approx((residual**2).sum() / 12))
    alone = pool(table(values), "validation_loss", paired=False)
    assert (alone.df, alone.variance) == (5 * 3, pytest.approx(values.var(1, ddof=1).mean()))


def test_of_two_rungs_a_pool_is_half_of_the_variance_of_their_differences() -> None:
    values = np.random.default_rng(1).normal(1.0, 0.1, (2, 6))
    found = pool(table(values), "test_loss")
    assert (found.df, 2 * found.variance) == (5, pytest.approx(variance((values[1] - values[0]).tolist())))


def test_accuracies_are_scaled_so_that_rungs_at_any_height_agree() -> None:
    rng, heights = np.random.default_rng(2), np.linspace(0.5, 0.95, 10)
    sds = 0.02 * np.sqrt(heights * (1 - heights))
    found = pool(table(heights[:, None] + sds[:, None] * rng.normal(size=(10, 200))), "test_accuracy")
    assert math.sqrt(found.variance) == pytest.approx(0.02, rel=0.05)


def test_missing_cells_cost_their_degrees_of_freedom_and_bias_nothing() -> None:
    values = np.random.default_rng(3).normal(1.0, 0.1, (400, 3))
    cells = table(values)
    for i, row in enumerate(cells.values()):
        del row[i % 3]
    found = pool(cells, "test_loss")
    assert found.df == 400 * 2 - 400 - 2
    assert math.sqrt(found.variance) == pytest.approx(0.1, rel=0.1)
    assert pool({}, "test_loss") == pool({"a": {}}, "test_loss") == Pool(0.0, 0)
    assert pool({"a": {0: 0.5}, "b": {0: 0.6}}, "test_loss").df == 0


def test_an_accuracy_of_one_does_not_divide_by_zero() -> None:
    assert weight("test_accuracy", 1.0) == weight("test_accuracy", 0.0) > 0
    assert weight("test_loss", 1.0) == 1.0
    assert math.isfinite(pool({"a": {0: 1.0, 1: 1.0}, "b": {0: 1.0, 1: 0.9}}, "test_accuracy").variance)


def test_the_formula_of_a_ladder() -> None:
    """(4 s_pool^2 + (n - 1) s_own^2) / (n + 3), with n + 3 degrees of freedom, s_pool^2 twice the residual."""
    differences, shared = [0.010, 0.030, 0.026], Pool(0.0004, 14)
    found = seeds_of_pairs(differences, (0.8, 0.8), pool=shared)
    twice = 2 * 0.0004 * 0.16
    assert found.pair_variance == pytest.approx((4 * twice + 2 * variance(differences)) / 6)
    assert (found.df, found.pooled_df, found.own_df, found.pairs) == (6, POOL_DF, 2, 3)
    one = seeds_of_pairs([0.01], (0.8, 0.8), pool=shared)
    assert (one.pair_variance, one.df) == (pytest.approx(twice), 4)


def test_a_small_ladder_lends_no_more_than_it_knows() -> None:
    own = [0.010, 0.030, 0.026]
    two = seeds_of_pairs(own, (0.8, 0.8), pool=Pool(0.5 * variance(own) / 0.16, 2))  # of two rungs: nothing but its own
    assert (two.df, two.pooled_df) == (2 + PRIOR_DF, 0)
    assert two.pair_variance == seeds_of_pairs(own, (0.8, 0.8)).pair_variance
    three = seeds_of_pairs(own, (0.8, 0.8), pool=Pool(0.0004, 4))
    assert (three.df, three.pooled_df) == (4, 2)
    assert moderated(0.0, 0, None) == (0.0, 0.0, 0.0)
    assert seeds_of_pairs([0.1], (1.0, 1.1), "test_loss").df == 0  # of a loss nothing is known beforehand


def test_without_a_ladder_the_allowance_counts_two_degrees() -> None:
    seeds = seeds_of_pairs([0.01], (0.93, 0.93))
    assert (seeds.df, seeds.sd) == (PRIOR_DF, pytest.approx(prior_sd(0.93)))
    assert prior_sd(0.94) == pytest.approx(0.00475, abs=1e-5)
    calm = [0.9, 0.9001, 0.9002, 0.8999] * 5
    few, many = seeds_apart([calm[:2], calm[:2]]), seeds_apart([calm, calm])
    assert prior_sd(0.9) > few.sd > many.sd


def test_images_of_each_pair_are_in_the_prior_as_they_are_in_the_pairs() -> None:
    alone, own = (seeds_of_pairs([0.01], (0.8, 0.8), image_variance=v) for v in (0.0, 0.001))
    assert own.pair_variance == pytest.approx(alone.pair_variance + 0.001)


def test_the_constant_is_scipys() -> None:
    assert pytest.approx(stats.t.ppf(0.975, PRIOR_DF)) == T_PRIOR


def test_one_run_expects_another_nearby() -> None:
    from samples import result

    one = result(10, 10_000, 0.8)
    low, high = next_run(one, same_images=True)
    assert (high - low) / 2 == pytest.approx(T_PRIOR * math.sqrt(2) * prior_sd(one.accuracy))
    wider = next_run(one, same_images=False)
    assert wider[0] < low and wider[1] > high


@pytest.mark.parametrize(("images_se", "df"), [(0.0, 6), (0.004, 6)])
def test_a_difference_is_judged_by_students_t(images_se: float, df: int) -> None:
    seeds = Seeds(0.0003, df, 3)
    found = judge(0.02, images_se, 10_000, seeds)
    total = images_se**2 + 0.0001
    freedom = total**2 / (images_se**4 / 9999 + 0.0001**2 / df)
    assert found.p == pytest.approx(2 * stats.t.sf(0.02 / math.sqrt(total), freedom))
    assert found.interval[1] - 0.02 == pytest.approx(stats.t.ppf(0.975, freedom) * math.sqrt(total))


def test_the_exact_test_over_images_bounds_p() -> None:
    assert judge(0.5, 0.01, 20, Seeds(1e-6, 6, 3), exact=0.03).p == 0.03


def test_pairs_that_agree_to_the_image_have_the_chance_of_equal_signs() -> None:
    nothing = Seeds(0.0, 2, 3)
    assert (judge(0.0, 0.0, 0, nothing).p, judge(0.1, 0.0, 0, nothing).p) == (1.0, 0.25)
