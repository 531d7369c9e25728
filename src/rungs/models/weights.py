"""The weights file: safetensors with the class names, mean and std, image size and resolved recipe inside."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import safetensors
from safetensors.torch import save
from torch import Tensor

from rungs.errors import UserError
from rungs.models import build_model
from rungs.models.normalized import Normalized
from rungs.models.own import OwnNet, build_named
from rungs.recipe.base import name_of
from rungs.recipe.identity import VERSION
from rungs.recipe.own import Own
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import parse, to_toml

FORMAT = "rungs-weights-1"


@dataclass(frozen=True)
class Weights:
    """A trained net with its classes, image size, recipe and data hash.

    Its probabilities are the softmax of its logits divided by `temperature`.
    """

    model: Normalized
    classes: tuple[str, ...]
    image_size: int
    recipe: Recipe
    data_hash: str
    temperature: float = 1.0


def pack(
    state: dict[str, Tensor],
    *,
    recipe: Recipe,
    classes: tuple[str, ...],
    image_size: int,
    data_hash: str,
    temperature: float = 1.0,
) -> bytes:
    """Return the file's content.

    Args:
        state: State dict of a `Normalized` net.
        recipe: Resolved.
        classes: K names, in the order of the logits.
        image_size: Pixels.
        data_hash: Of the training, validation and test sets.
        temperature: What to divide the logits by; fitted on validation.
    """
    header = {
        "format": FORMAT,
        "rungs": VERSION,
        "classes": json.dumps(classes),
        "image_size": str(image_size),
        "data_hash": data_hash,
        "mean": json.dumps(state["mean"].flatten().tolist()),
        "std": json.dumps(state["std"].flatten().tolist()),
        "temperature": repr(temperature),
        "recipe": to_toml(recipe),
    }
    return save({name: tensor.contiguous().cpu() for name, tensor in state.items()}, header)


def with_temperature(path: Path, temperature: float) -> bytes:
    """Return the content of a weights file with another temperature."""
    with safetensors.safe_open(path, framework="pt") as file:
        header, state = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return save(state, {**header, "temperature": repr(temperature)})


def unpack(path: Path, model: str | Path | OwnNet | None = None) -> Weights:
    """Read a weights file and build its net, in evaluation mode, on the CPU.

    Args:
        path: The file.
        model: The user's own net, if it needs one: its file, the net, its class or a function.

    Raises:
        UserError: No such file, not a weights file of ours, its net is the user's own and was not named, or its
            weights do not fit the model of its recipe.
    """
    do = "give the folder of a finished run, or its weights.safetensors"
    if not path.is_file():
        raise UserError("no weights here", where=path, do=do)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"not a complete safetensors file: {error}", where=path, do=do) from error
    if header.get("format") != FORMAT:
        raise UserError("these weights were not written by rungs", where=path, do=do)
    try:
        return _build(header, state, str(path), model)
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"the header is damaged: {error!r}", where=path, do=do) from error
    except RuntimeError as error:  # from load_state_dict
        what = f"the weights do not fit the model of the recipe inside: {str(error).splitlines()[-1].strip()}"
        raise UserError(what, where=path, do=do) from error


def _build(header: dict[str, str], state: dict[str, Tensor], where: str, named: str | Path | OwnNet | None) -> Weights:
    recipe = parse(header["recipe"], f"{where} (the recipe inside)")
    classes, image_size = tuple(json.loads(header["classes"])), int(header["image_size"])
    if len(set(classes)) < len(classes) or not 8 <= image_size <= 1024:
        raise ValueError(f"{len(classes)} classes, {image_size} pixels")
    if isinstance(recipe.model, Own):
        net = build_named(recipe.model, named, where, image_size=image_size, classes=len(classes))
    elif named is None:
        net = build_model(recipe.model, image_size=image_size, classes=len(classes))
    else:
        do = "leave --model out"
        raise UserError(f"its net is rungs' own {name_of(recipe.model)} and needs no file", where=where, do=do)
    model = Normalized(net, json.loads(header["mean"]), json.loads(header["std"]))
    model.load_state_dict(state)
    temperature = float(header.get("temperature", 1))  # files of earlier versions have none
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature {temperature}")
    return Weights(model.eval(), classes, image_size, recipe, header["data_hash"], temperature)
