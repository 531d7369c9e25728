from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from rungs import data
from rungs.data.imageset import Source
from rungs.data.sources import digits as source
from rungs.errors import UserError


def test_are_the_digits_of_scikit_learn(digits: Source) -> None:
    assert digits.canonical is True
    assert digits.train.images.shape == (1797, 3, 8, 8)
    assert digits.train.images.dtype == torch.uint8
    assert digits.train.classes == tuple("0123456789")
    assert digits.train.labels.tolist() == load_digits().target.tolist()
    assert digits.test is None and digits.validation is None


def test_grey_levels_fill_the_range(digits: Source) -> None:
    grey = torch.from_numpy(load_digits().images)
    for channel in range(3):
        assert (digits.train.images[:, channel] - grey * 255 / 16).abs().max() <= 0.5
    assert digits.train.images.max() == 255 and digits.train.images.min() == 0


def test_are_resized(digits: Source) -> None:
    larger = data.load("digits", 32)
    assert larger.train.images.shape == (1797, 3, 32, 32)
    assert larger.canonical is True  # it says what the source is, not the size
    assert larger.train.hash != digits.train.hash
    assert data.load("digits", 8).train.hash == digits.train.hash
    small = torch.nn.functional.avg_pool2d(larger.train.images.float(), 4)
    assert (small - digits.train.images).abs().mean() < 20  # still the same pictures


def test_take_no_path() -> None:
    with pytest.raises(UserError, match="take no path"):
        data.load("digits:here", None)


def test_where_the_file_has_moved_scikit_learn_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = source._table()
    monkeypatch.setattr(source, "find_spec", lambda name: None)
    assert (source._table() == expected).all()
