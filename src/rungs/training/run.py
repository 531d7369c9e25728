"""The entry point of the engine: train a recipe once, in a run folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import torch

from rungs.data.imageset import Source
from rungs.evaluate import NotFinite
from rungs.models.own import source_of
from rungs.models.weights import pack
from rungs.recipe.identity import changes, code_version, fingerprint
from rungs.recipe.optimizers import SGD, Muon
from rungs.recipe.own import Own
from rungs.recipe.shorten import beside
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import read, to_toml
from rungs.report.format import many
from rungs.run import looks
from rungs.run.folder import RunDir, write_whole
from rungs.run.looks import Kind
from rungs.run.record import ActivationRow, EpochRow, RunRecord
from rungs.training import checkpoint
from rungs.training.activations import activations
from rungs.training.checkpoint import Checkpoint
from rungs.training.compiling import choose_compiling, compile_net
from rungs.training.dataset import Dataset, load_dataset
from rungs.training.device import World, enough_memory, peak_memory_bytes
from rungs.training.features import on_features
from rungs.training.head_first import train_head
from rungs.training.interrupt import Interrupted, Interrupts
from rungs.training.loop import Diverged, train_epochs
from rungs.training.options import RunOptions
from rungs.training.resume import Progress, assemble_resumed, identity, require_same, restore_run
from rungs.training.scoring import Scores, score_parts, without_twins
from rungs.training.screen import Screen, title, warn
from rungs.training.setup import Setup, assemble
from rungs.training.stopping import best_epoch, should_stop
from rungs.training.track import TensorBoard, Tracker

Status = Literal["finished", "interrupted", "diverged"]
LESS = (
    "use smaller batches, smaller images or a smaller net; or free memory (on a GPU training.cuda_graphs=false saves "
    "some, too), and --resume"
)
OTHER_FILES_BYTES = 5_000_000
"""Rough size of the record, the report and its figures."""


def run_recipe(
    recipe: Recipe, folder: RunDir, world: World, options: RunOptions | None = None, source: Source | None = None
) -> RunRecord:
    """Train `recipe` in `folder` and return its record; every rank calls this, rank 0 alone writes.

    Args:
        recipe: What to train.
        folder: Where; created if it does not exist.
        world: This process among its ranks.
        options: How; by default from scratch, with nothing on the screen.
        source: The recipe's source of images, if already open: the runs of a cross-validation share one.

    Raises:
        UserError: Bad data, or a folder that is in use, holds another run or cannot be written.
        Interrupted: SIGINT or SIGTERM; all finished epochs are kept, and the run can be resumed.
    """
    options = options or RunOptions()
    progress, screen, resume = new_progress(), options.screen or Screen(), options.resume
    if world.is_main:
        folder.prepare()
    with folder.locked() if world.is_main else nullcontext():
        if world.is_main and not resume:
            folder.require_free()
        before = read(folder.recipe) if resume and folder.recipe.exists() else None
        recipe, dataset = load_dataset(recipe, options.skip_unreadable, source, before=before)
        warn(screen, dataset)
        if resume:
            setup = assemble_resumed(recipe, folder, dataset, world, given=options.model)
        else:
            setup = assemble(recipe, dataset, world, given=options.model)
        with enough_memory(LESS):
            setup = on_features(setup)
            choose_compiling(setup, recipe.training.compile, screen.say)
        session = begin_session(setup, dataset, folder, progress, options)
        if isinstance(session, RunRecord):
            return session
        compile_net(setup)
        try:
            screen.open(title(setup, folder), setup.recipe.training.epochs, setup.recipe.training.batch_size)
            return session.run(options.keep_going)
        finally:
            screen.close()
            session.tracker.close()


def new_progress() -> Progress:
    """Return the progress of a run that starts now."""
    code = f"rungs {code_version()}, torch {torch.__version__}"
    return Progress(datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter(), code=(code,))


def begin_session(
    setup: Setup, dataset: Dataset, folder: RunDir, progress: Progress, options: RunOptions
) -> Session | RunRecord:
    """Return a session of a run, with `resume` from its newest checkpoint; its record if it is finished.

    Raises:
        UserError: The folder holds another run, or the disk is too full for this one.
    """
    screen = options.screen or Screen()
    if options.resume:
        record = require_same(setup, dataset, folder, screen)
        if record is not None and record.status == "finished" and folder.weights.exists():
            screen.say(f"{folder.path} is finished; nothing to do")
            return record
        restore_run(setup, folder, progress, screen)
    is_main = setup.world.is_main
    if is_main:
        _require_room(setup, folder)
    tracker = TensorBoard(folder, len(progress.rows)) if options.tensorboard and is_main else Tracker()
    if is_main:
        write_whole(folder.recipe, to_toml(beside(setup.recipe)).encode())
        if isinstance(setup.recipe.model, Own) and setup.recipe.model.file:
            write_whole(folder.path / Path(setup.recipe.model.file).name, source_of(setup.recipe.model))
    return Session(setup, dataset, folder, progress, screen, tracker)


@dataclass
class Session:
    """One session of a run: from its last finished epoch to its record."""

    setup: Setup
    dataset: Dataset
    folder: RunDir
    progress: Progress
    screen: Screen
    tracker: Tracker
    activations: tuple[ActivationRow, ...] = ()

    def run(self, keep_going: Callable[[EpochRow], bool]) -> RunRecord:
        """Train, score the best weights, write the record."""
        interrupts = Interrupts()
        with interrupts.handled():
            try:
                with enough_memory(LESS):
                    self.write_best()  # a session that was killed may have left older ones
                    result = self.add_scores(*self.train(interrupts, keep_going))
            except Interrupted as interrupt:
                self.finish(interrupts, "interrupted", str(interrupt), Scores())
                raise
            record = self.finish(interrupts, *result)
        self.setup.world.wait()
        return record

    def train(self, interrupts: Interrupts, keep_going: Callable[[EpochRow], bool]) -> tuple[Status, str]:
        """Train to the end, a stop or a divergence; return which, and a sentence."""
        if self.stops_early():  # interrupted after its last epoch
            return "finished", self.ending()
        try:
            if not self.progress.rows:
                train_head(self.setup, self.screen)
            for row in train_epochs(self.setup, self.progress.rows, self.screen):
                with interrupts.shield():
                    best = self.end_epoch(row)
                chosen = row.validation_loss is not None and self.setup.recipe.stopping.keep == "best"
                self.screen.show(self.progress.rows, best if chosen else None)
                if self.stops_early():
                    break
                if not keep_going(row):
                    return "interrupted", f"the caller stopped it after epoch {row.epoch}"
        except Diverged as diverged:
            return "diverged", str(diverged)
        return "finished", self.ending()

    def stops_early(self) -> bool:
        """Return whether training stops early here."""
        return should_stop(self.progress.rows, self.setup.recipe.stopping)

    def is_done(self) -> bool:
        """Return whether nothing is left to train."""
        return self.stops_early() or len(self.progress.rows) >= self.setup.recipe.training.epochs

    def ending(self) -> str:
        """Return in a sentence why a training that did not fail has ended."""
        recipe = self.setup.recipe
        if self.stops_early():
            return f"{recipe.stopping.monitor} did not improve for {many(recipe.stopping.patience or 0, 'epoch')}"
        epochs = recipe.training.epochs
        return "the only epoch of the recipe is done" if epochs == 1 else f"all {epochs} epochs of the recipe are done"

    def end_epoch(self, row: EpochRow) -> int | None:
        """Save the result of an epoch: history, best weights, checkpoint, events; return the best epoch so far."""
        rows = self.progress.rows
        rows.append(row)
        if row.test_loss is not None:
            self.note_look("watched", f"a look after epoch {row.epoch}, which chooses nothing")
        best = best_epoch(rows, self.setup.recipe.stopping)
        if best == row.epoch:
            self.progress.best = {k: v.detach().clone() for k, v in self.setup.scored_net.state_dict().items()}
        if self.setup.world.is_main:
            self.save(best == row.epoch)
            self.tracker.row(row)
        return best

    def add_scores(self, status: Status, ending: str) -> tuple[Status, str, Scores]:
        """Score the best weights of a finished training, and write them with their temperature."""
        try:
            scores = Scores() if status == "interrupted" else self.score_best()
        except NotFinite as error:
            return "diverged", error.what, Scores()
        self.write_best(scores.temperature)
        return status, ending, scores

    def finish(self, interrupts: Interrupts, status: Status, ending: str, scores: Scores) -> RunRecord:
        """Write and return the record."""
        with interrupts.shield():
            record = self.record(status, ending, scores)
            self.write(record)
        return record

    def save(self, is_best: bool) -> None:
        """Write the checkpoint, then the files that derive from it: history and best weights."""
        setup, progress = self.setup, self.progress
        state = Checkpoint(
            identity=identity(setup, self.dataset),
            started=progress.started,
            code=progress.code,
            rows=tuple(progress.rows),
            elapsed_s=progress.wall_s,
            model=setup.model.state_dict(),
            optimizer=setup.optimizer.state_dict(),
            ema=None if setup.ema is None else setup.ema.state_dict(),
            best=progress.best,
            convolutions=setup.environment.convolutions,
        )
        checkpoint.save(self.folder, state)
        self.folder.write_history(state.rows)
        if is_best:
            self.write_best()

    def write_best(self, temperature: float = 1.0) -> None:
        """Write the weights of the best epoch so far, if any."""
        best, data = self.progress.best, self.dataset.record
        if best is not None and self.setup.world.is_main:
            content = pack(
                self.setup.whole_state(best),
                recipe=beside(self.setup.recipe),
                classes=data.classes,
                image_size=data.image_size,
                data_hash=data.hash,
                temperature=temperature,
            )
            write_whole(self.folder.weights, content)

    def score_best(self) -> Scores:
        """Score the weights that validation chose, once on each part, on rank 0 only."""
        best = self.progress.best
        if best is None or not self.setup.world.is_main:
            return Scores()
        self.setup.scored_net.load_state_dict(best)
        chosen = best_epoch(self.progress.rows, self.setup.recipe.stopping) or 1
        self.note_look("scored", f"the score of epoch {chosen}, which is kept without regard to it")
        self.activations = activations(self.setup.as_whole())
        scores = score_parts(self.setup, chosen - 1)
        if (test := scores.results.get("test")) is not None:
            scores.results["test"] = without_twins(test, self.dataset.twins)
        return scores

    def note_look(self, kind: Kind, purpose: str) -> None:
        """Log a look at the test set, if there is one."""
        test = self.setup.parts.test
        if test is not None and self.setup.world.is_main:
            looks.note(self.folder.looks, kind, purpose, len(test), test.hash)

    def record(self, status: Status, ending: str, scores: Scores) -> RunRecord:
        """Return the record of the run."""
        setup, rows, results = self.setup, self.progress.rows, scores.results
        return RunRecord(
            fingerprint=fingerprint(setup.recipe, self.dataset.record.hash, code_version()),
            status=status,
            ending=ending,
            recipe=beside(setup.recipe),
            changed=changes(setup.recipe),
            code=self.progress.code,
            data=self.dataset.record,
            model=setup.description,
            environment=setup.environment,
            activations=self.activations,
            history=tuple(rows),
            best_epoch=best_epoch(rows, setup.recipe.stopping),
            train=results.get("train"),
            validation=results.get("validation"),
            test=results.get("test"),
            validation_tta=results.get("validation_tta"),
            test_tta=results.get("test_tta"),
            temperature=scores.temperature,
            temperature_reason=scores.temperature_reason if results else "",
            started=self.progress.started,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            train_flops=train_flops(setup, len(rows)),
            wall_s=self.progress.wall_s,
            peak_memory_bytes=peak_memory_bytes(setup.world.device),
        )

    def write(self, record: RunRecord) -> None:
        """Write the record and finish the events."""
        if self.setup.world.is_main:
            self.folder.write_record(record)
            self.tracker.finish(record)


def train_flops(setup: Setup, epochs: int) -> int:
    """Return the operations of all epochs: three forward passes per image (Kaplan et al. 2020, arXiv:2001.08361)."""
    images, size = len(setup.parts.train), setup.image_size
    return setup.flops_before + sum(3 * setup.forward_flops[size(epoch)] * images for epoch in range(epochs))


def _require_room(setup: Setup, folder: RunDir) -> None:
    """Fail now if the disk cannot hold three checkpoints (one is written before the oldest is deleted) and the rest."""
    net = sum(tensor.nbytes for tensor in setup.model.state_dict().values())
    slots = 1 if isinstance(setup.recipe.optim, SGD | Muon) else 2  # tensors an optimiser keeps for each weight
    copies = 2 + slots + (setup.ema is not None)  # the net, its best, ...
    there = sum(path.stat().st_size for path in folder.checkpoints.glob("*.ckpt"))
    folder.require_space(3 * copies * net - there + net + OTHER_FILES_BYTES)
