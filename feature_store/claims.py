"""Claims on shards: processes on one store share the work instead of doing it twice.

A claim saves work; the commit record keeps the store correct. The claim of a killed process is
taken over when its lease ends, or at once if the process is known to be gone.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from types import TracebackType
from typing import Any

from feature_store.objects import Objects

LEASE_SECONDS = 900.0
"""Seconds without renewal after which a claim is taken over; a shard takes minutes at most."""

ATTEMPTS = 5
"""Attempts to get a claim that its holder releases, or leaves stale, at the same time."""


class Claim:
    """A claim of this process on one shard, as a context manager around the work.

    ``held`` tells whether this process got the claim. Call :meth:`renew` during long work.
    """

    def __init__(self, objects: Objects, key: str, *, lease: float = LEASE_SECONDS) -> None:
        self.objects = objects
        self.key = key
        self.lease = lease
        self.held = False
        self.holder = ""
        self._token = uuid.uuid4().hex
        self._renewed = 0.0

    def __enter__(self) -> Claim:
        for _ in range(ATTEMPTS):
            self.held = self.objects.put_new(self.key, self._content())
            if self.held:
                break
            content = self.objects.get(self.key)
            self.holder = holder_of(content)
            if content is None:  # released in this moment
                continue
            if not _is_stale(_parse(content), self.lease):
                break
            self.objects.delete(self.key)
        return self

    def renew(self) -> None:
        """Renew the claim if it is still ours; writes at most once a minute."""
        if self.held and time.time() - self._renewed > self.lease / 15 and self._is_ours():
            self.objects.put(self.key, self._content())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.held and self._is_ours():
            self.objects.delete(self.key)
        self.held = False

    def _is_ours(self) -> bool:
        """False if another process took the claim over, because its lease had ended."""
        return self._token.encode() in (self.objects.get(self.key) or b"")

    def _content(self) -> bytes:
        self._renewed = time.time()
        claim = {"host": socket.gethostname(), "pid": os.getpid(), "time": self._renewed}
        return json.dumps(claim | {"token": self._token}).encode()


def holder_of(data: bytes | None) -> str:
    """Holder of a claim as ``host:pid``; ``?:?`` if the claim is gone or damaged."""
    found = _parse(data)
    return f"{found.get('host', '?')}:{found.get('pid', '?')}"


def _parse(data: bytes | None) -> dict[str, Any]:
    """A claim's fields; empty (and so stale) if it is gone or damaged."""
    try:
        found = json.loads(data or b"{}")
        return {"host": str(found["host"]), "pid": int(found["pid"]), "time": float(found["time"])}
    except (ValueError, TypeError, KeyError):
        return {}


def _is_stale(claim: dict[str, Any], lease: float) -> bool:
    if not claim or time.time() - claim["time"] > lease:
        return True
    return claim["host"] == socket.gethostname() and not _is_alive(claim["pid"])


def _is_alive(pid: int) -> bool:
    """Whether a process with this number runs on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
