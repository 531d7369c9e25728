"""The one door of the engine: a recipe, trained once, leaves a run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import torch
from torch import Tensor

from rungs.data.imageset import ImageSet
from rungs.errors import UserError
from rungs.evaluate import NotFinite, judge
from rungs.evaluate.score import score
from rungs.evaluate.tta import second_look
from rungs.models.describe import describe
from rungs.models.weights import pack
from rungs.recipe import changes, code_version, fingerprint, to_toml
from rungs.records import EpochRow, EvalResult, RunRecord
from rungs.rundir import RunDir, write_whole
from rungs.specs import SGD, Recipe
from rungs.training import checkpoint
from rungs.training.checkpoint import Checkpoint
from rungs.training.compiling import choose_compiling, chosen_before, compile_net
from rungs.training.device import World, is_out_of_memory, peak_memory_bytes
from rungs.training.feed import scoring_batches
from rungs.training.interrupt import Interrupted, Interrupts
from rungs.training.loop import Diverged, train_epochs
from rungs.training.resume import Progress, go_on, identity, require_same
from rungs.training.screen import Screen
from rungs.training.setup import Kit, Material, assemble, gather
from rungs.training.stopping import best_epoch, should_stop
from rungs.training.track import TensorBoard, Tracker

Status = Literal["finished", "interrupted", "diverged"]
OTHER_FILES_BYTES = 5_000_000
"""About what the record, the report and its figures take beside the weights."""


def run_recipe(
    recipe: Recipe,
    folder: RunDir,
    world: World,
    *,
    resume: bool = False,
    skip_unreadable: bool = False,
    tensorboard: bool = False,
    screen: Screen | None = None,
    keep_going: Callable[[EpochRow], bool] = lambda row: True,
) -> RunRecord:
    """Train `recipe` in `folder` and return its record; every rank calls this, rank 0 alone writes.

    Args:
        recipe: What to train.
        folder: Where; made if it is not there.
        world: This process among its ranks.
        resume: Go on from the newest checkpoint, bit for bit; a finished run is returned as it is.
        skip_unreadable: Leave unreadable files out (the record names them) instead of stopping.
        tensorboard: Also write events.
        screen: What the user sees; nothing by default.
        keep_going: Asked after each epoch; a search prunes by answering False.

    Raises:
        UserError: Bad data, a folder that is in use, holds another run or cannot be written.
        Interrupted: SIGINT or SIGTERM; all finished epochs are kept, and the run can be resumed.
    """
    code = f"rungs {code_version()}, torch {torch.__version__}"
    progress = Progress(datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter(), code=(code,))
    screen = screen or Screen()
    if world.is_main:
        folder.prepare()
    with folder.locked() if world.is_main else nullcontext():
        if world.is_main and not resume:
            folder.require_free()
        recipe, material = gather(recipe, skip_unreadable)
        _warn(screen, material)
        kit = assemble(chosen_before(recipe, folder) if resume else recipe, material, world)
        choose_compiling(kit, screen.say)
        if resume:
            record = require_same(kit, material, folder, screen)
            if record is not None and record.status == "finished" and folder.weights.exists():
                screen.say(f"{folder.path} is finished; nothing to do")
                return record
            go_on(kit, folder, progress, screen)
        if world.is_main:
            _require_room(kit, folder)
        tracker = TensorBoard(folder, len(progress.rows)) if tensorboard and world.is_main else Tracker()
        if world.is_main:
            write_whole(folder.recipe, to_toml(kit.recipe).encode())
        compile_net(kit)
        try:
            screen.open(_title(kit, folder), kit.recipe.training.epochs, kit.recipe.training.batch_size)
            return Session(kit, material, folder, progress, screen, tracker, keep_going).run()
        finally:
            screen.close()
            tracker.close()


@dataclass
class Session:
    """One sitting at a run: from where it stands to its record."""

    kit: Kit
    material: Material
    folder: RunDir
    progress: Progress
    screen: Screen
    tracker: Tracker
    keep_going: Callable[[EpochRow], bool]

    def run(self) -> RunRecord:
        """Train, score the best weights, write the record."""
        interrupts = Interrupts()
        with interrupts.heeded():
            try:
                self.write_best()  # a session that was killed may have left older ones
                status, ending = self.train(interrupts)
                results = {} if status == "interrupted" else self.score_best()
            except NotFinite as error:
                status, ending, results = "diverged", error.what, {}
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                do = "use smaller batches, smaller images or a smaller net; or free memory, and --resume"
                raise UserError("there is not enough memory", where="training.batch_size", do=do) from error
            except Interrupted as interrupt:
                with interrupts.shield():
                    self.write(self.record("interrupted", str(interrupt), {}))
                raise
            with interrupts.shield():
                record = self.record(status, ending, results)
                self.write(record)
        self.kit.world.wait()
        return record

    def train(self, interrupts: Interrupts) -> tuple[Status, str]:
        """Train to the end, a stop or a divergence; return which, and a sentence."""
        recipe, rows = self.kit.recipe, self.progress.rows
        patience_spent = f"{recipe.stopping.monitor} did not improve for {recipe.stopping.patience} epochs"
        if should_stop(rows, recipe.stopping):  # it was interrupted after its last epoch
            return "finished", patience_spent
        try:
            for row in train_epochs(self.kit, rows, self.screen):
                with interrupts.shield():
                    rows.append(row)
                    best = best_epoch(rows, recipe.stopping.monitor)
                    if best == row.epoch:
                        self.progress.best = {k: v.detach().clone() for k, v in self.kit.judged.state_dict().items()}
                    if self.kit.world.is_main:
                        self.save(best == row.epoch)
                        self.tracker.row(row)
                self.screen.show(rows, best)
                if should_stop(rows, recipe.stopping):
                    return "finished", patience_spent
                if not self.keep_going(row):
                    return "interrupted", f"the caller stopped it after epoch {row.epoch}"
        except Diverged as diverged:
            return "diverged", str(diverged)
        return "finished", f"all {recipe.training.epochs} epochs of the recipe are done"

    def save(self, is_best: bool) -> None:
        """Write the checkpoint, then what can be made from it: history and best weights."""
        kit, progress = self.kit, self.progress
        state = Checkpoint(
            identity=identity(kit, self.material),
            started=progress.started,
            code=progress.code,
            rows=tuple(progress.rows),
            elapsed_s=progress.wall_s,
            model=kit.model.state_dict(),
            optimizer=kit.optimizer.state_dict(),
            ema=None if kit.ema is None else kit.ema.state_dict(),
            best=progress.best,
        )
        checkpoint.save(self.folder, state)
        self.folder.write_history(state.rows)
        if is_best:
            self.write_best()

    def write_best(self) -> None:
        """Write the weights of the best epoch so far, where there is one."""
        best, data = self.progress.best, self.material.record
        if best is not None and self.kit.world.is_main:
            content = pack(
                best,
                recipe=self.kit.recipe,
                classes=data.classes,
                image_size=data.image_size,
                data_hash=data.hash,
            )
            write_whole(self.folder.weights, content)

    def score_best(self) -> dict[str, EvalResult]:
        """Score the weights that validation chose, once on each part; only rank 0 does."""
        kit, parts, best = self.kit, self.kit.parts, self.progress.best
        if best is None or not kit.world.is_main:
            return {}
        kit.judged.load_state_dict(best)
        recipe = kit.recipe
        chosen = best_epoch(self.progress.rows, recipe.stopping.monitor) or 1
        augments = {"validation": recipe.augment.validation}
        results = {}
        for name, part in parts.present().items():
            if name == "train" and not recipe.evaluation.score_train:
                continue
            batches = scoring_batches(kit, part, augments.get(name, ()), chosen - 1)
            logits, labels = score(kit.judged, batches, kit.autocast)
            shown = recipe.evaluation.mistakes if name == self.last_part else 0
            results[name] = judge(logits, labels, images=part.at, paths=part.paths, mistakes=shown)
            if recipe.evaluation.tta != "none" and name != "train":
                results[f"{name}_tta"] = judge(self.look_again(part, logits), labels, images=part.at)
        return results

    @property
    def last_part(self) -> str:
        """The part whose mistakes are shown: test, or validation without one."""
        return list(self.kit.parts.present())[-1]

    def look_again(self, part: ImageSet, logits: Tensor) -> Tensor:
        """Return the logits after the recipe's test-time augmentation."""
        kit, spec = self.kit, self.kit.recipe.evaluation
        assert spec.tta != "none"

        def inputs(chosen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
            return scoring_batches(kit, part, only=chosen)

        return second_look(kit.judged, logits, inputs, kit.autocast, views=spec.tta, share=spec.tta_share)

    def record(self, status: Status, ending: str, results: dict[str, EvalResult]) -> RunRecord:
        """Gather all that is known of the run."""
        kit, rows = self.kit, self.progress.rows
        return RunRecord(
            fingerprint=fingerprint(kit.recipe, self.material.record.hash, code_version()),
            status=status,
            ending=ending,
            recipe=kit.recipe,
            changed=changes(kit.recipe),
            code=self.progress.code,
            data=self.material.record,
            model=kit.description,
            environment=kit.environment,
            history=tuple(rows),
            best_epoch=best_epoch(rows, kit.recipe.stopping.monitor),
            train=results.get("train"),
            validation=results.get("validation"),
            test=results.get("test"),
            validation_tta=results.get("validation_tta"),
            test_tta=results.get("test_tta"),
            started=self.progress.started,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            train_flops=train_flops(kit, len(rows)),
            wall_s=self.progress.wall_s,
            peak_memory_bytes=peak_memory_bytes(kit.world.device),
        )

    def write(self, record: RunRecord) -> None:
        """Write the record and finish the events."""
        if self.kit.world.is_main:
            self.folder.write_record(record)
            self.tracker.finish(record)


def train_flops(kit: Kit, epochs: int) -> int:
    """Return the operations of so many epochs: three forward passes an image (Kaplan et al. 2020, arXiv:2001.08361)."""
    forward = {size: describe(kit.model, "", size).flops for size in {kit.image_size(e) for e in range(epochs)}}
    return sum(3 * forward[kit.image_size(epoch)] * len(kit.parts.train) for epoch in range(epochs))


def _require_room(kit: Kit, folder: RunDir) -> None:
    """Fail now where the disk cannot hold three checkpoints (one is written before the oldest goes) and the rest."""
    net = sum(tensor.nbytes for tensor in kit.model.state_dict().values())
    slots = 1 if isinstance(kit.recipe.optim, SGD) else 2  # tensors an optimiser keeps for each weight
    copies = 2 + slots + (kit.ema is not None)  # the net, its best, ...
    there = sum(path.stat().st_size for path in folder.checkpoints.glob("*.ckpt"))
    folder.require_space(3 * copies * net - there + net + OTHER_FILES_BYTES)


def _warn(screen: Screen, material: Material) -> None:
    """Say what is odd about the data, before anybody waits for a result from it."""
    data = material.record
    if data.canonical is False:
        screen.say(f"{data.origin} is NOT the canonical {data.source}: its content differs from what was published")
    if material.doubts:
        screen.say(f"{material.doubts} files are duplicate or doubtful: look at rungs data {data.source}")
    for part, many in data.leaks.items():
        screen.say(f"a leak: {many:,} of {sum(data.counts[part]):,} {part} images are in a part before it, too")


def _title(kit: Kit, folder: RunDir) -> str:
    sizes = " + ".join(f"{len(part):,} {name}" for name, part in kit.parts.present().items())
    machine = f"{kit.environment.precision} ({kit.environment.precision_reason})"
    return (
        f"{kit.recipe.name} on {kit.recipe.data.source}, {sizes} images, "
        f"{kit.description.parameters:,} parameters, {machine} -> {folder.path}"
    )
