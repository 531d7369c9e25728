from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from rungs.errors import UserError
from rungs.models import build_model
from rungs.models.init_weights import draw_weights
from rungs.models.speedrun import SpeedrunNet
from rungs.recipe.models import Speedrun


def net(**fields: int) -> SpeedrunNet:
    torch.manual_seed(0)
    built = build_model(Speedrun(widths=(8, 12, 16), **fields), image_size=32, classes=10)
    draw_weights(built, lambda name: len(name))
    assert isinstance(built, SpeedrunNet)
    return built


def test_the_first_layer_whitens_what_it_sees_and_only_its_bias_is_trained() -> None:
    torch.manual_seed(1)
    smooth = F.avg_pool2d(torch.randn(200, 3, 34, 34), 3, stride=1) * 3  # neighbours are alike, as in pictures
    model = net()
    model.see(smooth)
    with torch.no_grad():
        out = F.conv2d(smooth, model.whiten.weight).transpose(0, 1).flatten(1)  # (24, B * 31 * 31)
    covariance = out[:12] @ out[:12].T / out.shape[1]
    torch.testing.assert_close(covariance, torch.eye(12), rtol=0, atol=0.05)
    torch.testing.assert_close(out[12:], -out[:12])
    model(smooth[:4]).sum().backward()
    assert model.whiten.weight.grad is None and model.whiten.bias.grad is not None


def test_convolutions_start_as_a_partial_identity() -> None:
    model = net()
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(model.groups[0].convs[1](x), x)
    x = torch.randn(2, 12, 6, 6)
    torch.testing.assert_close(model.groups[2].convs[0](x)[:, :12], x)


def test_the_scales_of_the_norms_stay_one_and_logits_are_small() -> None:
    model = net()
    model(torch.randn(4, 3, 32, 32)).sum().backward()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 6
    assert all(norm.weight.grad is None and norm.bias.grad is not None and norm.momentum == 0.4 for norm in norms)
    assert model.head.weight.std().item() == pytest.approx(1)


def test_a_shortcut_leads_around_the_second_and_third_convolution() -> None:
    group, x = net(depth=3).groups[2].eval(), torch.randn(2, 12, 8, 8)
    with torch.no_grad():
        group.convs[2].weight.zero_()
        first = F.gelu(group.norms[0](F.max_pool2d(group.convs[0](x), 2)))
        torch.testing.assert_close(group(x), F.gelu(first))


@pytest.mark.parametrize("size", [8, 16, 20, 24, 28, 32, 40])
def test_it_takes_images_of_any_size(size: int) -> None:
    assert net().eval()(torch.randn(2, 3, size, size)).shape == (2, 10)


def test_a_stride_takes_the_place_of_the_first_convolution_and_pool() -> None:
    model = net(patch=4, stride=2, patterns=20)
    assert [len(group.convs) for group in model.groups] == [1, 2, 2]
    out = model.whiten(torch.zeros(1, 3, 32, 32))
    assert out.shape == (1, 40, 15, 15)
    assert model.groups(out).shape == (1, 16, 3, 3)
    assert model(torch.randn(2, 3, 8 + 4 - 2, 10)).shape == (2, 10)


def test_the_patterns_that_vary_most_are_kept() -> None:
    torch.manual_seed(1)
    smooth = F.avg_pool2d(torch.randn(50, 3, 34, 34), 3, stride=1)
    some, all_of_them = net(patch=2, patterns=5), net(patch=2)
    for model in (some, all_of_them):
        model.see(smooth)
    torch.testing.assert_close(some.whiten.weight[:5], all_of_them.whiten.weight[7:12])
    with torch.no_grad():
        strengths = all_of_them.whiten.weight[:12].flatten(1).norm(dim=1)
    assert (strengths.diff() < 0).all()  # the more a pattern varies, the less it is blown up


def test_more_patterns_than_there_are_are_refused() -> None:
    with pytest.raises(UserError, match="13 patterns exceed 12"):
        build_model(Speedrun(patterns=13), image_size=32, classes=10)


@pytest.mark.dear
def test_compiled_in_bf16_its_gradients_stay_finite() -> None:
    """The last pooling must know its maximum by its place: by its value, rounded to bf16, it would not find it."""
    torch.manual_seed(0)
    model = net(patch=1, depth=1)  # what comes before the last pooling is of no account, but takes long to compile
    model.compile(dynamic=False)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(torch.randn(16, 3, 8, 8))
    logits.float().square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
