"""Tasks of a worker process: it keeps its loaded models and computes shard after shard.

Nothing large goes through the scheduler: a task receives shard numbers and returns a small
record; models are loaded, images read and features written by the worker. A scheduler imports this
module and the arguments of tasks, so neither may import torch.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from feature_store.errors import InputError
from workbench.cluster.version import UNKNOWN, Version, own_name, own_version, require_same

if TYPE_CHECKING:
    from workbench.extraction.run import Extraction

TOPIC = "workbench"
"""Dask event topic of the workers' messages: their names, and the shards that they begin."""


@dataclass(frozen=True)
class Ticket:
    """One extraction: arguments of its tasks."""

    options: dict[str, Any]
    """Fields of an :class:`workbench.extraction.ExtractRequest`."""
    token: str
    """Random, one for each extraction: a worker that outlives one starts the next afresh."""
    folder: str
    """Where relative paths of the request begin."""
    command: str = ""
    """Random, one for each command: its extractions (of views) share the loaded models. A later
    command loads them afresh: its weights may be others under the same path."""
    version: Version = field(default_factory=own_version)
    """Version of the process that makes the ticket; workers must run the same."""


@dataclass(frozen=True)
class Prepared:
    """The store after its sources were created or checked."""

    sources: list[str] = field(default_factory=list)
    """Full names of the single-scale sources."""
    missing: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Shard to images that it lacks, and to sources that lack it."""
    notes: list[str] = field(default_factory=list)
    """Notes that an extraction would print."""
    error: str = ""
    """Why nothing can be done, for the user; empty if all is well."""


@dataclass(frozen=True)
class Done:
    """Result of a worker on some shards."""

    shards: tuple[int, ...]
    """Shards that were given."""
    computed: frozenset[int] = frozenset()
    """Shards that this worker committed for some source; excludes shards that were already done,
    by a worker that was lost since or by another process."""
    crops: int = 0
    """Crops that ``--select`` ran."""
    busy: dict[int, str] = field(default_factory=dict)
    """Shard to the process (``host:pid``) that holds it."""
    error: str = ""
    """Why it cannot be done, for the user; empty if all is well."""


ONCE = {"recheck": False, "retry_failed": False, "redo_changed": False, "accept_code": False}
"""Options that only the first worker acts upon."""

_loaded: tuple[Ticket, Extraction] | None = None
_one_at_a_time = threading.Lock()


def prepare(ticket: Ticket) -> Prepared:
    """Create the store and its sources, or check them; say what is missing."""
    notes: list[str] = []
    try:
        with _one_at_a_time:
            run = _run_of(ticket, notes, first=True)
        missing = {
            shard: (len(rows), sum(not writer.is_done(shard) for writer in run.writers.values()))
            for shard, rows in run.missing().items()
        }
        sources = [str(source) for job in run.jobs for source in job.plans]
    except InputError as error:
        return Prepared(notes=notes, error=str(error))
    return Prepared(sources, missing, notes)


def compute(ticket: Ticket, shards: tuple[int, ...]) -> Done:
    """Compute and commit what is missing of the shards.

    An error that the user can do something about is part of the answer: raised, Dask would log it
    with a traceback on every worker.
    """
    from workbench.extraction.local import writing

    _tell({"token": ticket.token, "begins": shards})
    try:
        with _one_at_a_time:  # a worker with several threads has one model all the same
            run = _run_of(ticket, [], first=False)
            with writing(run):
                run.execute(shards, progress=False)
            done = frozenset(run.committed), run.report.crops, dict(run.busy)
    except InputError as error:
        return Done(shards, error=str(error))
    return Done(shards, *done)


def _run_of(ticket: Ticket, notes: list[str], *, first: bool) -> Extraction:
    """The ticket's run with its models, loaded once in this process.

    Raises
    ------
    InputError
        This worker runs another version of the project or may not start decoding processes, or
        the request is wrong.
    """
    global _loaded
    require_same(getattr(ticket, "version", UNKNOWN))
    if _loaded is None or _loaded[0].token != ticket.token:
        same = _loaded is not None and ticket.command and _loaded[0].command == ticket.command
        models = _loaded[1].loaded if _loaded is not None and same else None
        _loaded = None  # before the next one takes its place in memory
        from workbench.extraction import ExtractRequest
        from workbench.extraction.local import open_extraction

        enter(ticket.folder)
        require_children(ticket.options["workers"])
        # The first worker re-reads, withdraws and looks at the images for all.
        request = ExtractRequest(**(ticket.options if first else ticket.options | ONCE))
        run = open_extraction(request, notes.append, models, check_images=first)
        _loaded = (ticket, run)
        _loaded[1].log = lambda line: None
    return _loaded[1]


def require_children(decoders: int) -> None:
    """Refuse (InputError) decoding processes where this worker may not start any."""
    if decoders and multiprocessing.current_process().daemon:
        raise InputError(
            f"worker {own_name()} cannot start {decoders} decoding process(es), because Dask "
            f"started it as a daemon; set DASK_DISTRIBUTED__WORKER__DAEMON=False where the workers "
            f"are started, or use --workers 0"
        )


def enter(folder: str) -> None:
    """Enter the folder in which the run was started, so that relative paths keep their meaning.

    Raises
    ------
    InputError
        The folder is not there: this machine does not share the file system.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise InputError(
            f"worker {own_name()} cannot enter {folder} ({error.strerror}); workers need the file "
            f"system that the run was started on"
        ) from error


def _tell(what: dict) -> None:
    """Log an event with who says it; it reaches the driver even if this worker then dies."""
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(TOPIC, {"name": own_name(), "address": worker.address, **what})
