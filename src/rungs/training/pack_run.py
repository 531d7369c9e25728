"""The entry point for a pack: recipes that differ only in their seed, trained side by side, each in its own folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from msgspec.structs import replace
from torch import Tensor

from rungs.errors import UserError
from rungs.recipe.spec import Recipe
from rungs.recipe.toml import read
from rungs.run.folder import RunDir
from rungs.run.record import RunRecord
from rungs.training.dataset import load_dataset, open_source
from rungs.training.device import World, enough_memory
from rungs.training.interrupt import Interrupted, Interrupts
from rungs.training.loop import Diverged, train_together
from rungs.training.options import RunOptions
from rungs.training.pack import join, require_packable
from rungs.training.resume import assemble_resumed
from rungs.training.run import Session, Status, begin_session, new_progress
from rungs.training.scoring import Scores
from rungs.training.screen import Screen

LESS = "use a smaller --pack, smaller batches, smaller images or a smaller net; or free memory, and resume"


def run_pack(
    recipes: Sequence[Recipe],
    folders: Sequence[RunDir],
    world: World,
    options: RunOptions | None = None,
) -> list[RunRecord | UserError]:
    """Train recipes side by side, from their newest checkpoints if any.

    A run that is behind the others trains without them until it has caught up; one that stops early or
    diverges leaves the pack.

    Args:
        recipes: Equal except for the seed.
        folders: One for each.
        world: This process, alone.
        options: How; `resume` and `screen` are ignored: runs are resumed and nothing is shown.

    Returns:
        For each its record, or the error that concerns it alone.

    Raises:
        UserError: An error that concerns all of them.
        Interrupted: SIGINT or SIGTERM; all finished epochs are kept, and the same call resumes.
    """
    options = dataclasses.replace(options or RunOptions(), resume=True, screen=None)
    require_packable(recipes[0], world.size)
    results: dict[int, RunRecord | UserError] = {}
    sessions: dict[int, Session] = {}
    with ExitStack() as stack:
        source = open_source(recipes[0])
        moved: dict[int, Tensor] = {}
        for i, (recipe, folder) in enumerate(zip(recipes, folders, strict=True)):
            progress = new_progress()
            try:
                folder.prepare()
                stack.enter_context(folder.locked())
                before = read(folder.recipe) if folder.recipe.exists() else None
                recipe, dataset = load_dataset(recipe, options.skip_unreadable, source, before)
                setup = assemble_resumed(computed_plainly(recipe, folder), folder, dataset, world, moved)
                setup.environment = replace(setup.environment, compile_reason="the nets of a pack are not compiled")
                found = begin_session(setup, dataset, folder, progress, options)
            except UserError as error:
                results[i] = error
                continue
            if isinstance(found, Session):
                sessions[i] = found
                stack.callback(found.tracker.close)
            else:
                results[i] = found
        records = train_side_by_side(list(sessions.values()))
        results.update(zip(sessions, records, strict=True))
    return [results[i] for i in range(len(recipes))]


def computed_plainly(recipe: Recipe, folder: RunDir) -> Recipe:
    """Return a recipe whose net is not compiled and whose convolutions are torch's own, as in packs.

    A run that began alone keeps its recipe's convolutions, although the pack computes them plainly.
    """
    training = replace(recipe.training, compile="no")
    if training.convolution == "auto" and not folder.recipe.exists():
        training = replace(training, convolution="direct")
    return replace(recipe, training=training)


def train_side_by_side(sessions: Sequence[Session]) -> list[RunRecord]:
    """Train all sessions to the end, score each and write its record as soon as it is done."""
    interrupts, records = Interrupts(), dict[int, RunRecord]()
    with interrupts.handled(), enough_memory(LESS):
        try:
            for session in sessions:
                session.write_best()  # a process that was killed may have left older ones
            while running := [i for i in range(len(sessions)) if i not in records]:
                for i, status, ending in _train_rearmost({i: sessions[i] for i in running}, interrupts):
                    records[i] = sessions[i].finish(interrupts, *sessions[i].add_scores(status, ending))
        except Interrupted as interrupt:
            for i, session in enumerate(sessions):
                if i not in records:
                    with suppress(Interrupted):  # raised again after each record
                        session.finish(interrupts, "interrupted", str(interrupt), Scores())
            raise
    return [records[i] for i in range(len(sessions))]


def _train_rearmost(running: dict[int, Session], interrupts: Interrupts) -> list[tuple[int, Status, str]]:
    """Train those furthest behind until one of them is done or they have caught up with another.

    Returns:
        Those that are done: their number, how they ended, and a sentence.
    """
    done: list[tuple[int, Status, str]] = []
    done += [(i, "finished", session.ending()) for i, session in running.items() if session.is_done()]
    if done:
        return done
    epochs = {i: len(session.progress.rows) for i, session in running.items()}
    group = {i: running[i] for i in running if epochs[i] == min(epochs.values())}
    first = next(iter(group.values()))
    setup = join([session.setup for session in group.values()])
    for results in train_together(setup, first.progress.rows, Screen()):
        with interrupts.shield():
            setup.copy_to_members()
            for (i, session), row in zip(group.items(), results, strict=True):
                if isinstance(row, Diverged):
                    done.append((i, "diverged", str(row)))
                    continue
                session.end_epoch(row)
                if session.is_done():
                    done.append((i, "finished", session.ending()))
        if done or len(first.progress.rows) in epochs.values():
            break
    return done
