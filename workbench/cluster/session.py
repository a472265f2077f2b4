"""A connected engine: where its workers are, how to wait for them, and map and tree-reduce."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

from analyses.reading.engine import tree
from feature_store.errors import InputError
from workbench.cluster.version import own_version, refuse_reported, reported_version, require_same

if TYPE_CHECKING:
    from distributed import Client, Future

TICK_SECONDS = 0.5
"""Seconds between two looks at the state of the workers while waiting."""
VERSION_SECONDS = 10.0
"""Seconds within which the present workers must answer with their versions."""
IDLE_SECONDS = 60.0
"""Seconds without a question after which the run was busy with something else, not waiting."""
UNREADABLE = ("Error during deserialization of the task graph", "Can't get attribute")
"""Parts of messages of Dask's scheduler and pickle about unknown functions or classes."""


class Session:
    """Runs functions on the workers of a Dask scheduler, and detects when there are none.

    ``map`` and ``reduce`` are what the analyses ask of an engine (:mod:`~.reading.engine`). `watch`
    is called now and then while something is awaited, with the addresses of the present workers; it
    replaces lost workers or raises if none can come.
    """

    def __init__(self, client: Client, watch: Callable[[dict[str, int]], None]) -> None:
        self.client = client
        self.token = uuid.uuid4().hex
        """Identifies this session in caches that workers keep for the rest of a command."""
        self.ending = False
        """Whether the run ends: lost workers are not replaced any more."""
        self._watch = watch
        self._looked = 0.0
        self._threads: dict[str, int] = {}

    def look(self) -> dict[str, int]:
        """Address to threads of the present workers; at most twice a second asked anew.

        Raises
        ------
        InputError
            The scheduler is gone, or no worker can come.
        """
        if time.monotonic() - self._looked > TICK_SECONDS:
            try:
                if self.client.status != "running":
                    raise ConnectionError(self.client.status)
                self._threads = self.client.nthreads()
            except OSError as error:  # the question itself may find it gone
                raise InputError(
                    "the Dask scheduler is gone; stored shards are safe: repeat the command"
                ) from error
            self._looked = time.monotonic()
            if not self.ending:
                self._watch(self._threads)
        return self._threads

    def refuse_others(self) -> None:
        """Ask the present workers for their version; later workers are asked with their work.

        A worker that lacks modules of this version cannot even read that work: Dask loses it
        without a word.

        Raises
        ------
        InputError
            A worker has another version of the project, or none.
        """

        async def ask() -> dict:
            asked = self.client.run(reported_version(), on_error="return")
            return await asyncio.wait_for(asked, VERSION_SECONDS)  # type: ignore[arg-type]

        asking = asyncio.run_coroutine_threadsafe(
            ask(),
            self.client.loop.asyncio_loop,  # type: ignore[union-attr]
        )
        try:
            answers = asking.result().values()
        except TimeoutError:  # one hangs; the others are asked with their work
            return
        refuse_reported(answers)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """Run once on some worker; the result is never taken from an earlier call."""
        return self.client.submit(function, *arguments, pure=False)

    def submit_all(self, function: Callable[..., Any], *columns: Sequence[Any]) -> list[Future]:
        """Run on every row of the columns, sent to the scheduler in one message."""
        return self.client.map(function, *columns, pure=False)

    def result(self, future: Future, stopping: Callable[[], bool] = lambda: False) -> Any:
        """Wait for one result, watching the workers; None once `stopping` returns true.

        Raises
        ------
        InputError
            Whatever the function raised of this kind; workers that die of it, or that do not know
            this project.
        """
        while not future.done():
            if stopping():
                self.client.cancel([future])
                return None
            self.look()
            time.sleep(0.01)
        return self.results([future])[0]

    def results(self, futures: Sequence[Future]) -> list[Any]:
        """Results of finished futures, fetched together: each fetch is a way there and back; errors
        are those of `result`."""
        fetching = asyncio.run_coroutine_threadsafe(
            self.client.gather(futures, asynchronous=True),
            self.client.loop.asyncio_loop,  # type: ignore[union-attr]
        )
        with said_plainly():
            # A worker may be lost with its result, which another one then computes.
            while wait([fetching], TICK_SECONDS).not_done:
                if not self.look() and self.ending:
                    fetching.cancel()
                    raise InputError(
                        "the last worker was lost while the run ended, with word of what it did; "
                        "stored shards are safe: repeat the command"
                    )
            return fetching.result()

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of the items; a few per worker are under way at a time.

        Raises
        ------
        InputError
            As `result`; workers of another version of the project.
        """
        waiting, ahead = deque(items), deque[Any]()
        given = self.submit(_same, _Carried(function))
        while waiting or ahead:
            room = 2 * max(sum(self.look().values()), 1)
            while waiting and len(ahead) < room:
                ahead.append(self.submit(_apply, given, waiting.popleft()))
            yield self.result(ahead.popleft())

    def reduce(
        self,
        function: Callable[[Any], Any],
        combine: Callable[[Any, Any], Any],
        items: Sequence[Any],
    ) -> Any:
        """The results of all items combined on the workers, as by :func:`~.reading.engine.tree`."""
        import dask

        given = dask.delayed(_same, pure=False)(_Carried(function))
        leaf = functools.partial(dask.delayed(_apply, pure=False), given)
        whole = tree(leaf, dask.delayed(combine, pure=False), items)
        return self.result(self.client.compute(whole))


class Patience:
    """Counts the seconds of waiting since there last was a worker."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since = self._asked = time.monotonic()

    def is_over(self, anybody: bool) -> bool:
        """Whether there has been no worker for too long."""
        now = time.monotonic()
        if anybody or now - self._asked > IDLE_SECONDS:
            self._since = now
        self._asked = now
        return now - self._since > self.seconds


class _Carried:
    """A function that refuses to run on a worker with another version of the project."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.version = own_version()

    def __call__(self, item: Any) -> Any:
        require_same(self.version, analyses=True)
        return self.function(item)


def _same(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """As the result of a task, a function and the arrays in it reach each worker once, and not
    with every item; unlike scattered data it is made again if the workers that hold it are lost.
    """
    return function


def _apply(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)


@contextlib.contextmanager
def said_plainly() -> Iterator[None]:
    """Turn Dask's own failures into errors with a remedy."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        yield
    except KilledWorker as error:
        raise InputError(
            f"{error.allowed_failures + 1} workers died one after the other at the same piece of "
            f"work: out of memory, preempted or past their walltime again and again, or without "
            f"this version of the project (their output says which); stored shards are safe: give "
            f"workers more memory or time, or lower --max-crops, --batch and --shards-per-task, "
            f"and repeat the command"
        ) from error
    except FutureCancelledError as error:
        raise InputError(
            "the Dask scheduler dropped the work; stored shards are safe: repeat the command"
        ) from error
    except ImportError as error:
        raise InputError(
            f"a worker cannot import {error.name} ({error}); install the same version of the "
            f"project there"
        ) from error
    except (RuntimeError, AttributeError) as error:
        if not any(words in str(error) for words in UNREADABLE):
            raise
        raise InputError(
            "the Dask scheduler or a worker cannot read the work that it was given: this project "
            "is not installed there, or it, Python or Dask is of another version; install the "
            "same versions on every machine, start scheduler and workers again, and repeat the "
            "command"
        ) from error
