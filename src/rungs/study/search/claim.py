"""Whose business the finals of a search in a database are: its test set is to be opened once, not on each machine.

The claim is a study of its own, because a database grants a name once. It holds a token that lies in the folder of
who made the claim, too: whoever has that folder, on a shared disk or after a restart, goes on with the finals.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rungs.run.folder import write_whole
from rungs.study.search.liveness import UNCLAIMED_S, beating, host
from rungs.study.search.record import SearchDir
from rungs.study.search.storage import open_storage, optuna
from rungs.study.search.study import Work

GONE_S = 1800.0
"""A claim whose owner was silent for so long, by the clocks of both machines, may be taken over: 90 beats."""
TOKEN, WHERE, BEAT, SETTLED = "token", "where", "heartbeat", "settled"
"""What a claim holds: `[token, time]`, `[host, folder]`, the time of the last beat, and that its re-runs are through.
Then the test set is opened, or never will be: nobody takes over such a claim."""


class Claim:
    """A folder's view of the claim to a search's finals; the folder has to be locked."""

    def __init__(self, work: Work, folder: SearchDir) -> None:
        self.folder, self.token = folder, _token(folder)
        package, storage, name = optuna(), open_storage(work.address), f"{work.name}-finals"
        try:
            self.study = package.create_study(study_name=name, storage=storage)
            self._take()
        except package.exceptions.DuplicatedStudyError:
            self.study = package.load_study(study_name=name, storage=storage)

    def _take(self) -> None:
        self.study.set_user_attr(WHERE, [host(), self.folder.path.resolve().name])
        self.study.set_user_attr(TOKEN, [self.token, time.time()])

    def _is_mine(self) -> bool:
        token: list[object] = self.study.user_attrs.get(TOKEN, [""])
        return token[0] == self.token

    def elsewhere(self) -> str:
        """Return where else the finals are made; "" where they are this folder's business, or become so here.

        A claim that nobody has put a token to was made by who died at once.
        """
        deadline = time.monotonic() + UNCLAIMED_S
        while TOKEN not in self.study.user_attrs and time.monotonic() < deadline:
            time.sleep(0.5)
        said = self.study.user_attrs
        _, since = said.get(TOKEN, ["", 0.0])
        is_gone = time.time() - max(since, said.get(BEAT, 0.0)) > GONE_S
        if not self._is_mine() and is_gone and not said.get(SETTLED):
            self._take()
        if self._is_mine():
            return ""
        on, name = said.get(WHERE, ["", ""])
        machine = "this machine" if on == host() else "another machine"
        if said.get(SETTLED):
            return f"The finals were made on {machine}, in the folder {name}, which has the winner."
        return (
            f"The finals are made on {machine}, in the folder {name}: the same command goes on with them there. It "
            f"takes them over here, if nothing is heard from there for {GONE_S / 60:.0f} minutes."
        )

    def settled(self) -> bool:
        """Say that the re-runs are through, so that nobody takes over any more; return False if somebody has."""
        if not self._is_mine():
            return False
        self.study.set_user_attr(SETTLED, True)
        return True

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Say in the storage, as long as the block lasts, that the finals are being made."""
        with suppress(Exception):  # at once: the finals before may have fallen silent long ago
            self._beat()
        with beating(self._beat):
            yield

    def _beat(self) -> None:
        if self._is_mine():
            self.study.set_user_attr(BEAT, time.time())


def _token(folder: SearchDir) -> str:
    """Return the token of a folder, which it keeps for ever."""
    if not folder.claim.is_file():
        write_whole(folder.claim, secrets.token_hex(16).encode())
    return folder.claim.read_text().strip()
