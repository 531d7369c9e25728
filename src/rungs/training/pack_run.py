"""The door for a pack: recipes that differ in their seed alone, trained side by side, each in a folder of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from msgspec.structs import replace
from torch import Tensor

from rungs import data
from rungs.errors import UserError
from rungs.recipe.spec import Recipe
from rungs.run.folder import RunDir
from rungs.run.record import RunRecord
from rungs.training.device import World, enough_memory
from rungs.training.interrupt import Interrupted, Interrupts
from rungs.training.loop import Diverged, train_together
from rungs.training.options import RunOptions
from rungs.training.pack import join, require_packable
from rungs.training.run import Session, Status, begin, begin_session
from rungs.training.screen import Screen
from rungs.training.setup import assemble, load_dataset

LESS = "use a smaller --pack, smaller batches, smaller images or a smaller net; or free memory, and go on"


def run_pack(
    recipes: Sequence[Recipe],
    folders: Sequence[RunDir],
    world: World,
    options: RunOptions | None = None,
) -> list[RunRecord | UserError]:
    """Train recipes side by side, from their newest checkpoints where there are some.

    A run that is behind the others trains without them until it has caught up; one that stops early or diverges leaves.

    Args:
        recipes: Of equal settings but for the seed.
        folders: One for each.
        world: This process, alone.
        options: How; they are resumed and nothing is shown, whatever it says of that.

    Returns:
        For each its record, or what kept it alone from being trained.

    Raises:
        UserError: Something that keeps all of them from being trained.
        Interrupted: SIGINT or SIGTERM; all finished epochs are kept, and the same call goes on.
    """
    options = dataclasses.replace(options or RunOptions(), resume=True, screen=None)
    require_packable(recipes[0], world.size)
    results: dict[int, RunRecord | UserError] = {}
    sessions: dict[int, Session] = {}
    with ExitStack() as held:
        source = data.load(recipes[0].data.source, recipes[0].data.image_size)
        moved: dict[int, Tensor] = {}
        for i, (recipe, folder) in enumerate(zip(recipes, folders, strict=True)):
            progress = begin()
            try:
                folder.prepare()
                held.enter_context(folder.locked())
                recipe, dataset = load_dataset(recipe, options.skip_unreadable, source)
                setup = assemble(as_it_is(recipe), dataset, world, moved)
                setup.environment = replace(setup.environment, compile_reason="the nets of a pack are not compiled")
                found = begin_session(setup, dataset, folder, progress, options)
            except UserError as error:
                results[i] = error
                continue
            if isinstance(found, Session):
                sessions[i] = found
                held.callback(found.tracker.close)
            else:
                results[i] = found
        records = train_side_by_side(list(sessions.values()))
        results.update(zip(sessions, records, strict=True))
    return [results[i] for i in range(len(recipes))]


def as_it_is(recipe: Recipe) -> Recipe:
    """Return a recipe whose net will not be compiled: a pack's is another net than that of a run alone."""
    return replace(recipe, training=replace(recipe.training, compile="no"))


def train_side_by_side(sessions: Sequence[Session]) -> list[RunRecord]:
    """Train all sessions to their ends, score each and write its record as soon as it is over."""
    interrupts, records = Interrupts(), dict[int, RunRecord]()
    with interrupts.heeded(), enough_memory(LESS):
        try:
            for session in sessions:
                session.write_best()  # of a process that was killed, an older one may be there
            while going := [i for i in range(len(sessions)) if i not in records]:
                for i, status, ending in _stretch({i: sessions[i] for i in going}, interrupts):
                    records[i] = sessions[i].conclude(interrupts, *sessions[i].scored(status, ending))
        except Interrupted as interrupt:
            for i, session in enumerate(sessions):
                if i not in records:
                    with suppress(Interrupted):  # what it raises again after each record
                        session.conclude(interrupts, "interrupted", str(interrupt), {})
            raise
    return [records[i] for i in range(len(sessions))]


def _stretch(going: dict[int, Session], interrupts: Interrupts) -> list[tuple[int, Status, str]]:
    """Train those that are furthest behind until one of them is over or they have caught up with another.

    Returns:
        Those that are over: their number, how they ended, and a sentence.
    """
    over: list[tuple[int, Status, str]] = []
    over += [(i, "finished", session.ending()) for i, session in going.items() if session.is_over()]
    if over:
        return over
    stands = {i: len(session.progress.rows) for i, session in going.items()}
    group = {i: going[i] for i in going if stands[i] == min(stands.values())}
    first = next(iter(group.values()))
    setup = join([session.setup for session in group.values()])
    for came_to in train_together(setup, first.progress.rows, Screen()):
        with interrupts.shield():
            setup.copy_to_members()
            for (i, session), row in zip(group.items(), came_to, strict=True):
                if isinstance(row, Diverged):
                    over.append((i, "diverged", str(row)))
                    continue
                session.keep(row)
                if session.is_over():
                    over.append((i, "finished", session.ending()))
        if over or len(first.progress.rows) in stands.values():
            break
    return over
