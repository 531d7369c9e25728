"""EfficientNet-Lite with its published weights gives the features that timm's net gives."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_pictures import PICTURES
from torch import nn
from vision import require_timm

from rungs.data.decode import decode
from rungs.models.backbone import ARCHITECTURES
from rungs.models.efficientnet_lite import EfficientNetLite, rounded
from rungs.models.normalized import Normalized
from rungs.models.pretrained import read

GOLDEN = np.load(Path(__file__).with_name("golden_features.npz"))
"""Of three pictures, for each net; `make_golden_features.py` computes them without anything of rungs."""


def body(architecture: str) -> EfficientNetLite:
    net = ARCHITECTURES[architecture].make()
    assert isinstance(net, EfficientNetLite)
    return net.eval()


@pytest.mark.parametrize("name", list(GOLDEN))
def test_pictures_have_the_features_that_were_kept(name: str) -> None:
    found = read(name)
    net, how = body(found.architecture), found.input
    net.load_state_dict(found.state, strict=False)
    images = []
    for make in PICTURES.values():
        file = io.BytesIO()
        make().save(file, "png")
        images.append(decode(file.getvalue(), how.image_size, "it", how.interpolation, how.crop))
    with torch.inference_mode():
        features = Normalized(net, how.mean, how.std)(torch.from_numpy(np.stack(images)).float() / 255)
    assert features.shape == (len(PICTURES), 1280)
    np.testing.assert_allclose(features.numpy(), GOLDEN[name], atol=1e-4)
    assert not np.allclose(features[0].numpy(), GOLDEN[name][1], atol=0.1)  # pictures differ by far more


@pytest.mark.parametrize("size", [64, 75])
def test_odd_and_even_maps_are_padded_as_in_timm(size: int) -> None:
    timm = require_timm()
    net = body("efficientnet-lite1")
    for module in net.modules():  # of random nets, all but the signs of features vanishes
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.01, 0.1)
    theirs = timm.create_model("tf_efficientnet_lite1", num_classes=0).eval()
    theirs.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        assert torch.allclose(net(x), theirs(x), rtol=1e-4, atol=1e-4)
        assert net(x).std() > 0.01


@pytest.mark.parametrize(
    ("architecture", "tensors", "parameters"),
    [  # with a classifier of 2 tensors, 1,281,000 parameters: 4.65, 5.42 and 6.09 million
        ("efficientnet-lite0", 294, 3_371_008),
        ("efficientnet-lite1", 384, 4_135_680),
        ("efficientnet-lite2", 384, 4_811_072),
    ],
)
def test_its_sizes_are_the_published_ones(architecture: str, tensors: int, parameters: int) -> None:
    net = body(architecture)
    assert len(net.state_dict()) == tensors
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_its_stages_hold_all_weights_once_and_in_order() -> None:
    net = body("efficientnet-lite2")
    stages = net.stages()
    assert len(stages) == 9
    weights = [p for stage in stages for layer in stage for p in layer.parameters()]
    assert [id(p) for p in weights] == [id(p) for p in net.parameters()]


def test_channels_are_rounded_to_multiples_of_8_and_not_far_down() -> None:
    assert [rounded(n * 1.1) for n in (16, 24, 40, 80, 112, 192, 320)] == [16, 24, 48, 88, 120, 208, 352]
    assert rounded(11) == 16  # 8 would lose more than a tenth


def test_random_weights_keep_the_scale_of_maps() -> None:
    torch.manual_seed(0)
    net = body("efficientnet-lite0")
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            net.draw_layer(layer)
    depthwise = net.blocks[1][0].conv_dw.weight  # (96, 1, 3, 3)
    assert depthwise.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.1)
    assert net.conv_head.weight.std().item() == pytest.approx((2 / 1280) ** 0.5, rel=0.02)
