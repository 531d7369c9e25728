"""The claim to run the finals of a search in a database: the test set is opened once, not once per machine.

The claim is a separate Optuna study, because a database accepts each name only once. It holds a token that is also
stored in the claimant's folder: any process with that folder, on a shared disk or after a restart, resumes the finals.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rungs.run.folder import write_whole
from rungs.study.search.liveness import UNCLAIMED_S, heartbeat, host
from rungs.study.search.record import SearchDir
from rungs.study.search.storage import open_storage, optuna
from rungs.study.search.study import Work

TAKEOVER_S = 1800.0
"""A claim may be taken over after this long without a heartbeat, by the clocks of both machines: 90 beats."""
TOKEN, WHERE, BEAT, CLOSED = "token", "where", "heartbeat", "settled"
"""Attributes of a claim: `[token, time]`, `[host, folder]`, the time of the last beat, and whether its re-runs are
done. From then on the test set may be open, so the claim is never taken over."""


class Claim:
    """A folder's view of the claim to a search's finals; the caller must hold the folder's lock."""

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
        """Return a message if the finals belong to another folder; "" if this folder holds the claim or takes it over.

        A claim without a token was created by a process that died before writing one.
        """
        deadline = time.monotonic() + UNCLAIMED_S
        while TOKEN not in self.study.user_attrs and time.monotonic() < deadline:
            time.sleep(0.5)
        attrs = self.study.user_attrs
        _, since = attrs.get(TOKEN, ["", 0.0])
        is_gone = time.time() - max(since, attrs.get(BEAT, 0.0)) > TAKEOVER_S
        if not self._is_mine() and is_gone and not attrs.get(CLOSED):
            self._take()
        if self._is_mine():
            return ""
        on, name = attrs.get(WHERE, ["", ""])
        machine = "this machine" if on == host() else "another machine"
        if attrs.get(CLOSED):
            return f"The finals were run on {machine}, in the folder {name}; see the winner there."
        return (
            f"The finals are running on {machine}, in the folder {name}: the same command resumes them there. It takes "
            f"them over here after {TAKEOVER_S / 60:.0f} minutes without a heartbeat from there."
        )

    def close(self) -> bool:
        """Mark the re-runs as done, which rules out a takeover; return False if one has already happened."""
        if not self._is_mine():
            return False
        self.study.set_user_attr(CLOSED, True)
        return True

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Write heartbeats to the storage while the block runs the finals."""
        with suppress(Exception):  # immediately: the last heartbeat may be long ago
            self._beat()
        with heartbeat(self._beat):
            yield

    def _beat(self) -> None:
        if self._is_mine():
            self.study.set_user_attr(BEAT, time.time())


def _token(folder: SearchDir) -> str:
    """Return the permanent token of a folder; create it if missing."""
    if not folder.claim.is_file():
        write_whole(folder.claim, secrets.token_hex(16).encode())
    return folder.claim.read_text().strip()
