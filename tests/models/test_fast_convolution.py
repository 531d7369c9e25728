"""A layer that is computed in other ways than torch's, and the choice of the fastest."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rungs.errors import UserError
from rungs.models.fast_convolution import WAYS, FastConv2d, fits, is_depthwise, ways_of
from rungs.models.normalized import Normalized
from rungs.training import convolutions
from rungs.training.device import World

ALONE = World(0, 1, torch.device("cpu"))


def maps(batch: int, channels: int, height: int, width: int) -> Tensor:
    values = torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(0))
    return values.contiguous(memory_format=torch.channels_last)


def relative(ours: Tensor, exact: Tensor) -> float:
    ours, exact = ours.detach().double(), exact.detach().double()
    return float((ours - exact).norm() / exact.norm())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bf16", [False, True])
def test_a_layer_is_the_same_layer(way: str, bf16: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 12, 3, padding=1)
    fast = FastConv2d(copy.deepcopy(plain), {(6, 6): way})
    x = maps(25, 8, 6, 6)
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
    fast(maps(2, 8, 5, 5)).sum().backward()  # a size without a way


@pytest.mark.parametrize(
    "plain",
    [
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 5, padding="same", groups=8),
        nn.Conv2d(8, 8, 5, stride=2, groups=8),
        nn.Conv2d(8, 8, 7, stride=(2, 3), padding=(1, 2), groups=8),
    ],
)
@pytest.mark.parametrize("bf16", [False, True])
def test_a_depthwise_layer_is_the_same_layer(plain: nn.Conv2d, bf16: bool) -> None:
    plain = copy.deepcopy(plain)
    fast = FastConv2d(copy.deepcopy(plain), {(10, 11): "columns"})
    x = maps(5, 8, 10, 11)
    results = []
    for conv in (plain, fast):
        mine = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = conv(mine)
            out = out.add_(1)  # a net may change it in place
        out.float().square().sum().backward()
        results.append((out, mine.grad, conv.weight.grad, conv.bias.grad))
    for expected, ours in zip(*results, strict=True):
        assert expected is not None and ours is not None and ours.shape == expected.shape
        assert relative(ours, expected) < (2e-2 if bf16 else 1e-5)
    assert fits(plain) and is_depthwise(fast)


def test_only_ways_that_can_be_faster_are_tried() -> None:
    small, wide = (nn.Conv2d(8, 8, side, stride=2, groups=8) for side in (3, 5))
    assert ways_of(wide, torch.float32) == ways_of(wide, torch.bfloat16) == ("torch", "columns")
    assert ways_of(small, torch.float32) == ("torch",)
    assert ways_of(small, torch.bfloat16) == ("torch", "columns")
    assert ways_of(nn.Conv2d(8, 8, 3, padding=1, groups=8), torch.bfloat16) == ("torch",)


def test_a_layer_is_measured_with_its_stride_and_padding() -> None:
    found = convolutions._measured(nn.Conv2d(4, 4, 5, stride=2, groups=4), 2, (11, 10), torch.float32)
    assert list(found) == ["torch", "columns"] and min(found.values()) > 0


def test_what_it_cannot_compute_is_left_alone() -> None:
    assert fits(nn.Conv2d(3, 4, 3, padding=1)) and fits(nn.Conv2d(3, 4, 5, padding="same"))
    assert fits(nn.Conv2d(4, 4, 5, stride=2, groups=4)) and fits(nn.Conv2d(4, 4, 5, padding="same", groups=4))
    hooked = nn.Conv2d(3, 4, 3, padding=1)
    hooked.register_forward_hook(lambda conv, inputs, out: 2 * out)
    for conv in (
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(4, 8, 3, padding=1, groups=4),
        nn.Conv2d(4, 4, 3, padding="valid", groups=4),
        nn.Conv2d(4, 4, 4, padding="same", groups=4),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4),
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

    def measured(conv: nn.Conv2d, images: int, size: tuple[int, int], dtype: torch.dtype) -> dict[str, float]:
        asked.append(((images, conv.in_channels, conv.out_channels, conv.kernel_size[0]), size, dtype))
        return {"torch": 1.0, "strips": 0.9 if size == (8, 8) else 0.95}  # the latter may be noise

    monkeypatch.setattr(convolutions, "_measured", measured)
    monkeypatch.setattr(convolutions, "LEAST_FLOPS", 1.0)
    monkeypatch.setattr(convolutions, "MOST_FLOPS", 1e9)
    for _ in range(2):
        model = net()
        used = convolutions.use_fast(model, "auto", precision=precision, world=ALONE, sizes=(16, 12), images=40)
        assert used == "fast"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    first = [((40, 3, 16, 3), (side, side), dtype) for side in (12, 16)]
    assert asked == [*first, *[((40, 16, 16, 3), (side, side), dtype) for side in (6, 8)]]
    fast = [module for module in model.modules() if isinstance(module, FastConv2d)]
    assert [layer.ways for layer in fast] == [{(8, 8): "strips"}]
    assert list(model.state_dict()) == list(net().state_dict())


def test_direct_is_torch_alone_and_a_small_net_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: object) -> dict[str, float]:
        raise AssertionError("nothing should be measured")

    monkeypatch.setattr(convolutions, "_measured", measured)
    for asked in ("direct", "auto"):
        model = net()
        assert convolutions.use_fast(model, asked, precision="fp32", world=ALONE, sizes=(16,), images=40) == "direct"
        assert all(type(module) is nn.Conv2d for module in model.net.children() if isinstance(module, nn.Conv2d))


def test_a_resumed_run_keeps_its_way_on_a_machine_where_another_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "_measured", lambda *_: {"torch": 1.0})
    monkeypatch.setattr(convolutions, "LEAST_FLOPS", 1.0)
    elsewhere = World(0, 1, torch.device("meta"))
    for asked in ("fast", "winograd", "direct"):
        for world in (ALONE, elsewhere):
            kept = convolutions.use_fast(net(), asked, precision="bf16", world=world, sizes=(16,), images=40, kept=True)
            assert kept == asked
    with pytest.raises(UserError, match="winograd needs fp32 on a CPU"):
        convolutions.use_fast(net(), "winograd", precision="bf16", world=ALONE, sizes=(16,), images=40)


@pytest.mark.parametrize(("side", "dtype"), [(3, torch.float32), (3, torch.bfloat16), (5, torch.float32)])
def test_each_way_that_can_compute_a_layer_is_measured(
    side: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs, now = dict(zip(WAYS, (3.0, 2.0, 5.0, 1.0), strict=True)), 0.0

    def convolve(x: Tensor, weight: Tensor, way: str, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        nonlocal now
        now += costs[way]
        costs[way] += 1  # the fastest round counts
        return nn.functional.conv2d(x, weight, stride=stride, padding=padding)

    monkeypatch.setattr(convolutions, "convolve", convolve)
    monkeypatch.setattr(convolutions, "perf_counter", lambda: now)
    found = convolutions._measured(nn.Conv2d(4, 4, side, padding="same"), 2, (4, 4), dtype)
    gradients = {"torch": 3.0, "strips": 2.0, "product": 5.0}
    assert found == (gradients | {"winograd": 1.0} if side == 3 and dtype == torch.float32 else gradients)


@pytest.mark.parametrize("way", WAYS)
def test_a_net_may_change_the_output_in_place(way: str) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(8, 12, 3, padding=1, bias=False)
    fast = FastConv2d(copy.deepcopy(plain), {(6, 6): way})
    x = maps(3, 8, 6, 6)
    for conv in (plain, fast):
        out = conv(x)
        out += 1
        out.relu_().sum().backward()
    assert relative(fast.weight.grad, plain.weight.grad) < 1e-5


def test_a_net_goes_on_as_before() -> None:
    plain, before = net(), net()
    for number, ways in ((0, {(16, 16): "strips", (12, 12): "winograd"}), (2, {(8, 8): "product"})):
        before.net[number] = FastConv2d(before.net[number], ways)
    recorded = convolutions.fast_convolutions(before)
    assert len(recorded) == 3 and not convolutions.fast_convolutions(plain)
    other = net()
    other.net[0] = FastConv2d(other.net[0], {(16, 16): "product"})
    for model in (plain, other):
        convolutions.use_as_before(model, recorded)
        assert convolutions.fast_convolutions(model) == recorded
        convolutions.use_as_before(model, recorded[:1])
        assert convolutions.fast_convolutions(model) == recorded[:1]


def test_winograd_alone_is_used_where_it_saves_multiplications() -> None:
    torch.manual_seed(0)
    plain = Normalized(
        nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1),  # too few channels
            nn.Sequential(nn.Conv2d(64, 128, 3, padding=1), nn.Conv2d(128, 128, 3, padding="same", bias=False)),
            nn.Conv2d(128, 64, 5, padding=2),
            nn.Conv2d(64, 8, 3, stride=2, padding=1),
            nn.Conv2d(8, 8, 1),
            nn.Conv2d(8, 128, 1),
            nn.Conv2d(128, 128, 3, padding=1, groups=128),
        ),
        [0.5] * 3,
        [0.25] * 3,
    )
    fast = copy.deepcopy(plain)
    assert convolutions.use_fast(fast, "winograd", precision="fp32", world=ALONE, sizes=(12,), images=2) == "winograd"
    convs = [module for module in fast.modules() if isinstance(module, nn.Conv2d)]
    assert [type(conv) for conv in convs] == [nn.Conv2d] + [FastConv2d] * 2 + [nn.Conv2d] * 5
    assert all(conv.ways == {(12, 12): "winograd"} for conv in convs if isinstance(conv, FastConv2d))
    assert list(fast.state_dict()) == list(plain.state_dict())
    x = torch.rand(2, 3, 12, 12)
    out, expected = fast(x), plain(x)
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        assert not torch.equal(fast(x), plain(x))  # Winograd's way when scoring, too
    for result in (out, expected):
        result.square().sum().backward()
    for ours, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-3, rtol=1e-3)
