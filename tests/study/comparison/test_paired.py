"""What is said of two nets on the same images, held against published figures and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from rungs.errors import UserError
from rungs.report.seeds import prior_sd
from rungs.run.predictions import Predictions, decode
from rungs.run.record import PerImage
from rungs.study import matched, variation
from rungs.study.comparison import paired
from rungs.study.comparison.needed import needed
from rungs.study.comparison.record import Verdict


def said(right: np.ndarray, truth: np.ndarray | None = None) -> Predictions:
    """Return a net that is right where told so; sure and loss follow from it."""
    truth = np.zeros(len(right), dtype=np.int64) if truth is None else truth
    answer = np.where(right, truth, truth + 1)
    return Predictions(truth, answer, np.where(right, 0.9, 0.6), np.where(right, 0.1, 1.5))


def tolerance(p: float, draws: int) -> float:
    """Return four standard errors of a share: a test that is right fails once in 16,000 seeds."""
    return 4 * math.sqrt(p * (1 - p) / draws)


# --- decoding -----------------------------------------------------------------------------------------


def test_what_is_kept_of_each_image_comes_back() -> None:
    import torch

    from rungs.evaluate.metrics import evaluate

    logits = torch.randn(50, 300, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) * 5
    result = evaluate(logits, labels, keep_images=True)
    assert result.per_image is not None
    back = decode(result.per_image)
    assert len(back) == 50 and back.truth.tolist() == labels.tolist()
    assert back.predicted.tolist() == logits.argmax(1).tolist()
    assert back.correct.mean() == pytest.approx(result.accuracy) and back.loss.mean() == pytest.approx(result.loss)
    assert back.confidence == pytest.approx(logits.softmax(1).amax(1).numpy(), rel=1e-6)


@pytest.mark.parametrize("loss", ["AAAA", "?", "AAAAAAAAAAA="])
def test_what_is_damaged_is_told(loss: str) -> None:
    with pytest.raises(UserError, match="damaged"):
        decode(PerImage(truth="AAA=", predicted="AAA=", confidence="AAAAAA==", loss=loss), "run.json")


# --- McNemar ------------------------------------------------------------------------------------------


def test_mcnemar_on_a_published_table() -> None:
    """Two media for a bacterium: 12 grew on the one alone, 2 on the other (Armitage & Berry 1994, p. 127: 0.0129)."""
    assert matched.exact_p(12, 2) == pytest.approx(0.0129, abs=5e-5)
    assert matched.exact_p(2, 12) == matched.exact_p(12, 2) == pytest.approx(binomtest(2, 14).pvalue)
    assert paired.mid_p(12, 2) == pytest.approx(matched.exact_p(12, 2) - math.comb(14, 2) / 2**14)
    assert matched.exact_p(0, 0) == paired.mid_p(0, 0) == paired.mid_p(7, 7) == 1.0


def test_the_four_counts() -> None:
    first, second = np.array([1, 1, 1, 0, 0, 1], bool), np.array([1, 1, 0, 1, 0, 0], bool)
    table = paired.table(matched.match([(said(first), said(second))], same_set=True))
    assert (table.both, table.first, table.second, table.neither) == (2, 2, 1, 1)
    assert table.p == matched.exact_p(2, 1)


def test_of_several_pairs_an_image_counts_once() -> None:
    """A copy of a pair adds no image: p stays; other images do."""
    draw = np.random.default_rng(0)
    first, second = draw.random(200) < 0.7, draw.random(200) < 0.8
    pair = said(first), said(second)
    once = matched.match([pair], same_set=True)
    twice = matched.match([pair, pair], same_set=True)
    more = matched.match([pair, pair], same_set=False)
    assert paired.table(twice).p == paired.table(once).p > paired.table(more).p
    assert paired.table(twice).both == 2 * paired.table(once).both
    assert len(twice.truth) == 200 and len(more.truth) == 400
    assert twice.change.mean() == pytest.approx(more.change.mean()) == pytest.approx(once.by_pair[0])


def test_classes_gain_and_lose_with_holm() -> None:
    truth = np.repeat([0, 1, 2], 100)
    first = np.ones(300, bool)
    second = first.copy()
    second[:20] = False  # class 0 loses 20
    second[100] = False
    rows = paired.class_changes(matched.match([(said(first, truth), said(second, truth))], same_set=True), "abc")
    assert [(row.name, row.images, row.gained, row.lost) for row in rows] == [
        ("a", 100, 0, 20),
        ("b", 100, 0, 1),
        ("c", 100, 0, 0),
    ]
    assert rows[0].p == 2 / 2**20 and rows[0].p_holm == 3 * rows[0].p
    assert rows[1].p_holm == rows[2].p_holm == 1.0


# --- bootstrap ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["rights", "losses"])
def test_the_bootstrap_covers_the_truth(kind: str) -> None:
    draw, sets, n = np.random.default_rng(1), 400, 150
    if kind == "rights":
        samples, truth = draw.choice([-1.0, 0.0, 1.0], p=[0.08, 0.8, 0.12], size=(sets, n)), 0.04
    else:
        samples, truth = draw.exponential(1.0, (sets, n)) - draw.exponential(0.8, (sets, n)), 0.2
    intervals = [paired.bootstrap(values, seed=i, resamples=1000) for i, values in enumerate(samples)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert abs(covered - 0.95) < tolerance(0.95, sets) + 0.01  # BCa's own error is of the order 1 / n


def test_the_bootstrap_is_seeded_and_near_the_normal_interval() -> None:
    values = np.random.default_rng(2).choice([-1.0, 0.0, 1.0], p=[0.04, 0.9, 0.06], size=10_000)
    low, high = paired.bootstrap(values)
    half = 1.96 * values.std() / 100
    assert (low, high) == paired.bootstrap(values)
    assert low == pytest.approx(values.mean() - half, abs=3e-4) and high == pytest.approx(
        values.mean() + half, abs=3e-4
    )
    assert paired.bootstrap(np.zeros(10)) == (0.0, 0.0)


def test_both_ways_of_drawing_agree() -> None:
    """Few distinct values are drawn as counts, many as images."""
    values = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=400)
    counts = paired.bootstrap(values)
    images = paired.bootstrap(values + 1e-6 * np.arange(400))
    assert counts == pytest.approx(images, abs=0.01)


def test_the_interval_of_the_calibration_error_covers_it() -> None:
    """Nets that say 10 points more than they know, everywhere: the error is 0.1."""
    draw, covered, sets = np.random.default_rng(4), 0, 120
    for i in range(sets):
        sure = draw.uniform(0.3, 1.0, 500)
        low, high = paired.calibration_interval(sure, draw.random(500) < sure - 0.1, seed=i, resamples=200)
        covered += low <= 0.1 <= high
    assert covered / sets > 0.95 - tolerance(0.95, sets) - 0.02


# --- sample size --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gained", "lost"), [(0.06, 0.04), (0.15, 0.10), (0.02, 0.005)])
def test_so_many_images_decide_with_the_power_that_is_said(gained: float, lost: float) -> None:
    n = paired.images_needed(gained - lost, gained + lost)
    assert n is not None
    draws = 2000
    counts = np.random.default_rng(5).multinomial(n, [gained, lost, 1 - gained - lost], size=draws)
    found = np.mean([paired.mid_p(int(b), int(a)) < 0.05 for a, b, _ in counts])
    assert abs(found - 0.8) < tolerance(0.8, draws) + 0.02  # the formula is an approximation


def test_nothing_decides_what_is_no_difference() -> None:
    assert paired.images_needed(0.0, 0.1) is None
    assert paired.images_needed(1e-6, 0.1) is None
    none = needed(0.0, 0.1, 0.003, variation.seeds_apart([[0.9], [0.9]]))
    assert (none.images, none.images_for_recipes, none.seeds) == (None, None, None)


def test_what_is_needed_decides() -> None:
    """With so many seeds, and with so many images, the difference is 2.8 standard errors of what is added up."""
    seeds = variation.seeds_of_pairs([0.03], (0.90, 0.93))
    need = needed(0.03, 0.08, math.sqrt(0.08 / 5000), seeds)
    assert need.seeds is not None and need.images_for_recipes is not None
    for images_var, pairs in ((0.08 / 5000, need.seeds), (0.08 / need.images_for_recipes, 1)):
        total = images_var + seeds.pair_variance / pairs
        assert 0.03 / math.sqrt(total) >= paired.Z_LEVEL + paired.Z_POWER - 1e-9
    sharp = needed(0.002, 0.08, 0.0005, seeds)
    assert sharp.images_for_recipes is None  # one run of each: seeds may do as much


# --- seeds --------------------------------------------------------------------------------------------


def judged(first: np.ndarray, second: np.ndarray) -> Verdict:
    """Return the verdict on (m, n) rights of m runs of each of two recipes."""
    pairs = [(said(a), said(b)) for a, b in zip(first, second, strict=True)]
    both = matched.match(pairs, same_set=True)
    means = float(first.mean()), float(second.mean())
    sampling = matched.variance_over_images(both, same_set=True)
    seeds = variation.seeds_of_pairs(both.by_pair, means)
    found = variation.judge(float(both.change.mean()), sampling.se, sampling.count, seeds, sampling.exact_p)
    if found.p >= 0.05:
        return "not to be told apart"
    return "better" if both.change.mean() > 0 else "worse"


def trained(
    draw: np.random.Generator, runs: int, images: int, accuracy: float, seed_sd: float, hard: np.ndarray
) -> np.ndarray:
    """Draw rights (runs, images) of a recipe: images differ in how hard they are, seeds in how good they are."""
    chance = accuracy + hard[None] + draw.normal(0, seed_sd, (runs, 1))
    return draw.random((runs, images)) < np.clip(chance, 0, 1)


@pytest.mark.parametrize(("runs", "images"), [(1, 10_000), (1, 500), (3, 2000)])
def test_equal_recipes_are_seldom_called_different(runs: int, images: int) -> None:
    """False alarms of the whole verdict stay at 5 % where seeds do what the allowance says; McNemar's do not."""
    draw, draws, accuracy = np.random.default_rng(6), 300, 0.8
    alarms = mcnemar = 0
    for _ in range(draws):
        hard = draw.uniform(-0.2, 0.2, images)
        sides = [trained(draw, runs, images, accuracy, prior_sd(accuracy), hard) for _ in range(2)]
        alarms += judged(*sides) != "not to be told apart"
        table = paired.table(matched.match([(said(sides[0][0]), said(sides[1][0]))], same_set=True))
        mcnemar += table.p < 0.05
    assert alarms / draws < 0.05 + tolerance(0.05, draws)
    if images == 10_000:
        assert mcnemar / draws > 0.15  # which is why it does not decide


def test_a_real_difference_is_found() -> None:
    draw, found = np.random.default_rng(7), 0
    for _ in range(50):
        hard = draw.uniform(-0.1, 0.1, 10_000)
        worse, better = (trained(draw, 1, 10_000, accuracy, 0.003, hard) for accuracy in (0.79, 0.86))
        found += judged(worse, better) == "better"
    assert found >= 48


def test_few_images_promise_nothing() -> None:
    """Five images that all speak for the second: the exact test says 0.06, whatever the normal distribution says."""
    first, second = np.zeros((1, 5), bool), np.ones((1, 5), bool)
    assert judged(first, second) == "not to be told apart"
