"""Other ways to compute the gradient of a kernel against torch's own, and the choice among them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rungs.errors import UserError
from rungs.models import kernel_gradient
from rungs.models.kernel_gradient import STRIP, WAYS, GradientConv2d, by_product, by_torch, fits, side_by_side
from rungs.models.normalized import Normalized
from rungs.training import convolutions
from rungs.training.device import World

ALONE = World(0, 1, torch.device("cpu"))


def maps(batch: int, channels: int, height: int, width: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    values = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def relative(ours: Tensor, exact: Tensor) -> float:
    return float((ours.double() - exact.double()).norm() / exact.double().norm())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 3, 3), (STRIP, 7, 7), (STRIP + 3, 5, 8), (3 * STRIP, 1, 2)])
def test_every_way_is_the_same_sum(way: str, side: int, batch: int, height: int, width: int) -> None:
    x, dout = maps(batch, 6, height, width, torch.float64), maps(batch, 4, height, width, torch.float64, seed=1)
    weight = torch.zeros(4, 6, side, side, dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(F.conv2d(x, weight, padding=side // 2), weight, dout)
    torch.testing.assert_close(WAYS[way](x, dout, side), exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 6e-3)])
def test_rounding_is_that_of_the_dtype(way: str, dtype: torch.dtype, most: float) -> None:
    x, dout = maps(64, 32, 7, 7, dtype), maps(64, 48, 7, 7, dtype, seed=1)
    exact = by_torch(x.double(), dout.double(), 3)
    assert relative(WAYS[way](x, dout, 3), exact) < most


def test_a_product_needs_little_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, dout = maps(9, 6, 5, 5, torch.float32), maps(9, 4, 5, 5, torch.float32, seed=1)
    exact = by_torch(x, dout, 3)
    monkeypatch.setattr(kernel_gradient, "ROWS_BYTES", 2.5 * 9 * x[0].numel() * 4)  # two images at once
    assert relative(by_product(x, dout, 3), exact) < 1e-6


def test_strips_have_zeros_between_the_images() -> None:
    x = maps(STRIP + 1, 2, 3, 4, torch.float32)
    strips = side_by_side(x, 1)
    assert strips.shape == (2, 2, 3, 5 * STRIP)
    assert torch.equal(strips[0, :, :, 5:9], x[1])
    assert torch.equal(strips[1, :, :, :4], x[STRIP])
    assert strips[0, :, :, 4::5].count_nonzero() == 0
    assert strips[1, :, :, 4:].count_nonzero() == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bf16", [False, True])
def test_a_layer_is_the_same_layer(way: str, bf16: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 12, 3, padding=1)
    fast = GradientConv2d(copy.deepcopy(plain), {(6, 6): way})
    x = maps(25, 8, 6, 6, torch.float32)
    results = []
    for conv in (plain, fast):
        mine = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = conv(mine)
        out.float().square().sum().backward()
        results.append((out, mine.grad, conv.weight.grad, conv.bias.grad))
    assert results[0][0].dtype == results[1][0].dtype == (torch.bfloat16 if bf16 else torch.float32)
    for expected, ours in zip(*results, strict=True):
        assert expected is not None and ours is not None
        assert relative(ours, expected) < (2e-2 if bf16 else 1e-5)
    fast(maps(2, 8, 5, 5, torch.float32)).sum().backward()  # a size without a way


def test_what_it_cannot_compute_is_left_alone() -> None:
    assert fits(nn.Conv2d(3, 4, 3, padding=1)) and fits(nn.Conv2d(3, 4, 5, padding="same"))
    hooked = nn.Conv2d(3, 4, 3, padding=1)
    hooked.register_forward_hook(lambda conv, inputs, out: 2 * out)
    for conv in (
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(3, 4, (3, 5), padding=(1, 2)),
        nn.utils.spectral_norm(nn.Conv2d(3, 4, 3, padding=1)),
        hooked,
    ):
        assert not fits(conv)


def net() -> Normalized:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 8, 3)
    return Normalized(nn.Sequential(*layers), [0.5] * 3, [0.25] * 3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_fastest_way_is_chosen_once_a_shape(
    precision: str, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[int, ...], tuple[int, int], torch.dtype]] = []

    def measured(shape: tuple[int, int, int, int], size: tuple[int, int], dtype: torch.dtype) -> str:
        asked.append((shape, size, dtype))
        return "strips" if size == (8, 8) else "torch"

    monkeypatch.setattr(convolutions, "_measured", measured)
    monkeypatch.setattr(convolutions, "LEAST_FLOPS", 1.0)
    for _ in range(2):
        model = net()
        used = convolutions.use_fast(model, "auto", precision=precision, world=ALONE, sizes=(16, 12), images=40)
        assert used == "fast"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    first = [((40, 3, 16, 3), (side, side), dtype) for side in (12, 16)]
    assert asked == [*first, *[((40, 16, 16, 3), (side, side), dtype) for side in (6, 8)]]
    fast = [module for module in model.modules() if isinstance(module, GradientConv2d)]
    assert [layer.ways for layer in fast] == [{(8, 8): "strips"}]
    assert list(model.state_dict()) == list(net().state_dict())


def test_direct_is_torch_alone_and_a_small_net_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: object) -> str:
        raise AssertionError("nothing should be measured")

    monkeypatch.setattr(convolutions, "_measured", measured)
    for asked in ("direct", "auto"):
        model = net()
        assert convolutions.use_fast(model, asked, precision="fp32", world=ALONE, sizes=(16,), images=40) == "direct"
        assert all(type(module) is nn.Conv2d for module in model.net.children() if isinstance(module, nn.Conv2d))


def test_a_resumed_run_keeps_its_way_on_a_machine_where_another_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "_measured", lambda *_: "torch")
    elsewhere = World(0, 1, torch.device("meta"))
    for asked in ("fast", "winograd", "direct"):
        for world in (ALONE, elsewhere):
            kept = convolutions.use_fast(net(), asked, precision="bf16", world=world, sizes=(16,), images=40, kept=True)
            assert kept == asked
    with pytest.raises(UserError, match="winograd needs fp32 on a CPU"):
        convolutions.use_fast(net(), "winograd", precision="bf16", world=ALONE, sizes=(16,), images=40)


def test_a_measurement_names_one_of_the_ways() -> None:
    assert convolutions._measured((20, 16, 16, 3), (4, 4), torch.float32) in WAYS
