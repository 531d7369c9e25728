"""Load a trained net from a run folder."""

from __future__ import annotations

from pathlib import Path

import torch

from rungs.errors import UserError
from rungs.models.own import OwnNet
from rungs.models.weights import Weights, unpack
from rungs.recipe.identity import digest
from rungs.recipe.toml import read
from rungs.run.folder import RunDir


def load_weights(
    run: str | Path, device: torch.device | None = None, model: str | Path | OwnNet | None = None
) -> Weights:
    """Load a net from a run folder or a weights file.

    Args:
        run: The folder of a run, or a .safetensors file of one.
        device: Where to put the net; the CPU by default.
        model: The user's own net, if the run was trained with one: its file, or as in `rungs.train`.

    Raises:
        UserError: No weights, damaged weights, or weights of another recipe than the folder's.
    """
    path = Path(run)
    if not path.exists():
        raise UserError("no such run", where=path, do="give the folder that rungs train printed, runs/NAME")
    folder = RunDir(path)
    weights = unpack(folder.weights if path.is_dir() else path, model)
    if path.is_dir() and folder.recipe.is_file():
        recipe = read(folder.recipe)
        if digest(recipe) != digest(weights.recipe):
            what = "the recipe inside these weights differs from recipe.toml in the same folder"
            raise UserError(what, where=folder.weights, do="restore the weights of this run")
    if device is not None:
        weights.model.to(device)
    return weights


def require_classes(weights: Weights, classes: tuple[str, ...], where: str) -> None:
    """Reject a dataset with a class that the net does not know; it may lack some, and have them in another order.

    Raises:
        UserError: An unknown class.
    """
    missing, extra = sorted(set(weights.classes) - set(classes)), sorted(set(classes) - set(weights.classes))
    if extra:
        what = f"the classes differ from the net's: missing {missing[:5] or 'none'}, unknown {extra[:5]}"
        raise UserError(what, where=where, do=f"give no others than these classes: {', '.join(weights.classes[:20])}")
