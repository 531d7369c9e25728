from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from rungs.data.batches import order, share, spans, to_float


@given(st.integers(2, 500), st.integers(2, 64), st.integers(1, 4))
def test_every_image_is_in_exactly_one_batch_of_one_rank(n: int, batch_size: int, ranks: int) -> None:
    seen: list[int] = []
    for start, stop in spans(n, batch_size, ranks):
        parts = [share(start, stop, rank, ranks) for rank in range(ranks)]
        seen += [i for first, last in parts for i in range(first, last)]
        sizes = [last - first for first, last in parts]
        assert max(sizes) - min(sizes) <= 1
        if n >= 2 * ranks and batch_size >= 2 * ranks:
            assert min(sizes) >= 2  # BatchNorm needs two
    assert seen == list(range(n))


def test_an_order_is_a_permutation_of_seed_and_epoch() -> None:
    first = order(100, 3, 5)
    assert torch.equal(first.sort().values, torch.arange(100))
    assert torch.equal(first, order(100, 3, 5))
    assert not torch.equal(first, order(100, 3, 6))
    assert not torch.equal(first, order(100, 4, 5))


def test_float_images_are_in_0_1_and_channels_last() -> None:
    x = to_float(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 4))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(x[0, :, 0, 0], torch.tensor([0.0, 0.2, 1.0]))
