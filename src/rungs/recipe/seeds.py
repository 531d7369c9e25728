"""All randomness is derived from (seed, purpose, epoch, rank), so that any epoch can be repeated on its own."""

from __future__ import annotations

from typing import Literal, get_args

Stream = Literal["order", "weights", "augment", "dropout", "validation"]
STREAMS: tuple[str, ...] = get_args(Stream)


def derive(seed: int, stream: Stream, *key: int) -> int:
    """Return a 63-bit seed for one use.

    numpy's SeedSequence mixes the key, so that neighbouring keys are unrelated; the key's length is part of it, because
    SeedSequence itself treats (1,) and (1, 0) as equal.
    """
    import numpy as np

    mixed = np.random.SeedSequence((seed, 1 + STREAMS.index(stream), len(key), *key))
    return int(mixed.generate_state(1, np.uint64)[0] >> np.uint64(1))
