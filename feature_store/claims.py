"""Claims on shards: processes on one store share the work instead of doing it twice.

A claim saves work; the commit record keeps the store correct. The claim of a killed process is
taken over when its lease ends, or at once if the process is known to be gone. Leases are measured
by the clock of the disk or object store, which all processes share.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from feature_store import protocol
from feature_store.errors import StoreError
from feature_store.listing import stored_sources
from feature_store.objects import Objects
from feature_store.source import Source

LEASE_SECONDS = 900.0
"""Seconds without renewal after which a claim is taken over; a shard takes minutes at most."""

ATTEMPTS = 5
"""Attempts to get a claim that is stale, or released at the same time."""

POLL_SECONDS = 0.05
"""Pause between two attempts while waiting for a claim."""

ROOT = f"status/{protocol.CLAIMS}/root.json"
"""Key of the claim on the root; a process that creates, extends or repairs the root holds it."""

State = Literal["held", "expired", "gone", "invalid"]
"""``held`` must be respected; ``gone``: its process no longer runs on this host."""


@dataclass(frozen=True, kw_only=True)
class ClaimStatus:
    """A claim as another process sees it."""

    key: str
    """Key of the claim."""
    holder: str
    """``host:pid``; ``?:?`` for an invalid claim."""
    seconds: float | None
    """Age by the store's clock; None if the store has no times."""
    state: State
    """Whether the claim is respected, and why not."""

    def __str__(self) -> str:
        group, _, name = self.key.removesuffix(".json").partition(f"/{protocol.CLAIMS}/")
        source = Source.from_group(group.removesuffix("/tokens")) if "/" in group else "the store"
        what = f"shard {int(name)}" if name.isdecimal() else "metadata"
        age = "" if self.seconds is None else f", renewed {self.seconds:.0f} s ago"
        return f"{what} of {source}: claimed by {self.holder} ({self.state}{age})"

    @classmethod
    def of(cls, objects: Objects, key: str, lease: float = LEASE_SECONDS) -> ClaimStatus | None:
        """The claim under a key, or None if there is none."""
        try:
            data = objects.get(key)
        except StoreError:  # not a file
            data = b""
        if data is None:
            return None
        claim = _parse(data)
        if claim is None:
            return cls(key=key, holder="?:?", seconds=None, state="invalid")
        age = objects.age(key)
        if age is None:  # no clock but the writer's
            age = time.time() - claim.time
        state: State = "held"
        if not -lease <= age <= lease:  # a date far in the future does not block for ever
            state = "expired"
        elif claim.host == socket.gethostname() and not _is_alive(claim.pid):
            state = "gone"
        return cls(key=key, holder=f"{claim.host}:{claim.pid}", seconds=age, state=state)


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
            found = ClaimStatus.of(self.objects, self.key, self.lease)
            self.holder = found.holder if found else "?:?"
            if found is None:  # released just now
                continue
            if found.state == "held":
                break
            self.objects.delete(self.key)
        return self

    def renew(self) -> None:
        """Renew the claim if it is still ours; writes at most once a minute."""
        if self.held and time.time() - self._renewed > self.lease / 15 and self._is_ours():
            self.objects.put(self.key, self._content())

    def __exit__(self, *error: object) -> None:
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


@contextmanager
def waited_for(objects: Objects, key: str) -> Iterator[None]:
    """Wait until a claim is released or stale, then hold it."""
    while True:
        with Claim(objects, key) as claim:
            if claim.held:
                yield
                return
        time.sleep(POLL_SECONDS)


def all_claims(objects: Objects) -> list[ClaimStatus]:
    """Claims on the root, on sources and on shards."""
    keys = [ROOT]
    for source in stored_sources(objects):
        folder = f"{source.group}/tokens/{protocol.CLAIMS}"
        keys += [f"{folder}/{name}" for name in objects.names(folder)]
    return [found for key in keys if (found := ClaimStatus.of(objects, key))]


def clear(objects: Objects) -> list[ClaimStatus]:
    """Remove all stale claims and return them."""
    stale = [claim for claim in all_claims(objects) if claim.state != "held"]
    for claim in stale:
        objects.delete(claim.key)
    return stale


def holder_of(data: bytes | None) -> str:
    """Holder of a claim as ``host:pid``; ``?:?`` if the claim is gone or damaged."""
    claim = _parse(data)
    return f"{claim.host}:{claim.pid}" if claim else "?:?"


@dataclass(frozen=True)
class _Content:
    host: str
    pid: int
    time: float


def _parse(data: bytes | None) -> _Content | None:
    """A claim's fields; None if it is gone or one of them has an impossible value."""
    try:
        found = json.loads(data or b"")
        host, pid, written = found["host"], found["pid"], found["time"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(host, str) or not host.isprintable() or not 0 < len(host) < 256:
        return None
    if type(pid) is not int or not 0 < pid < 2**31:
        return None
    if type(written) not in (int, float) or not math.isfinite(written):
        return None
    return _Content(host, pid, written)


def _is_alive(pid: int) -> bool:
    """Whether a process with this number runs on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
