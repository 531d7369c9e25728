"""Training a head on features: what a frozen body computes is computed once, and kept in the user's cache."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from dataclasses import dataclass
from functools import partial

import msgspec
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from rungs.data.batches import to_float
from rungs.data.features import cached, pixels_hash
from rungs.data.imageset import ImageSet
from rungs.data.parallel import shown
from rungs.data.split import Parts
from rungs.models.backbone import BackboneNet
from rungs.models.normalized import Normalized
from rungs.optim import build_optimizer
from rungs.optim.ema import average
from rungs.recipe.identity import code_version
from rungs.recipe.models import AnyModel, Backbone
from rungs.recipe.own import Own
from rungs.training.freezing import keeps_features
from rungs.training.setup import Setup

IMAGES = 64
"""Images that the body computes at a time."""


@dataclass
class HeadSetup(Setup):
    """The setup of a head alone: its parts hold features (N, F) in the place of pixels.

    Attributes:
        whole: The setup of the whole net, with the pictures.
    """

    whole: Setup

    def begin_epoch(self, epoch: int) -> bool:  # noqa: D102
        self.trained.train()
        return False

    @property
    def flops_before(self) -> int:  # noqa: D102
        images = sum(map(len, self.whole.parts.present().values()))
        return images * self.whole.forward_flops[self.whole.image_size(0)]

    def whole_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:  # noqa: D102
        _head(self.whole.model).load_state_dict(state)
        return self.whole.model.state_dict()

    def as_whole(self) -> Setup:  # noqa: D102
        self.whole_state(self.scored_net.state_dict())
        return self.whole


def on_features(setup: Setup) -> Setup:
    """Return the setup of the head alone where that trains the same net; other setups unchanged.

    Args:
        setup: Of the whole net; see `rungs.training.freezing.keeps_features`. Features that are not in the cache are
            computed.
    """
    model, recipe = setup.model, setup.recipe
    if not trains_head_alone(setup) or not isinstance(model, Normalized):
        return setup
    parts = _on_features(setup)
    if isinstance(model.net, BackboneNet) and model.net.pretrained:
        model.net.standardize_by(parts.train.images)
    head = copy.deepcopy(_head(model))
    return HeadSetup(
        **{field.name: getattr(setup, field.name) for field in dataclasses.fields(Setup)}
        | {
            "parts": parts,
            "model": head,
            "trained": head,
            "ema": average(head, recipe.training.ema_decay) if recipe.training.ema_decay else None,
            "optimizer": build_optimizer(recipe.optim, head, stages=[[head]]),
            "forward_flops": {setup.image_size(0): sum(2 * one.numel() for one in head.parameters() if one.ndim == 2)},
        },
        whole=dataclasses.replace(setup, ema=None),
    )


def trains_head_alone(setup: Setup) -> bool:
    """Return whether a run trains the head alone, on features that are computed once."""
    model = setup.model
    if not isinstance(model, Normalized) or not keeps_features(setup.recipe, model.net, setup.world.size):
        return False
    return _is_divided(setup)


def _is_divided(setup: Setup) -> bool:
    """Return whether a net, which may be the user's own, is its head behind its features, on two images."""
    model = setup.model.eval()
    x = to_float(setup.parts.train.at(torch.arange(2)).to(setup.world.device))
    with torch.no_grad():
        features, logits = _features(model, x), model(x)
        return features.ndim == 2 and torch.allclose(_head(model)(features), logits, rtol=1e-3, atol=1e-4)


def _head(model: nn.Module) -> nn.Module:
    head: nn.Module = model.net.head  # type: ignore[union-attr, assignment]
    return head


def _features(model: nn.Module, x: Tensor) -> Tensor:
    """Map float (B, 3, H, W) in [0, 1] to features (B, F)."""
    assert isinstance(model, Normalized)
    features: Tensor = model.net.features(model.normalise(x))  # type: ignore[operator]
    return features


def _on_features(setup: Setup) -> Parts:
    """Return the parts with features in the place of pixels; those that share pixels share features."""
    parts, body = setup.parts.present(), _body_hash(setup)
    shared: dict[int, list[ImageSet]] = {}
    for part in parts.values():
        shared.setdefault(part.pixels.data_ptr(), []).append(part)
    found = {}
    for pointer, group in shared.items():
        pixels, device = group[0].pixels, group[0].labels.device
        rows = torch.unique(torch.cat([_rows(part) for part in group]))  # sorted
        key = hashlib.sha256(f"{body} {pixels_hash(pixels, rows)}".encode()).hexdigest()
        features = cached(key, partial(_computed, setup, pixels, rows), setup.recipe.data.cache_gb)
        found[pointer] = (rows, features.to(device))

    def moved(part: ImageSet) -> ImageSet:
        rows, features = found[part.pixels.data_ptr()]
        return dataclasses.replace(part, pixels=features, rows=torch.searchsorted(rows, _rows(part)))

    kept = {name: moved(part) for name, part in parts.items()}
    return Parts(kept["train"], kept.get("validation"), kept.get("test"))


def _rows(part: ImageSet) -> Tensor:
    return torch.arange(len(part), device=part.labels.device) if part.rows is None else part.rows


def _computed(setup: Setup, pixels: Tensor, rows: Tensor) -> Tensor:
    """Return the features of some images, float32 (N, F) on the CPU; a longer wait has a progress bar."""
    model, spans, found = setup.model.eval(), torch.split(rows, IMAGES), list[Tensor]()
    for some in shown(spans, len(spans), "computing features"):
        x = to_float(pixels.index_select(0, some.to(pixels.device)).to(setup.world.device, non_blocking=True))
        with torch.no_grad(), setup.autocast():
            features = _features(model, x)
        found.append(features.float().cpu())
    return torch.cat(found)


def _body_of(model: AnyModel) -> AnyModel:
    """Return a model without what its features do not depend on: the head's dropout, the place of a user's file."""
    if isinstance(model, Backbone):
        return replace(model, dropout=0.0)
    return replace(model, file="") if isinstance(model, Own) else model


def _body_hash(setup: Setup) -> str:
    """Return the SHA-256 (hex) of all that turns pixels into features."""
    recipe, code = setup.recipe, code_version()
    spec = msgspec.json.encode(_body_of(recipe.model), enc_hook=str, order="sorted").decode()
    digest = hashlib.sha256(f"{code} {recipe.training.precision} {spec}".encode())
    head = {id(tensor) for tensor in _head(setup.model).state_dict(keep_vars=True).values()}
    for name, tensor in setup.model.state_dict(keep_vars=True).items():
        if id(tensor) not in head:
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
