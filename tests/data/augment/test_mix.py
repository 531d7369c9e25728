from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from rungs.data.augment import Draw
from rungs.data.augment.mix import beta, cutmix, mixup

N, CLASSES = 6, 6


def draw(seed: int) -> Draw:
    return Draw(torch.Generator().manual_seed(seed), 0, torch.arange(N), CLASSES)


def flats(size: int = 16) -> tuple[Tensor, Tensor]:
    """N images; number i has the value i / N in all its pixels, and the label i."""
    return (torch.arange(N) / N).view(N, 1, 1, 1).expand(N, 3, size, size).contiguous(), torch.arange(N)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 8.0])
def test_beta_is_the_beta_distribution(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    sample = torch.stack([beta(alpha, generator) for _ in range(4000)]).numpy()
    assert stats.kstest(sample, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_beta_is_finite_where_gamma_variates_underflow() -> None:
    generator = torch.Generator().manual_seed(0)
    sample = torch.stack([beta(1e-4, generator) for _ in range(1000)])
    assert sample.isfinite().all()
    assert 0.4 < sample.round().mean() < 0.6  # all mass at the two ends


def test_mixup_mixes_labels_as_it_mixes_images() -> None:
    x, y = flats()
    for seed in range(20):
        out, labels = mixup(x, y, draw(seed), alpha=1.0, p=1.0)
        # an image's value is linear in its labels: value = sum_k labels_k * k / N
        torch.testing.assert_close(out[:, 0, 0, 0], labels @ (torch.arange(CLASSES) / N), atol=1e-6, rtol=0)
        torch.testing.assert_close(labels.sum(1), torch.ones(N))
        torch.testing.assert_close(labels.sum(0), torch.ones(CLASSES))  # partners are a permutation


def test_mixup_is_one_weight_a_batch() -> None:
    x, y = flats()
    _, labels = mixup(x, y, draw(3), alpha=1.0, p=1.0)
    own = labels.gather(1, y[:, None])
    mixed = own[own < 1 - 1e-6]  # an image may be its own partner
    assert len(mixed) >= 2
    torch.testing.assert_close(mixed, mixed[:1].expand_as(mixed))


def test_cutmix_pastes_a_box_and_counts_its_pixels() -> None:
    x, y = flats()
    areas = []
    for seed in range(100):
        out, labels = cutmix(x, y, draw(seed), alpha=1.0, p=1.0)
        for k in range(N):
            share = labels[k].argsort(descending=True)[:2]
            for owner in share:
                pixels = (out[k] == owner / N).double().mean()
                torch.testing.assert_close(pixels.float(), labels[k, owner], atol=1e-6, rtol=0)
            changed = out[k, 0] != x[k, 0]
            assert changed.sum() == changed.any(0).sum() * changed.any(1).sum()  # a rectangle
        areas.append(1 - labels.max(1).values.min().item())
    assert len(set(areas)) > 30


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_with_probability_nought_only_the_form_of_the_labels_changes(mix) -> None:
    x, y = flats()
    out, labels = mix(x, y, draw(0), alpha=1.0, p=0.0)
    assert torch.equal(out, x)
    assert torch.equal(labels, F.one_hot(y, CLASSES).float())


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_the_probability_is_of_a_batch(mix) -> None:
    x, y = flats()
    whole = [torch.equal(mix(x, y, draw(seed), alpha=5.0, p=0.3)[0], x) for seed in range(300)]
    assert 170 < sum(whole) < 245  # 210 expected, standard deviation 8; a box may be empty


def test_mixing_what_is_mixed() -> None:
    x, y = flats()
    once_images, once = cutmix(x, y, draw(1), alpha=1.0, p=1.0)
    twice_images, twice = mixup(once_images, once, draw(2), alpha=1.0, p=1.0)
    torch.testing.assert_close(twice.sum(1), torch.ones(N))
    expected = twice @ (torch.arange(CLASSES) / N)
    torch.testing.assert_close(twice_images.mean((1, 2, 3)), expected, atol=1e-5, rtol=0)
