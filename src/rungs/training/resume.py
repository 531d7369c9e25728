"""Resume a run: its progress, whether it is the same run, and how to restore its setup."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from msgspec.structs import replace
from torch import Tensor

from rungs.errors import UserError
from rungs.models.own import OwnNet
from rungs.recipe.identity import differences, digest
from rungs.recipe.models import Backbone
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import read
from rungs.run.folder import RunDir
from rungs.run.record import EpochRow, RunRecord
from rungs.training import checkpoint
from rungs.training.convolutions import use_as_before
from rungs.training.dataset import Dataset
from rungs.training.device import World
from rungs.training.screen import Screen
from rungs.training.setup import Setup, assemble

CHOSEN_BEFORE = "chosen when the run began"
"""Reason of a choice that a resumed run keeps."""


@dataclass
class Progress:
    """The progress of a run."""

    started: str  # UTC, ISO 8601, of the first session
    began: float  # time.perf_counter() of this one
    elapsed_s: float = 0.0  # of earlier ones, up to their last checkpoints
    code: tuple[str, ...] = ()  # versions of rungs and torch that trained it
    rows: list[EpochRow] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    @property
    def wall_s(self) -> float:
        """Seconds of all sessions together."""
        return self.elapsed_s + time.perf_counter() - self.began


def identity(setup: Setup, dataset: Dataset) -> str:
    """Return what a checkpoint must match: digest of the recipe, a colon, hash of the data."""
    return f"{digest(setup.recipe)}:{dataset.record.hash}"


def assemble_resumed(
    recipe: Recipe,
    folder: RunDir,
    dataset: Dataset,
    world: World,
    moved: dict[int, Tensor] | None = None,
    given: OwnNet | None = None,
) -> Setup:
    """Build the objects of a run that may have begun before, with what it chose then; see `assemble`."""
    if not folder.recipe.exists():
        return assemble(recipe, dataset, world, moved, given)
    setup = assemble(_chosen_before(recipe, folder), dataset, world, moved, given, resumed=True)
    if recipe.training.precision == "auto":
        setup.environment = replace(setup.environment, precision_reason=CHOSEN_BEFORE)
    return setup


def _chosen_before(recipe: Recipe, folder: RunDir) -> Recipe:
    """Return a recipe with what its run's first session chose on its machine: a second one could choose differently."""
    before, now = read(folder.recipe).training, recipe.training
    return replace(
        recipe,
        training=replace(
            now,
            precision=before.precision if now.precision == "auto" else now.precision,
            convolution="direct" if now.convolution == "direct" else before.convolution,  # the others are resolved
            compile=before.compile if now.compile == "auto" else now.compile,
        ),
    )


def require_same(setup: Setup, dataset: Dataset, folder: RunDir, screen: Screen) -> RunRecord | None:
    """Refuse to resume a run of another recipe or other data, by the files it left; return its record, if any.

    Raises:
        UserError: It is another run, or all checkpoints are damaged.
    """
    known: list[tuple[str | None, str | None]] = []
    fields: tuple[str, ...] = ()
    if folder.recipe.exists():
        before = read(folder.recipe)
        known.append((digest(before), None))
        fields = differences(setup.recipe, before)
    record = None
    if folder.record.exists():
        try:
            record = folder.read_record()
            known.append((None, record.data.hash))
        except UserError as error:
            screen.say(f"{error.what}: run.json will be rewritten")
    if (state := checkpoint.restore(folder)[0]) is not None:
        recipe_digest, _, data_hash = state.identity.partition(":")
        known.append((recipe_digest, data_hash))
    mine = (digest(setup.recipe), dataset.record.hash)
    for position, what in enumerate(("recipe", "data")):
        if any(other[position] not in (None, mine[position]) for other in known):
            do = f"give the same {what} as before (see recipe.toml and run.json there), or another --out"
            if what == "recipe" and fields == ("model.sha256",):
                do = _original(setup.recipe)
            verb = "differs" if len(fields) == 1 else "differ"
            which = f": {', '.join(fields)} {verb}" if fields and what == "recipe" else ""
            raise UserError(f"this folder holds a run with another {what}{which}", where=folder.path, do=do)
    return record


def _original(recipe: Recipe) -> str:
    """Return what to do about a net whose SHA-256 differs from that of its run."""
    if isinstance(recipe.model, Backbone):
        return "the pretrained weights changed: give the original ones, or another --out"
    return "the source of your net changed: give the original (the folder holds a copy), or another --out"


def restore_run(setup: Setup, folder: RunDir, progress: Progress, screen: Screen) -> None:
    """Load the newest undamaged checkpoint into setup and progress, on every rank.

    Raises:
        UserError: All checkpoints are damaged, or the newest holds the head alone where the whole net is trained.
    """
    state, damaged = checkpoint.restore(folder)
    for sentence in damaged:
        screen.say(sentence)
    if state is None:
        screen.say("nothing to resume: starting from scratch")
        return
    _require_same_net(setup, state.model, folder)
    setup.model.load_state_dict(state.model)
    for saved, own in zip(state.optimizer["param_groups"], setup.optimizer.param_groups, strict=True):
        saved.update({"capturable": own["capturable"]} if "capturable" in own else {})  # it may be from another device
    setup.optimizer.load_state_dict(state.optimizer)
    if setup.world.device.type == "cpu" and setup.recipe.training.convolution != "direct":
        setup.environment = replace(setup.environment, convolutions=state.convolutions)
        for net in (setup.model, setup.scored_net):
            use_as_before(net, state.convolutions)
    if setup.ema is not None and state.ema is not None:
        setup.ema.load_state_dict(state.ema)
    progress.started, progress.elapsed_s = state.started, state.elapsed_s
    progress.rows, progress.best = list(state.rows), state.best
    if state.code[-1:] == progress.code:
        progress.code = state.code
    else:
        screen.say(f"the code changed since: {state.code[-1]} then, {progress.code[0]} now; the record lists both")
        progress.code = (*state.code, *progress.code)
    screen.say(f"resuming after epoch {len(state.rows)}")


def _require_same_net(setup: Setup, saved: dict[str, Tensor], folder: RunDir) -> None:
    """Refuse the head of a net where the whole of it is trained, and the reverse: see `rungs.training.features`."""
    head_before = not any(name.startswith("net.") for name in saved)
    head_now = not any(name.startswith("net.") for name in setup.model.state_dict())
    if head_before == head_now:
        return
    if head_before:
        what = "the run trained its head alone, on features kept by one process; now the whole net is trained"
        do = "resume it with one process (without torchrun), or give another --out"
    else:
        what = "the run trained the whole net, as several processes do; now the head is trained alone"
        do = "resume it with as many processes as before, or give another --out"
    raise UserError(what, where=folder.checkpoints, do=do)
