"""The jobs of one run: their state in squeue, and replacements for jobs that ended."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.cluster.job_script import log_folder
from workbench.cluster.options import SlurmOptions
from workbench.cluster.session import Patience

SQUEUE_SECONDS = 5.0
"""Seconds between two questions to squeue."""
MOST_ENDED = 3
"""Jobs in a row that may end before their worker comes; then their place stays empty."""
MOST_REFUSED = 6
"""Times in a row that sbatch may refuse a job; then its place stays empty. Pauses double: in all
some 80 seconds, the time of a restart of Slurm's controller."""

REMINDER_SECONDS = 600.0
"""Seconds between two lines that say that all jobs still wait in the queue."""
QUEUEING = re.compile(
    r"Resources|Priority|BeginTime|Dependency|Licenses|Reservation"
    r"|(QOS|Assoc)(?!\w*(PerJob|PerNode|NotAllowed|NotSatisfied))\w+"
)
"""Reasons for which a job waits its turn. Reasons that time alone does not resolve are left out: a
job that is held or asks for more than one job may have, a partition that is down."""


class Jobs:
    """As many jobs as were asked for, each with a place that is filled again when its job ends.

    A place stays empty once too many of its jobs in a row were refused or had no worker: a broken
    node takes and ends jobs faster than any other. The other places keep running.
    """

    def __init__(
        self, cluster: Any, name: str, count: int, options: SlurmOptions, log: Callable[[str], None]
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.count = count
        self.logs = log_folder(options)
        self.log = log
        self.patience = Patience(options.patience or 600)
        self._looked = self._said = time.monotonic()
        self._queueing = False
        """Whether all jobs waited their turn when squeue was last asked."""
        self._came: set[str] = set()
        """Numbers of jobs whose worker has been there."""
        self._failures: Counter[Any] = Counter()
        """Place to the number of its last jobs, in a row, that brought no worker."""
        self._due: dict[Any, float] = {}
        """Place to when another job is submitted for it."""
        self._given_up: dict[Any, str] = {}
        """Place that stays empty to why."""

    def watch(self, workers: dict[str, int]) -> None:
        """Replace jobs that ended or were refused; give up where none can start. The time for
        which all jobs wait their turn in the queue does not count.

        Raises
        ------
        InputError
            No worker for too long, or no place is left: with what Slurm says.
        """
        jobs = dict(list(self.cluster.workers.items()))  # Dask's thread may change it
        self._note_who_came(jobs)
        over = self.patience.is_over(bool(workers) or self._queueing)
        now = time.monotonic()
        if now - self._looked < SQUEUE_SECONDS and not over:
            return
        self._looked = now
        known = queue(self.name)
        self._queueing = queueing(known or {})
        states = ", ".join(f"{job}: {state}" for job, state in (known or {}).items())
        if over and not self._queueing:
            raise InputError(
                f"no worker has been there for {self.patience.seconds:g} s; squeue says "
                f"{states or 'nothing'}. Stored shards are safe: repeat the command"
            )
        if workers or not self._queueing:
            self._said = now
        elif now - self._said >= REMINDER_SECONDS:
            self._said = now
            self.log(f"still waiting in the queue, where squeue says {states}")
        if known is None:  # Slurm does not answer for a moment
            return
        places = [place for place in jobs if place not in self._due | self._given_up]
        self._take_ended({p: jobs[p].job_id for p in places if jobs[p].job_id}, known)
        self._take_refused({p: jobs[p].refusal for p in places if not jobs[p].job_id})
        if len(self._given_up) == self.count and not workers:
            raise InputError(self._hopeless())
        self._submit_due()

    def _note_who_came(self, jobs: dict[Any, Any]) -> None:
        """Dask's name of a worker is that of its job's place."""
        present = list(self.cluster.scheduler_info["workers"].values())
        for place in {worker["name"] for worker in present} & jobs.keys():
            self._came.add(jobs[place].job_id)
            self._failures[place] = 0

    def _take_ended(self, jobs: dict[Any, str], known: dict[str, str]) -> None:
        """Jobs (place to number) that Slurm does not list any more, of those that were submitted
        before it was asked."""
        ended = {place: job for place, job in jobs.items() if job not in known}
        if not ended:
            return
        lost = [place for place, job in ended.items() if job not in self._came]
        self._failures.update(lost)
        words = f"ended before their worker came ({self._last_words()})" if lost else ""
        hopeless = {place: words for place in lost if self._failures[place] >= MOST_ENDED}
        self._plan(ended, hopeless)
        numbers = sorted(job for place, job in ended.items() if place not in hopeless)
        if numbers:
            listed = ", ".join(numbers)
            self.log(f"{len(numbers)} job(s) ended ({listed}); submitting as many again")

    def _take_refused(self, refusals: dict[Any, str]) -> None:
        """Jobs (place to sbatch's words) that Slurm did not take."""
        if not refusals:
            return
        self._failures.update(refusals.keys())
        hopeless = {
            place: f"were refused ({words})"
            for place, words in refusals.items()
            if self._failures[place] >= MOST_REFUSED
        }
        self._plan(refusals, hopeless)
        words = sorted({words for place, words in refusals.items() if place not in hopeless})
        if words:
            self.log(
                f"sbatch refused {len(refusals) - len(hopeless)} job(s) ({'; '.join(words)}); "
                f"submitting as many again"
            )

    def _plan(self, places: dict[Any, str], hopeless: dict[Any, str]) -> None:
        """When places are filled again: at once, later with every failure, or not at all."""
        now = time.monotonic()
        for place in places:
            again = self._failures[place]
            self._due[place] = now + (SQUEUE_SECONDS * 2 ** (again - 2) if again > 1 else 0)
        for place in hopeless:
            del self._due[place]
        self._given_up |= hopeless
        rest = self.count - len(self._given_up)
        if hopeless and rest:
            self.log(
                f"{len(hopeless)} job(s) are not submitted again: their last ones "
                f"{'; '.join(sorted(set(hopeless.values())))}, see {self._files()}; continuing "
                f"with {rest} job(s)"
            )

    def _submit_due(self) -> None:
        """Forget the jobs of places that are due, so that the cluster submits new ones; also for
        places that it has none for, as Dask may delete a place or its job."""
        due = [place for place, when in self._due.items() if when <= time.monotonic()]
        for place in due:
            del self._due[place]
            self.cluster.loop.add_callback(self.cluster.workers.pop, place, None)
        places = set(self.cluster.worker_spec)
        empty = places - set(self.cluster.workers) - self._given_up.keys()
        if due or empty or len(places) < self.count:  # asked once more, Dask submits nothing twice
            self.cluster.scale(jobs=self.count)

    def _hopeless(self) -> str:
        """Why the run ends: no place is left."""
        jobs = sum(self._failures[place] for place in self._given_up)
        return (
            f"{jobs} jobs {'; '.join(sorted(set(self._given_up.values())))}, and no worker is "
            f"left; see {self._files()}, and the set-up lines with --dry-run. What is stored "
            f"stays: repeat the command"
        )

    def _files(self) -> str:
        return f"{self.logs}/{self.name}-*.err"

    def _last_words(self) -> str:
        """Last line of the latest job's output."""
        found = Path(self.logs).glob(f"{self.name}-*.err")
        files = sorted(found, key=lambda path: path.stat().st_mtime)
        lines = files[-1].read_text(errors="replace").strip().splitlines() if files else []
        return lines[-1][:300] if lines else "they left no output"


def queueing(known: dict[str, str]) -> bool:
    """Whether all jobs (number to state and reason) wait their turn, ignoring jobs that end.

    Examples
    --------
    >>> queueing({"1": "PENDING Priority", "2": "PENDING QOSGrpCpuLimit", "3": "COMPLETING None"})
    True
    >>> queueing({"1": "PENDING Priority", "2": "RUNNING None"})
    False
    >>> queueing({"1": "PENDING JobHeldUser"}), queueing({"1": "PENDING QOSMaxCpuPerJobLimit"})
    (False, False)
    """
    told = [words.partition(" ") for words in known.values()]
    alive = [one for one in told if one[0] in ("PENDING", "CONFIGURING", "RUNNING")]
    return bool(alive) and all(
        state == "PENDING" and QUEUEING.fullmatch(reason) for state, _, reason in alive
    )


def queue(name: str) -> dict[str, str] | None:
    """Job id to state and reason of the jobs of that name; None if squeue does not answer."""
    try:
        found = subprocess.run(
            ["squeue", "--noheader", "--name", name, "--format", "%i %T %r"],
            env=without("SQUEUE_"), capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    parts = [line.split(maxsplit=1) for line in found.stdout.splitlines() if line.strip()]
    return dict(parts)


def without(prefix: str) -> dict[str, str]:
    """This environment without a Slurm command's own variables, which would narrow what it does."""
    return {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
