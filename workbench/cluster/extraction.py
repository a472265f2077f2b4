"""Extraction on the workers of a session: which shard next, and what became of it.

The store's commits and claims make it safe; this only hands out shards. Where a worker is lost,
Dask gives the shards that it was computing to another one. The claim that it leaves behind is
removed here, because only here it is known that its holder is gone.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import feature_store
from analyses.reading.progress import shown
from feature_store import FeatureStore, InputError, Source, protocol
from feature_store.claims import holder_of
from feature_store.listing import stored_sources
from workbench.cluster import tasks
from workbench.cluster.session import TICK_SECONDS, Session
from workbench.extraction.local import described
from workbench.extraction.request import ExtractReport, ExtractRequest
from workbench.interrupts import stop_requests

LOST_SECONDS = 30.0
"""Seconds after which a claim of a lost worker is removed: as long as Dask lets a worker that
leaves in order finish its shards."""
OWN_RETRY_SECONDS = 1.0
"""Seconds before a shard that another worker of this run holds is offered again."""
OTHER_RETRY_SECONDS = 60.0
"""The same for a shard that a process of another run is computing, as long as there is
other work: its claim runs out if it is dead."""


def extract_on(
    session: Session,
    request: ExtractRequest,
    *,
    shards_per_task: int = 1,
    log: Callable[[str], None] = lambda line: None,
) -> ExtractReport:
    """Compute what is missing of the requested sources on the session's workers.

    Paths must mean the same on every worker, and each is given `shards_per_task` shards together.
    `log` receives one line of prose at a time.

    Raises
    ------
    InputError
        Anything wrong with the request; workers of another version of the project; no workers.
    """
    ticket = tasks.Ticket(asdict(request), uuid.uuid4().hex, os.getcwd(), session.token)
    with stop_requests(log) as stopping:
        work = _Work(session, ticket, log, stopping)
        session.ending = False
        session.client.subscribe_topic(tasks.TOPIC, work.heard)
        try:
            session.refuse_others()
            prepared = session.result(session.submit(tasks.prepare, ticket), stopping)
            if prepared is None:
                return ExtractReport(store=request.store, images=0, stopped=True, interrupted=True)
            for line in prepared.notes:
                log(line)
            if prepared.error:
                raise InputError(prepared.error)
            report = work.run(prepared, shards_per_task)
        finally:
            session.client.unsubscribe_topic(tasks.TOPIC)
    store = feature_store.open(request.store)
    if report.busy and not any(store.source(name).missing() for name in prepared.sources):
        report.busy = 0  # the other processes have committed their shards meanwhile
    return described(report, store, [Source.parse(name) for name in prepared.sources])


@dataclass(eq=False)
class _Work:
    """Shards that are waiting or being computed, and facts about the workers."""

    session: Session
    ticket: tasks.Ticket
    log: Callable[[str], None]
    stopping: Callable[[], bool]
    waiting: deque[tuple[int, ...]] = field(default_factory=deque)
    under_way: dict[Any, tuple[int, ...]] = field(default_factory=dict)
    finished: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)
    held: dict[int, tuple[str, float, float]] = field(default_factory=dict)
    """Shard claimed elsewhere to its holder, since when, and when it is offered again."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Name (``host:pid``) of every worker that has begun a task, to its address."""
    begun: Counter[int] = field(default_factory=Counter)
    """Shard to the number of times that a worker began it."""
    begun_at: dict[int, str] = field(default_factory=dict)
    """Shard to the address of the last worker that began it."""

    def heard(self, event: tuple[float, dict]) -> None:
        """Note the message of a worker that begins a task (called from Dask's thread)."""
        _, message = event
        self.addresses[message["name"]] = message["address"]
        if message["token"] == self.ticket.token:  # others may use the same scheduler
            self.begun.update(message["begins"])
            self.begun_at.update(dict.fromkeys(message["begins"], message["address"]))

    def run(self, prepared: tasks.Prepared, shards_per_task: int) -> ExtractReport:
        """Hand out all missing shards; returns the report of this run."""
        store = feature_store.open(self.ticket.options["store"])
        report = ExtractReport(store=store.path, images=len(store))
        todo = sorted(prepared.missing)
        self.waiting.extend(
            tuple(todo[k : k + shards_per_task]) for k in range(0, len(todo), shards_per_task)
        )
        images = sum(count for count, _ in prepared.missing.values())
        self.log(f"{len(todo)} shard(s), {images} image(s) to compute")
        start = time.perf_counter()
        with shown("extract", total=images, unit="image") as bar:
            while self._submit(store):
                for done in self._collect():
                    if done.error:
                        self._cancel(list(self.under_way))
                        raise InputError(done.error)
                    for shard in set(done.shards) - done.busy.keys():
                        images, sources = prepared.missing[shard]
                        bar.update(images)
                        here, before = shard in done.computed, self.begun[shard] > 1
                        if here or before:  # else another process did it meanwhile
                            report.shards += sources
                            report.computed += images
                        report.redone += here and before
                    report.crops += done.crops
        report.seconds = time.perf_counter() - start if todo else 0.0
        report.busy = len(self.held)
        report.stopped = bool(self.waiting)
        report.interrupted = self.stopping()
        return report

    def _submit(self, store: FeatureStore) -> bool:
        """Submit shards as long as workers have room; False once nothing is left to wait for."""
        self.session.ending = self.stopping()
        present = self.session.look()
        if self.session.ending:  # wait only for shards that a present worker is computing
            waiting = [f for f in self.under_way if not f.done()]
            begun = {f: {self.begun_at.get(shard) for shard in self.under_way[f]} for f in waiting}
            self._cancel([f for f in waiting if begun[f].isdisjoint(present)])
            return bool(self.under_way)
        room = 2 * max(sum(present.values()), 1)
        self._free(store)
        count = min(room - len(self.under_way), len(self.waiting))
        if count > 0:
            groups = [self.waiting.popleft() for _ in range(count)]
            futures = self.session.submit_all(tasks.compute, [self.ticket] * count, groups)
            self.under_way.update(zip(futures, groups, strict=True))
            for future in futures:
                future.add_done_callback(self.finished.put)
        # Shards held by present or former workers of this run will become free.
        ours = any(holder in self.addresses for holder, *_ in self.held.values())
        return bool(self.under_way or self.waiting or ours)

    def _collect(self) -> list[tasks.Done]:
        """Results that have arrived; waits briefly for the first."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self.finished.get(timeout=TICK_SECONDS))
            while True:
                found.append(self.finished.get_nowait())
        asked = [f for f in found if self.under_way.pop(f, None)]  # the others were cancelled
        answers = self.session.results(asked) if asked else []
        for done in answers:
            for shard in done.shards:
                before = self.held.pop(shard, None)
                if shard in done.busy:
                    now, holder = time.monotonic(), done.busy[shard]
                    since = before[1] if before and before[0] == holder else now
                    self.held[shard] = (holder, since, now + self._pause(holder))
        return answers

    def _pause(self, holder: str) -> float:
        return OWN_RETRY_SECONDS if holder in self.addresses else OTHER_RETRY_SECONDS

    def _free(self, store: FeatureStore) -> None:
        """Offer held shards again; remove the claims of workers that are gone for good."""
        present, now = self.session.look(), time.monotonic()
        if not self.held:
            return
        offered = {s for group in (*self.under_way.values(), *self.waiting) for s in group}
        for shard, (holder, since, again) in list(self.held.items()):
            if now < again or shard in offered:
                continue
            address = self.addresses.get(holder)
            if address and address not in present and now - since > LOST_SECONDS:
                release_claims(store, shard, holder)
            self.held[shard] = (holder, since, now + self._pause(holder))
            self.waiting.append((shard,))

    def _cancel(self, futures: list[Any]) -> None:
        """Cancel tasks and queue their shards again; a running task finishes unobserved."""
        for future in futures:
            self.waiting.append(self.under_way.pop(future))
        self.session.client.cancel(futures)


def release_claims(store: FeatureStore, shard: int, holder: str) -> None:
    """Remove the claims on a shard that a process (``host:pid``) left behind when it died."""
    for source in stored_sources(store.objects):
        key = protocol.claim_key(source.group, shard)
        if holder_of(store.objects.get(key)) == holder:
            store.objects.delete(key)
