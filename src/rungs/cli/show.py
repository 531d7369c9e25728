"""What the commands print and write beyond the engine's work; the roof's second half, so that `cli` stays flags."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace
from rich.markup import escape
from rich.table import Table

from rungs.recipe import identity
from rungs.recipe import toml as recipes
from rungs.recipe.augments import AnyAugment
from rungs.recipe.base import alternatives
from rungs.recipe.models import AnyModel
from rungs.recipe.own import called
from rungs.recipe.spec import Recipe
from rungs.run.folder import write_whole
from rungs.study.ladder import spec as ladders
from rungs.study.search import space as spaces

if TYPE_CHECKING:
    pass
from rungs.cli.terminal import out
from rungs.errors import require_between

CANONICAL = {
    True: "the canonical set, to the byte",
    False: "NOT the canonical set: its content differs from what was published",
    None: "no canonical set is known to compare it with",
}
KNOWN = {"cifar10": (32, 10), "cifar100": (32, 100), "digits": (8, 10)}
"""Pixels and classes of the sources that are always the same."""
EXTRAS = {"hub": "datasets", "track": "tensorboard", "search": "optuna"}


def contents(name: str, image_size: int | None, sheet: Path | None) -> None:
    """Print what is in a source, and each file with a problem; write a contact sheet."""
    from rungs import data
    from rungs.data import audit as inspect

    if image_size is not None:
        require_between(image_size, 8, 1024, "--image-size")
    source = data.load(name, image_size)
    found = inspect.contents(source)
    out.print(f"[bold]{escape(found.name)}[/], found in {escape(found.origin)}", soft_wrap=True)
    out.print(CANONICAL[found.canonical])
    if found.extent is not None:
        smallest, largest = (f"{width} x {height}" for width, height in found.extent)
        out.print(f"pictures of {smallest} pixels" + (f" to {largest}" if largest != smallest else ""))
    out.print(f"decoded to {found.image_size} x {found.image_size} pixels, {len(found.classes)} classes")
    table = Table("class", box=None)
    for part in found.parts:
        table.add_column(part, justify="right")
    for k, label in enumerate(found.classes):
        table.add_row(escape(label), *(f"{part.counts[k]:,}" for part in found.parts.values()))
    table.add_row("[bold]all[/]", *(f"[bold]{part.n:,}[/]" for part in found.parts.values()))
    out.print(table)
    for part, contained in found.parts.items():
        out.print(f"hash of {part}: {contained.hash}", soft_wrap=True)
    for problem in found.problems:
        out.print(f"[yellow]{problem.kind}[/] {escape(problem.path)}: {escape(problem.reason)}", soft_wrap=True)
    files = len({problem.path for problem in found.problems})
    out.print(f"{files or 'no'} unreadable, empty, duplicate or doubtful files")
    kind, _, place = found.name.partition(":")
    path = sheet or Path("out") / f"contact-{Path(place).stem or kind}.png"
    train = source.train
    write_whole(path, inspect.contact_sheet(train.images.numpy(), train.labels.numpy(), train.classes))
    out.print(f"contact sheet: {path}", soft_wrap=True)


def show(recipe: Recipe, image_size: int | None, classes: int | None, folder: Path) -> None:
    """Print a recipe with every default, and its layers; write the drawing of the layers as SVG and PNG."""
    from rungs.evaluate.device import open_device
    from rungs.models import build_model
    from rungs.models.describe import describe
    from rungs.report import layers as drawing
    from rungs.report import run_tables as tables
    from rungs.report import style
    from rungs.training.device import pick_precision

    known_size, known_classes = KNOWN.get(recipe.data.source.partition(":")[0], (64, 10))
    size = next(pixels for pixels in (image_size, recipe.data.image_size, known_size) if pixels is not None)
    classes = known_classes if classes is None else classes
    require_between(size, 8, 1024, "--image-size")
    require_between(classes, 2, 100_000, "--classes")
    precision, _ = pick_precision(recipe.training.precision, open_device())
    recipe = replace(
        recipe,
        data=replace(recipe.data, image_size=size),
        training=replace(recipe.training, precision=precision),
    )
    model = describe(build_model(recipe.model, image_size=size, classes=classes), called(recipe.model), size)
    out.print(recipes.to_toml(recipe), markup=False, soft_wrap=True)
    unset = [field for field, value in identity.flat(msgspec.to_builtins(recipe)).items() if value is None]
    if unset:
        out.print(f"# not set: {', '.join(unset)}\n", markup=False, soft_wrap=True)
    out.print(f"for images of {size} x {size} pixels and {classes} classes:")
    out.print(tables.layers(model))
    stem = folder / f"{recipe.name}-layers"
    style.save(drawing.layers(model, size), stem)
    out.print(f"drawing: {stem}.svg and {stem}.png", soft_wrap=True)


def show_augmented(recipe: Recipe, folder: Path) -> None:
    """Write a contact sheet: each row an image as it is, then as training sees it in a few epochs."""
    import torch

    from rungs.data.audit import contact_sheet
    from rungs.data.augment import Draw
    from rungs.training.feed import generator, prepare, salt
    from rungs.training.setup import gather

    recipe, material = gather(recipe, skip_unreadable=True)
    part = material.parts.train
    rows = [int((part.labels == k).nonzero()[0, 0]) for k in range(min(len(part.classes), 10))]
    index = torch.tensor(rows)
    shown = [part.at(index)]
    for epoch in range(9):
        draw = Draw(
            generator(index.device, recipe.seed, "augment", epoch, 0),
            epoch,
            index,
            len(part.classes),
            salt(recipe.seed),
        )
        x, _ = prepare(part.at(index), part.labels[index], recipe.augment.train, draw)
        shown.append((x * 255).round().clamp(0, 255).to(torch.uint8))
    labels = torch.arange(len(rows)).repeat_interleave(len(shown))
    path = folder / f"{recipe.name}-augmented.png"
    pictures = torch.stack(shown, 1).flatten(0, 1)  # (rows * 10, 3, H, W)
    names = [part.classes[int(part.labels[i])] for i in rows]
    write_whole(path, contact_sheet(pictures.numpy(), labels.numpy(), names, counted=False))
    out.print(f"augmented images (first column: as they are): {path}", soft_wrap=True)


def doctor() -> None:
    """Print what this machine offers and where data is found."""
    from rungs.data.cache import cache_dir
    from rungs.data.sources import cifar10
    from rungs.evaluate.device import open_device
    from rungs.training.device import World, environment, pick_precision

    device = open_device()
    precision, reason = pick_precision("auto", device)
    found = environment(World(0, 1, device), precision, reason)
    table = Table(box=None, show_header=False)
    for name, value in (
        ("device", f"{device.type}: {found.device}"),
        ("cores", str(found.cores)),
        ("precision", f"{found.precision} ({found.precision_reason})"),
        ("rungs", found.rungs + (f" at commit {found.commit}" if found.commit else "")),
        ("python", found.python),
        ("torch", found.torch),
        ("platform", found.platform),
        ("RUNGS_DATA", os.environ.get("RUNGS_DATA") or "not set"),
        ("cache", str(cache_dir())),
        *((name, cifar10.whereabouts(name)) for name in ("cifar10", "cifar100")),
        ("digits", "embedded in scikit-learn"),
        *((f"extra {extra}", _installed(module)) for extra, module in EXTRAS.items()),
    ):
        table.add_row(f"[bold]{name}[/]", escape(value))
    out.print(table)


def _installed(module: str) -> str:
    return "installed" if importlib.util.find_spec(module) else "not installed"


def families(family: str) -> None:
    """Print the names of recipes, ladders, spaces, models, data sources and augmentations, each with a sentence."""
    tables: dict[str, Callable[[], Sequence[Sequence[str]]]] = {
        "recipes": _recipe_rows,
        "ladders": _ladder_rows,
        "spaces": _space_rows,
        "models": _model_rows,
        "data": _data_rows,
        "augments": _augment_rows,
    }
    for name, rows in tables.items():
        if family in (name, "all"):
            table = Table(title=name, title_justify="left", title_style="bold", box=None, show_header=False)
            for row in rows():
                table.add_row(*(escape(cell) for cell in row))
            out.print(table)
            out.print()


def _recipe_rows() -> list[tuple[str, str]]:
    return [(name, recipes.load(name).about) for name in recipes.shipped()]


def _ladder_rows() -> list[tuple[str, str, str, str]]:
    found = [ladders.load(name)[0] for name in ladders.shipped()]
    return [
        (one.name, f"{len(one.rungs)} rung{'s' * (len(one.rungs) != 1)}", one.source, one.headline or one.about)
        for one in found
    ]


def _space_rows() -> list[tuple[str, str, str]]:
    found = [spaces.load(name) for name in spaces.shipped()]
    return [(one.name, ", ".join(field.field for field in one.fields), one.about) for one in found]


def _model_rows() -> list[tuple[str, str]]:
    return [(tag, _first_line(kind)) for tag, kind in alternatives(AnyModel).items()]


def _augment_rows() -> list[tuple[str, str, str]]:
    rows = []
    for tag, kind in alternatives(AnyAugment).items():
        fields = ", ".join(f"{k}={v!r}" for k, v in msgspec.structs.asdict(kind()).items())
        rows.append((tag, _first_line(kind), fields))
    return rows


def _data_rows() -> list[tuple[str, str]]:
    from rungs.data import DATASETS

    return [(name, (load.__doc__ or "").strip().partition("\n")[0]) for name, load in DATASETS.items()]


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]
