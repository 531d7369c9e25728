"""Mixed convolutions against a loop over single ones, and the options of the plain net."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rungs.errors import UserError
from rungs.models import build_model
from rungs.models.mixconv import Mix, MixConvNet, weighted_sum
from rungs.models.plain import PlainNet
from rungs.recipe.models import MixConv, Plain


def mixed(size: int = 16, **fields: Any) -> MixConvNet:
    spec = MixConv(**{"channels": (6, 8), "convs": (3, 2), **fields})
    torch.manual_seed(0)
    net = build_model(spec, image_size=size, classes=10)
    assert isinstance(net, MixConvNet)
    return net


def plain(size: int = 32, **fields: Any) -> PlainNet:
    torch.manual_seed(0)
    net = build_model(Plain(**{"stages": ((4, 6), (8, 10)), **fields}), image_size=size, classes=10)
    assert isinstance(net, PlainNet)
    return net


def block(net: MixConvNet, i: int = 1) -> Mix:
    found = net.blocks.get_submodule(f"block{i}")
    assert isinstance(found, Mix)
    return found


def leaves(net: nn.Module) -> list[nn.Module]:
    return [module for module in net.modules() if not list(module.children())]


def kinds(net: nn.Module) -> list[str]:
    return [type(module).__name__ for module in leaves(net)]


def by_hand(mix: Mix, x: Tensor, many: int, *, softmax: bool) -> Tensor:
    """Run each convolution by itself, image by image, and add the outputs with that image's weights."""
    assert isinstance(mix.branches, nn.Sequential)
    together = mix.branches[0]
    assert isinstance(together, nn.Conv2d)
    width = together.out_channels // many
    branches = []
    for j in range(many):
        conv = nn.Conv2d(together.in_channels, width, together.kernel_size, padding=together.padding)  # type: ignore[arg-type]
        cut = slice(j * width, (j + 1) * width)
        conv.weight.data = together.weight.data[cut]
        assert conv.bias is not None
        conv.bias.data = torch.zeros(width) if together.bias is None else together.bias.data[cut]
        after = []
        for module in mix.branches[1:]:
            if isinstance(module, nn.BatchNorm2d):
                norm = nn.BatchNorm2d(width).train(module.training)
                norm.weight.data, norm.bias.data = module.weight.data[cut], module.bias.data[cut]
                assert norm.running_mean is not None and module.running_mean is not None
                assert norm.running_var is not None and module.running_var is not None
                norm.running_mean, norm.running_var = module.running_mean[cut].clone(), module.running_var[cut].clone()
                module = norm
            after.append(module)
        branches.append(nn.Sequential(conv, *after)(x))
    total = torch.zeros_like(branches[0])
    for image in range(len(x)):
        means = torch.stack([x[image, c].sum() / x[image, c].numel() for c in range(x.shape[1])])
        weights = mix.weights.weight @ means + mix.weights.bias
        if softmax:
            weights = weights.exp() / weights.exp().sum()
        for j in range(many):
            total[image] += weights[j] * branches[j][image]
    return total


@pytest.mark.parametrize("combine", ["mix", "mix-softmax"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "none"},
        {"activation": "sigmoid", "kernel_size": 5},
        {"batch_norm": True},
        {"batch_norm": True, "activation": "sigmoid"},
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_a_block_is_the_weighted_sum_of_single_convolutions(
    combine: str, options: dict[str, Any], training: bool
) -> None:
    mix = block(mixed(combine=combine, **options)).train(training)
    for module in mix.modules():  # other scales than 1, so that a wrong order shows
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, -1, 1)
    x = torch.randn(4, 3, 9, 9)
    expected = by_hand(mix, x, 3, softmax=combine == "mix-softmax")
    assert expected.shape == (4, 6, 9, 9)
    assert torch.allclose(mix(x), expected, atol=1e-5)


FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("leading", [(2,), (2, 3)], ids=["one", "pack"])
def test_the_weighted_sum_and_its_gradients_are_those_of_the_formula(
    leading: tuple[int, ...], dtype: torch.dtype, error: float, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    weights = torch.randn(*leading, 4).to(dtype).requires_grad_()
    flat = torch.randn(2, weights[0].numel() * 5, 6, 7).to(dtype).contiguous(memory_format=memory_format)
    flat.requires_grad_()
    maps = flat.unflatten(1, (*leading[1:], 4, 5))
    exact = (maps.double() * weights.double()[..., None, None, None]).sum(-4)
    direction = torch.randn(exact.shape).to(dtype)
    wanted = exact, *torch.autograd.grad(exact, (flat, weights), direction.double())
    total = weighted_sum(maps, weights)
    found = total, *torch.autograd.grad(total, (flat, weights), direction)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == dtype
        assert float((ours.double() - theirs).detach().norm() / theirs.detach().norm()) < error
    assert found[1].is_contiguous(memory_format=memory_format)
    assert total.flatten(1, -3).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("combine", ["mix", "mix-softmax"])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_block_and_its_gradients_are_those_of_maps_weighted_one_by_one(
    combine: str, memory_format: torch.memory_format, bf16: bool
) -> None:
    mix = block(mixed(combine=combine))
    x = torch.randn(4, 3, 9, 9).contiguous(memory_format=memory_format)
    direction = torch.randn(4, 6, 9, 9)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        weights = mix.weights(x.mean((2, 3)))
        weights = weights.softmax(1) if mix.normalised else weights
        maps = mix.branches(x).chunk(3, 1)
        expected = sum(w.view(-1, 1, 1, 1) * y for w, y in zip(weights.unbind(1), maps, strict=True))
        total = mix(x)
    assert total.dtype == (torch.bfloat16 if bf16 else torch.float32)
    wanted, found = (
        (y, *torch.autograd.grad((y * direction).sum(), list(mix.parameters()))) for y in (expected, total)
    )
    for ours, theirs in zip(found, wanted, strict=True):
        assert float((ours - theirs).detach().norm() / theirs.detach().norm()) < (1e-2 if bf16 else 1e-6)


def test_a_compiled_block_is_one_graph_and_computes_the_same() -> None:
    mix = block(mixed(combine="mix-softmax"))
    x = torch.randn(4, 3, 9, 9).contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(mix, backend="aot_eager", fullgraph=True)
    expected, total = mix(x), compiled(x)
    wanted, found = (torch.autograd.grad(y.square().sum(), list(mix.parameters())) for y in (expected, total))
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(found, wanted)


def test_raw_and_normalised_weights_differ_with_the_same_parameters() -> None:
    raw, normal = block(mixed(combine="mix")), block(mixed(combine="mix-softmax"))
    normal.load_state_dict(raw.state_dict())
    x = torch.randn(2, 3, 9, 9)
    assert not torch.allclose(raw(x), normal(x), atol=1e-2)


def test_the_weights_depend_on_the_channel_means_of_each_image() -> None:
    mix = block(mixed(activation="none"))
    seen: list[Tensor] = []
    mix.weights.register_forward_hook(lambda _, inputs, output: seen.extend((inputs[0], output)))
    x = torch.randn(3, 3, 9, 9)
    mix(x)
    means, weights = seen
    assert torch.allclose(means, x.mean((2, 3)), atol=1e-6)
    assert weights.shape == (3, 3)
    assert not torch.allclose(weights[0], weights[1], atol=1e-3)
    seen.clear()
    mix(x.flip(3).roll(2, 2))  # the same means, other places
    assert torch.allclose(seen[1], weights, atol=1e-5)
    seen.clear()
    mix(x + torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))  # the red is brighter
    assert torch.allclose(seen[1], weights + mix.weights.weight[:, 0], atol=1e-5)


def test_an_image_is_mixed_alike_in_any_batch() -> None:
    net = mixed().eval()
    x = torch.rand(4, 3, 16, 16)
    assert torch.allclose(net(x), torch.cat([net(one[None]) for one in x]), atol=1e-5)


