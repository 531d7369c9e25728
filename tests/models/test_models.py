from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest
import torch

from rungs.errors import UserError
from rungs.models import MODELS, build_model
from rungs.models.describe import describe
from rungs.models.normalized import Normalized
from rungs.models.weights import pack, unpack
from rungs.recipe.base import alternatives
from rungs.recipe.models import AnyModel, ResNet18, Speedrun
from rungs.recipe.own import Own
from rungs.recipe.toml import load, shipped

FACTS: dict[str, Any] = {"classes": tuple("abcdefghij"), "image_size": 8, "data_hash": "d" * 64}


def normalized(spec: AnyModel, size: int, classes: int = 10) -> Normalized:
    return Normalized(build_model(spec, image_size=size, classes=classes), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


def test_resnet18_has_the_parameters_of_the_built_in_one() -> None:
    net = build_model(ResNet18(stem="imagenet"), image_size=224, classes=10)
    assert sum(p.numel() for p in net.parameters()) == 11_181_642
    cifar = build_model(ResNet18(stem="cifar"), image_size=32, classes=10)
    assert sum(p.numel() for p in cifar.parameters()) == 11_173_962


def test_lab_003_is_the_network_of_the_claims() -> None:
    described = describe(normalized(load("lab-003").model, 32), "lab-003", 32)
    convs = [row.detail for row in described.layers if row.kind == "Conv2d"]
    assert convs == [
        f"{a}->{b}, 3x3, stride 1, pad 1" for a, b in ((3, 32), (32, 64), (64, 128), (128, 128), (128, 256), (256, 256))
    ]
    kinds = [row.kind for row in described.layers if row.kind != "Identity"]  # where a dropout could be
    stage = ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d"]
    assert kinds == stage * 3 + ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Linear"]
    assert [row.detail for row in described.layers if row.kind == "Linear"] == ["4096->256", "256->64", "64->10"]


def test_a_batch_norm_is_described_by_its_momentum() -> None:
    for spec, momentum in ((ResNet18(stem="cifar", width=4), 0.1), (Speedrun(widths=(8, 8, 8), norm_memory=0.9), 0.1)):
        described = describe(normalized(spec, 32), "it", 32)
        told = {row.detail for row in described.layers if row.kind == "BatchNorm2d"}
        assert told == {f"momentum {momentum:g}"}


UNPADDED = ("first-000", "net1-002")
"""Seeds' nets without padding, made for 32 pixels: 8 leave nothing."""


@pytest.mark.parametrize("size", [8, 31, pytest.param(224, marks=pytest.mark.dear)])
@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_recipes_net_takes_images_from_8_to_224(name: str, size: int) -> None:
    if name in UNPADDED and size == 8:
        with pytest.raises(UserError, match="shrinks a map of"):
            normalized(load(name).model, size, classes=3)
        return
    net = normalized(load(name).model, size, classes=3).eval()
    with torch.inference_mode():
        assert net(torch.rand(2, 3, size, size)).shape == (2, 3)


def test_too_small_images_are_a_clear_error() -> None:
    spec = load("lab-003", ["model.stages=[[8],[8],[8],[8]]"]).model
    with pytest.raises(UserError, match="4 stages shrink an image of 8 pixels to nothing"):
        build_model(spec, image_size=8, classes=2)
    spec = load("lab-003", ["model.stages=[[8]]"]).model
    with pytest.raises(UserError, match="1 stage shrinks an image of 1 pixels to nothing"):
        build_model(spec, image_size=1, classes=2)


def test_specs_and_nets_have_the_same_arguments() -> None:
    ours = {tag: spec for tag, spec in alternatives(AnyModel).items() if spec is not Own}  # whose net is the user's
    assert set(ours) == set(MODELS)
    for tag, spec in ours.items():
        arguments = set(inspect.signature(MODELS[tag]).parameters) - {"image_size", "classes"}
        assert arguments == set(spec.__struct_fields__), tag


def test_description_counts_a_known_layer() -> None:
    described = describe(normalized(load("lab-003").model, 32), "lab-003", 32)
    first = described.layers[0]
    assert first.output == (32, 32, 32)
    assert first.parameters == 3 * 32 * 9 + 32
    assert first.flops == 2 * 3 * 9 * 32 * 32 * 32
    assert sum(row.flops for row in described.layers) == described.flops
    assert sum(row.parameters for row in described.layers) == described.parameters == 2_192_010


def test_normalisation_is_inside_and_travels_with_the_weights(tmp_path) -> None:  # type: ignore[no-untyped-def]
    recipe = load("digits-quick")
    net = normalized(recipe.model, 8).eval()
    x = torch.rand(4, 3, 8, 8)
    inside = net.net((x - torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)) / 0.2)
    assert torch.allclose(net(x), inside, atol=1e-5)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(pack(net.state_dict(), recipe=recipe, **FACTS))
    again = unpack(path)
    assert torch.equal(again.model(x), net(x))
    assert (again.classes, again.image_size, again.recipe) == (FACTS["classes"], 8, recipe)
    assert again.data_hash == "d" * 64


def test_weights_of_another_model_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    recipe = load("digits-quick")
    other = msgspec.structs.replace(recipe, model=load("lab-003").model)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(pack(normalized(recipe.model, 8).state_dict(), recipe=other, **FACTS))
    with pytest.raises(UserError, match="the weights do not fit the model"):
        unpack(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        unpack(path)
