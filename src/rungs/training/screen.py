"""What is shown while a run trains: a live table in a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rungs.report import alike
from rungs.report import format as fmt
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow

if TYPE_CHECKING:
    from rungs.training.dataset import Dataset
    from rungs.training.setup import Setup

T = TypeVar("T")
SHOWN_ROWS = 15
"""Newest epochs on the screen; the best one stays above them."""
WIDE = 88
"""Terminal columns needed to also show rate, speed and time."""


class Screen:
    """Shows nothing; the base class, and the screen of all ranks but the first."""

    def open(self, title: str, epochs: int, batch_size: int) -> None:
        """Start a training."""

    def say(self, text: str) -> None:
        """Print a line."""

    def watch(self, batches: Iterable[T], epoch: int, steps: int) -> Iterator[T]:
        """Pass the batches of an epoch through, showing progress."""
        yield from batches

    def show(self, rows: Sequence[EpochRow], best: int | None) -> None:
        """Show the finished epochs, the best one marked; None if there is no validation set to choose it."""

    def close(self) -> None:
        """Close; safe to call twice."""


class PlainScreen(Screen):
    """One line per epoch, for logs."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True, emoji=False)
        self.epochs = 0

    def open(self, title: str, epochs: int, batch_size: int) -> None:  # noqa: D102
        self.epochs = epochs
        self.say(title)

    def say(self, text: str) -> None:  # noqa: D102
        self.console.print(text, markup=False)

    def show(self, rows: Sequence[EpochRow], best: int | None) -> None:  # noqa: D102
        row = rows[-1]
        mark = " *best" if row.epoch == best else ""
        validation = f"validation {fmt.loss(row.validation_loss)} {fmt.percent(row.validation_accuracy)}"
        self.say(
            f"epoch {row.epoch}/{self.epochs}  train {fmt.loss(row.train_loss)} {fmt.percent(row.train_accuracy)}  "
            f"{validation}  lr {row.learning_rate:.2g}  {row.images_per_s:,.0f} images/s  "
            f"{row.train_s + row.validation_s:.1f} s{mark}"
        )


class LiveScreen(Screen):
    """A table of epochs with a progress bar under it, redrawn in place."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stderr, highlight=False, emoji=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps  {task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("left in total"),
            console=self.console,
        )
        self.rows: tuple[EpochRow, ...] = ()
        self.best: int | None = None
        self.epochs, self.batch_size = 0, 0
        self.task = self.progress.add_task("", total=None, speed="")
        self.live = Live(console=self.console, refresh_per_second=4, get_renderable=self._draw)

    def open(self, title: str, epochs: int, batch_size: int) -> None:  # noqa: D102
        self.epochs, self.batch_size = epochs, batch_size
        self.rows, self.best = (), None
        self.progress.update(self.task, completed=0, visible=True)
        self.say(title)
        self.live.start()

    def say(self, text: str) -> None:  # noqa: D102
        self.console.print(text, markup=False)

    def watch(self, batches: Iterable[T], epoch: int, steps: int) -> Iterator[T]:  # noqa: D102
        began = time.perf_counter()
        self.progress.update(self.task, description=f"epoch {epoch + 1}/{self.epochs}", total=steps * self.epochs)
        for done, batch in enumerate(batches, 1):
            yield batch
            speed = done * self.batch_size / (time.perf_counter() - began)
            self.progress.update(self.task, completed=epoch * steps + done, speed=f"{speed:,.0f} images/s")

    def show(self, rows: Sequence[EpochRow], best: int | None) -> None:  # noqa: D102
        self.rows, self.best = tuple(rows), best

    def close(self) -> None:  # noqa: D102
        self.progress.update(self.task, visible=False)
        self.live.stop()

    def _draw(self) -> Group:
        table = Table(box=None, header_style="bold")
        heads = ["epoch", "train loss", "accuracy", "valid. loss", "accuracy", "", "rate", "images/s", "time"]
        shown_heads = heads if self.console.width >= WIDE else heads[:6]
        for head in shown_heads:
            table.add_column(head, justify="right", no_wrap=True)
        hidden, shown = self.rows[:-SHOWN_ROWS], self.rows[-SHOWN_ROWS:]
        for row in (*(row for row in hidden if row.epoch == self.best), *shown):
            best = row.epoch == self.best
            cells = [
                str(row.epoch),
                fmt.loss(row.train_loss),
                fmt.percent(row.train_accuracy),
                fmt.loss(row.validation_loss),
                fmt.percent(row.validation_accuracy),
                "best" if best else "",
                f"{row.learning_rate:.2g}",
                f"{row.images_per_s:,.0f}",
                f"{row.train_s + row.validation_s:.1f} s",
            ]
            table.add_row(*cells[: len(shown_heads)], style="bold green" if best else "")
        return Group(table, self.progress)


def pick_screen(*, quiet: bool) -> Screen:
    """Return the screen: nothing if quiet, a live table in a terminal, else plain lines."""
    if quiet:
        return Screen()
    return LiveScreen() if sys.stderr.isatty() else PlainScreen()


def warn(screen: Screen, dataset: Dataset) -> None:
    """Print warnings about the data before training."""
    data = dataset.record
    if data.canonical is False:
        screen.say(f"{data.origin} is NOT the canonical {data.source}: its content differs from the published data set")
    for note in data.notes:
        screen.say(note)
    if dataset.doubts:
        are = "file is" if dataset.doubts == 1 else "files are"
        screen.say(f"{dataset.doubts} {are} duplicate or doubtful: see rungs data {data.source}")
    for part, many in data.leaks.items():
        are = "is" if many == 1 else "are"
        screen.say(f"a leak: {many:,} of {sum(data.counts[part]):,} {part} images {are} also in an earlier part")
    for part, many in data.near.items():
        if data.canonical is not True:
            look = "looks" if many == 1 else "look"
            screen.say(f"{many:,} of {sum(data.counts[part]):,} {part} images {look} like one in an earlier part")
    if data.groups is not None and data.groups.n:
        screen.say(alike.grouped(data.groups))


def title(setup: Setup, folder: RunDir) -> str:
    """Return the first line of a training: recipe, data, size, precision and folder."""
    sizes = " + ".join(f"{len(part):,} {name}" for name, part in setup.parts.present().items())
    machine = f"{setup.environment.precision} ({setup.environment.precision_reason})"
    return (
        f"{setup.recipe.name} on {setup.recipe.data.source}, {sizes} images, "
        f"{setup.description.parameters:,} parameters, {machine} -> {folder.path}"
    )