@pytest.mark.parametrize("combine", ["mix", "mix-softmax"])
def test_the_gradient_reaches_the_weights_of_every_block(combine: str) -> None:
    net = mixed(combine=combine)
    net(torch.rand(4, 3, 16, 16)).logsumexp(1).sum().backward()
    for i in (1, 2):
        for parameter in block(net, i).parameters():
            assert parameter.grad is not None
            assert float(parameter.grad.abs().sum()) > 0


def test_a_sequence_has_its_convolutions_one_after_the_other() -> None:
    net = mixed(combine="sequence", batch_norm=True, activation="sigmoid")
    unit = ["Conv2d", "BatchNorm2d", "Sigmoid"]
    assert kinds(net) == [*unit * 5, "AdaptiveAvgPool2d", "Linear"]
    sizes = [(m.in_channels, m.out_channels) for m in leaves(net) if isinstance(m, nn.Conv2d)]
    assert sizes == [(3, 6), (6, 6), (6, 6), (6, 8), (8, 8)]
    x = torch.rand(2, 3, 16, 16)
    one_by_one = x
    for module in leaves(net.blocks):
        one_by_one = module(one_by_one)
    assert torch.allclose(net.blocks(x), one_by_one, atol=1e-5)


def test_a_mixture_has_one_convolution_a_block_with_all_outputs() -> None:
    sizes = [(m.in_channels, m.out_channels) for m in leaves(mixed()) if isinstance(m, nn.Conv2d)]
    assert sizes == [(3, 3 * 6), (6, 2 * 8)]
    assert [(m.in_features, m.out_features) for m in leaves(mixed()) if isinstance(m, nn.Linear)] == [
        (3, 3),
        (6, 2),
        (8, 10),
    ]


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ({"head": "average"}, 8),
        ({"head": "flatten"}, 8 * 16 * 16),
        ({"head": "flatten", "pool": True}, 8 * 4 * 4),
        ({"head": "average", "pool": True}, 8),
    ],
)
def test_what_the_head_sees(options: dict[str, Any], inputs: int) -> None:
    net = mixed(**options)
    linear = net.head[0]
    assert isinstance(linear, nn.Linear)
    assert linear.in_features == inputs
    assert kinds(net).count("MaxPool2d") == (2 if options.get("pool") else 0)
    assert net(torch.rand(2, 3, 16, 16)).shape == (2, 10)


def test_the_average_head_averages_each_map() -> None:
    net = mixed(head="average").eval()
    x = torch.rand(2, 3, 16, 16)
    assert torch.allclose(net(x), net.head(net.blocks(x).mean((2, 3))), atol=1e-5)


@pytest.mark.parametrize("size", [8, 15, 30, 33])
def test_odd_sizes_are_pooled_as_the_head_expects(size: int) -> None:
    net = mixed(size, head="flatten", pool=True, combine="sequence")
    assert net(torch.rand(2, 3, size, size)).shape == (2, 10)


