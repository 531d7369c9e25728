from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from rungs.evaluate.tta import Averaged, second_look


class Places(nn.Module):
    """Its logits are the pixels of the first row: what view it saw can be read off them."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0, 0, :]


IMAGES = torch.arange(6 * 3 * 4 * 4, dtype=torch.float32).view(6, 3, 4, 4)


def test_mirror_is_the_mean_of_both_ways() -> None:
    rows = IMAGES[:, 0, 0]
    torch.testing.assert_close(Averaged(Places(), "mirror")(IMAGES), (rows + rows.flip(1)) / 2)


def test_translate_weighs_the_image_itself_as_much_as_both_moved_ones() -> None:
    image = IMAGES[:1]
    padded = nn.functional.pad(image, (1, 1, 1, 1), "reflect")[0, 0]
    views = {(1, 1): 0.5, (0, 0): 0.25, (2, 2): 0.25}  # the top left corner of each, and its weight
    rows = sum(weight * padded[top, left : left + 4] for (top, left), weight in views.items())
    assert isinstance(rows, Tensor)
    torch.testing.assert_close(Averaged(Places(), "mirror-translate")(image)[0], (rows + rows.flip(0)) / 2)


def test_a_second_look_is_taken_at_the_least_sure_alone() -> None:
    sure, unsure = [9.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0]
    logits = torch.tensor([sure, unsure, sure, sure, unsure, sure])
    seen: list[int] = []

    def inputs(chosen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        seen.extend(chosen.tolist())
        yield IMAGES[chosen], chosen

    out = second_look(Places(), logits, inputs, nullcontext, views="mirror", share=1 / 3)
    assert seen == [1, 4]
    torch.testing.assert_close(out[[0, 2, 3, 5]], logits[[0, 2, 3, 5]])
    torch.testing.assert_close(out[[1, 4]], Averaged(Places(), "mirror")(IMAGES[[1, 4]]))
    assert second_look(Places(), logits, inputs, nullcontext, views="mirror", share=0.0) is logits
