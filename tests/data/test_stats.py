from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rungs.data.imageset import Source
from rungs.data.stats import mean_std


@pytest.mark.needs_cifar
def test_cifar10_has_its_pixel_statistics(cifar10: Source) -> None:
    mean, std = mean_std(cifar10.train.blocks())
    assert [round(value, 4) for value in mean] == [0.4914, 0.4822, 0.4465]
    assert [round(value, 4) for value in std] == [0.2470, 0.2435, 0.2616]  # not 0.2023, 0.1994, 0.2010


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_agrees_with_numpy_in_double_precision(n: int, height: int, width: int, seed: int, chunk: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 3, height, width), dtype=np.uint8)
    mean, std = mean_std(torch.split(torch.from_numpy(pixels), chunk))  # several blocks are added up
    expected = (pixels / 255).std((0, 2, 3))
    np.testing.assert_allclose(mean, (pixels / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, np.where(expected < 1e-12, 1, expected), rtol=1e-9)


def test_a_constant_channel_can_be_divided_by() -> None:
    images = torch.full((5, 3, 4, 4), 77, dtype=torch.uint8)
    images[:, 0, 0] = 255
    mean, std = mean_std([images])
    assert mean[1:] == (77 / 255, 77 / 255)
    assert 0 < std[0] < 1
    assert std[1:] == (1.0, 1.0)


def test_sums_do_not_overflow_or_round() -> None:
    images = torch.full((300, 3, 128, 128), 255, dtype=torch.uint8)  # 4.9 million pixels a channel
    images[0, :, 0, 0] = 254
    n = 300 * 128 * 128
    mean, std = mean_std([images])
    assert mean[0] == pytest.approx(1 - 1 / n / 255, abs=1e-15)
    assert std[0] == pytest.approx(((n - 1) / n**2) ** 0.5 / 255, rel=1e-12)


def test_reads_a_mapped_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
    pixels.tofile(tmp_path / "images")
    mapped = torch.from_file(str(tmp_path / "images"), size=pixels.size, dtype=torch.uint8).view(40, 3, 8, 8)
    assert mean_std(mapped.split(7)) == mean_std([torch.from_numpy(pixels)])
