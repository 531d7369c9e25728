"""How much an image counts by its class: the weights, the loss with them, packs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from small import run, small
from torch import Tensor
from torch.nn import functional as F

from rungs.data.imageset import ImageSet
from rungs.errors import UserError
from rungs.recipe.identity import digest
from rungs.training.class_weights import class_weights
from rungs.training.step import summed_loss

CPU = torch.device("cpu")
LOSSES = ("cross-entropy", "nll", "softmax-cross-entropy")


def images(*counts: int) -> ImageSet:
    """Return a set with so many images of each class."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    names = tuple(f"class {k}" for k in range(len(counts)))
    return ImageSet(torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8), labels, names, "")


def weights(part: ImageSet, *overrides: str) -> Tensor:
    found = class_weights(small(*overrides), part, CPU)
    assert found is not None
    return found


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    part = images(50, 7, 23)
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=part.labels.numpy())
    assert weights(part, "training.class_weights=balanced").tolist() == pytest.approx(theirs)
    assert class_weights(small(), part, CPU) is None


def test_of_given_weights_only_the_ratios_matter() -> None:
    part = images(50, 7, 23)
    one, other = (weights(part, f"training.class_weights={given}") for given in ([1, 4, 2], [0.1, 0.4, 0.2]))
    assert torch.allclose(one, other)
    assert float(one[1] / one[0]) == pytest.approx(4)
    assert float(one[part.labels].mean()) == pytest.approx(1)  # an image counts 1 on average


def test_a_class_without_images_upsets_no_weight() -> None:
    found = weights(images(50, 0, 10), "training.class_weights=balanced")
    assert found.isfinite().all() and float(found[2] / found[0]) == pytest.approx(5)


def test_balanced_sampling_leaves_nothing_to_weight() -> None:
    found = weights(images(50, 7, 23), "training.class_weights=balanced", "data.balance=sampling")
    assert found.tolist() == pytest.approx([1, 1, 1])


def test_a_weight_for_each_class_or_an_error_that_names_them() -> None:
    with pytest.raises(UserError, match="2 weights for 3 classes") as refused:
        weights(images(5, 5, 5), "training.class_weights=[1, 2]")
    assert "class 0, class 1, class 2" in str(refused.value)
    for wrong in ("[1, 0]", "[1]", "often", "[1, -2]"):
        with pytest.raises(UserError, match=r"training\.class_weights"):
            small(f"training.class_weights={wrong}")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from(LOSSES), st.sampled_from([0.0, 0.2]), st.booleans())
def test_the_loss_of_an_image_is_multiplied_by_its_weight(seed: int, name: str, smoothing: float, mixed: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs, y = torch.randn(6, 4, generator=generator), torch.randint(4, (6,), generator=generator)
    given = torch.rand(4, generator=generator) + 0.1
    if mixed:
        y = 0.3 * torch.eye(4)[y] + 0.7 * torch.eye(4)[y.flip(0)]
    each = [float(summed_loss(name, outputs[i : i + 1], y[i : i + 1], smoothing)) for i in range(6)]
    counts = [float((given * y[i]).sum()) if mixed else float(given[y[i]]) for i in range(6)]
    expected = sum(loss * count for loss, count in zip(each, counts, strict=True))
    assert float(summed_loss(name, outputs, y, smoothing, given)) == pytest.approx(expected, rel=1e-5)
    if not (mixed or smoothing) and name != "softmax-cross-entropy":
        assert float(F.cross_entropy(outputs, y, given, reduction="sum")) == pytest.approx(expected, rel=1e-5)


def test_smoothed_labels_do_not_pull_every_image_to_a_rare_class() -> None:
    """They do where torch weights the parts of a label: the best answer for a common image is then the rare class."""
    given, y = torch.tensor([0.9] * 9 + [90.0]), torch.zeros(1, dtype=torch.long)
    best = {}
    for who in ("ours", "torch"):
        leaf = torch.zeros(1, 10, requires_grad=True)
        for _ in range(2000):
            ours = summed_loss("cross-entropy", leaf, y, 0.1, given)
            loss = ours if who == "ours" else F.cross_entropy(leaf, y, given, label_smoothing=0.1)
            (slope,) = torch.autograd.grad(loss, leaf)
            leaf = (leaf - 0.5 * slope).detach().requires_grad_()
        best[who] = int(leaf.argmax())
    assert best == {"ours": 0, "torch": 9}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("mixed", [False, True])
def test_each_run_of_a_pack_has_its_own_weights(name: str, mixed: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    outputs, y = torch.randn(5, 3, 4, generator=generator), torch.randint(4, (5, 3), generator=generator)
    given = torch.rand(3, 4, generator=generator) + 0.1
    if mixed:
        y = 0.3 * torch.eye(4)[y] + 0.7 * torch.eye(4)[y.flip(0)]
    together = summed_loss(name, outputs, y, 0.1, given)
    alone = [float(summed_loss(name, outputs[:, s], y[:, s], 0.1, given[s])) for s in range(3)]
    assert together.tolist() == pytest.approx(alone, rel=1e-5)


def test_equal_weights_train_as_none_and_others_do_not(tmp_path: Path) -> None:
    quick = ("training.epochs=1", "data.train=200", "training.precision=fp32")
    plain = run(small(*quick), tmp_path / "plain").history[0]
    equal = run(small(*quick, f"training.class_weights={[7.0] * 10}"), tmp_path / "equal").history[0]
    other = run(small(*quick, f"training.class_weights={[1.0] * 9 + [20.0]}"), tmp_path / "other").history[0]
    assert equal.train_loss == pytest.approx(plain.train_loss, rel=1e-4)
    assert equal.validation_loss == pytest.approx(plain.validation_loss, rel=1e-3)
    assert other.train_loss != pytest.approx(plain.train_loss, rel=1e-2)


def test_a_recipe_that_uses_a_newer_field_has_a_digest_of_its_own() -> None:
    changed = ("training.class_weights=balanced", "training.class_weights=[1, 2]", "data.balance=sampling")
    assert len({digest(small(*one)) for one in ((), *((change,) for change in changed))}) == 4
    assert digest(small("training.class_weights=none", "data.balance=none")) == digest(small())