def test_a_dropout_ends_each_block_behind_its_pool() -> None:
    net = mixed(dropout=0.3, pool=True)
    assert list(dict(net.blocks.named_children())) == ["block1", "pool1", "dropout1", "block2", "pool2", "dropout2"]
    assert [m.p for m in leaves(net) if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert "Dropout" not in kinds(mixed(dropout=0.0))


def test_hidden_layers_have_a_relu_each() -> None:
    net = mixed(hidden=(12, 7))
    assert kinds(net.head) == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    sizes = [(m.in_features, m.out_features) for m in net.head if isinstance(m, nn.Linear)]
    assert sizes == [(8, 12), (12, 7), (7, 10)]


@pytest.mark.parametrize(
    ("fields", "where", "what"),
    [
        ({"convs": (3,)}, "model.convs", "2 blocks in channels, 1 in convs"),
        ({"kernel_size": 4}, "model.kernel_size", "4 is even: the map would change its size"),
    ],
)
def test_a_mixed_net_that_cannot_be_built(fields: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(UserError) as caught:
        mixed(**fields)
    assert (caught.value.where, caught.value.what) == (where, what)
    assert caught.value.do


def test_a_small_image_is_pooled_to_a_pixel_and_no_further() -> None:
    net = mixed(channels=(2,) * 6, convs=(1,) * 6, pool=True, head="flatten")  # 16 pixels
    assert kinds(net.blocks).count("MaxPool2d") == 4
    assert net.blocks(torch.rand(3, 3, 16, 16)).shape == (3, 2, 1, 1)
    assert net(torch.rand(3, 3, 16, 16)).shape == (3, 10)


# --- the plain net ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "dilation", "side"), [(3, 1, 5), (5, 1, 2), (3, 2, 2), (1, 3, 8)])
def test_without_padding_each_convolution_takes_its_border(kernel: int, dilation: int, side: int) -> None:
    net = plain(padding="none", kernel_size=kernel, dilation=dilation)
    x = torch.rand(2, 3, 32, 32)
    assert net.features(x).shape == (2, 10, side, side)
    assert net(x).shape == (2, 10)


def test_without_padding_a_small_image_is_used_up() -> None:
    with pytest.raises(UserError) as caught:
        plain(12, padding="none")
    assert caught.value.what == "2 stages shrink an image of 12 pixels to nothing"
    assert caught.value.where == "model.stages"


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_dilation_keeps_the_map(kernel: int, dilation: int) -> None:
    net = plain(kernel_size=kernel, dilation=dilation)
    x = torch.rand(1, 3, 32, 32)
    for module in leaves(net.features):
        before, x = x, module(x)
        if isinstance(module, nn.Conv2d):
            assert module.dilation == (dilation, dilation)
            assert x.shape[2:] == before.shape[2:]


def test_a_dilated_kernel_sees_every_second_pixel() -> None:
    conv = leaves(plain(dilation=2).features)[0]
    far = torch.zeros(1, 3, 9, 9)
    far[0, :, 4, 4] = 1
    seen = (conv(far) - conv(torch.zeros(1, 3, 9, 9))).abs().sum((0, 1)) > 0
    assert seen.nonzero().tolist() == [[row, column] for row in (2, 4, 6) for column in (2, 4, 6)]


@pytest.mark.parametrize("padding", ["same", "none"])
@pytest.mark.parametrize("size", [28, 29, 30, 31, 32, 33])
def test_a_stride_stands_in_for_the_pool(size: int, padding: str) -> None:
    net = plain(size, downsample="stride", padding=padding)
    assert "MaxPool2d" not in kinds(net)
    strides = [m.stride[0] for m in leaves(net) if isinstance(m, nn.Conv2d)]
    assert strides == [1, 2, 1, 2]
    x = torch.rand(2, 3, size, size)
    linear = next(m for m in leaves(net.head) if isinstance(m, nn.Linear))
    assert net.features(x).flatten(1).shape == (2, linear.in_features)
    assert net(x).shape == (2, 10)


@pytest.mark.parametrize(("size", "pooled", "strided"), [(32, 8, 8), (28, 7, 7), (30, 7, 8), (31, 7, 8)])
def test_a_stride_rounds_odd_maps_up_and_a_pool_down(size: int, pooled: int, strided: int) -> None:
    x = torch.rand(1, 3, size, size)
    assert plain(size).features(x).shape[-1] == pooled
    assert plain(size, downsample="stride").features(x).shape[-1] == strided


def test_feature_dropout_stands_before_the_first_linear_layer() -> None:
    net = plain(hidden=(12,), dropout=(0.5,), feature_dropout=0.25)
    assert [m.p for m in leaves(net) if isinstance(m, nn.Dropout)] == [0.25, 0.5]
    assert kinds(net)[-5:] == ["Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    seen: list[Tensor] = []
    net.head[0].register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    net(torch.rand(64, 3, 32, 32))
    features = net.features(torch.rand(64, 3, 32, 32)).flatten(1)
    assert float((seen[0] == 0).float().mean()) > float((features == 0).float().mean()) + 0.05
    assert "Dropout" not in kinds(plain(hidden=(12,)))
