"""Worker jobs in Slurm: checked before they are submitted, replaced when they end, cancelled."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.allocation import MALLOC
from workbench.cluster.options import THREADS, EngineOptions, SlurmOptions
from workbench.cluster.patience import Patience

LOOK = 5.0
"""Seconds between two questions to squeue."""
ANSWER = 60.0
"""Seconds in which sbatch has to say whether it would take a job."""
HOPELESS = 3
"""Jobs lost per wanted job, with no worker in between, after which the run gives up."""


def job_script(options: SlurmOptions, *, decoders: int = 0, name: str = "workbench") -> str:
    """The script of one worker job, for ``--dry-run``; the scheduler's address is a placeholder."""
    from dask_jobqueue.slurm import SLURMJob

    told = job_options(options, decoders, name)
    try:
        return SLURMJob("tcp://SCHEDULER:PORT", name="WORKER", **told).job_script()
    except ValueError as error:  # a memory that is none
        raise InputError(f"no job can be made of these Slurm options: {error}") from error


def job_options(options: SlurmOptions, decoders: int, name: str) -> dict[str, Any]:
    """What dask-jobqueue is told about each job."""
    cpus = options.cpus or (1 + decoders if options.gpu else 1)
    threads = 1 if options.gpu else cpus
    leave = options.seconds - options.leave_before
    stagger = min(options.leave_before, leave) / 2
    return {
        "job_name": name,
        "queue": options.partition,
        "account": options.account,
        "cores": 1,  # one task at a time: the model and its threads have the job for themselves
        "processes": 1,
        "job_cpu": cpus,
        "memory": options.memory or "8GB",
        "walltime": options.walltime or "01:00:00",
        "interface": options.interface,
        "python": options.python,
        "log_directory": str(Path(options.logs or "slurm-logs").absolute()),
        "death_timeout": 60,
        "worker_extra_args": [
            *(
                "--lifetime",
                f"{leave:.0f}s",
                "--lifetime-stagger",
                f"{stagger:.0f}s",
            ),
            *("--memory-limit", "0", "--no-dashboard"),  # memory: Slurm watches it
        ],
        "job_script_prologue": [
            *(f"export {name}={threads}" for name in THREADS),
            *(f"export {name}={size}" for name, size in MALLOC.items()),
            "export DASK_DISTRIBUTED__WORKER__DAEMON=False",
            "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
            *(options.setup or ()),
        ],
        "job_extra_directives": [
            *([f"--gres={options.gpu}"] if options.gpu else []),
            *(options.directives or ()),
        ],
        "config_name": "slurm",
    }


@contextmanager
def submitted(
    options: EngineOptions, say: Callable[[str], None], decoders: int = 0
) -> Iterator[tuple[Any, Callable[[dict[str, int]], None]]]:
    """Worker jobs for as long as the block runs: the cluster, and a watch that replaces lost jobs.

    Raises
    ------
    InputError
        No Slurm here, or it refuses the job: sbatch's own words.
    """
    from dask_jobqueue import SLURMCluster

    jobs, count = options.jobs, options.processes or 2
    require_slurm()
    name = f"workbench-{uuid.uuid4().hex[:8]}"
    told = job_options(jobs, decoders, name)
    check(job_script(jobs, decoders=decoders, name=name))
    cluster = None
    try:
        try:
            cluster = SLURMCluster(
                **told,
                silence_logs=logging.CRITICAL,
                scheduler_options={"dashboard_address": ":0"},
            )
        except (ValueError, RuntimeError) as error:  # an interface that this machine lacks
            raise InputError(f"Dask's scheduler cannot start here: {error}") from error
        cluster.scale(jobs=count)
        say(
            f"{count} job(s) {name} submitted, walltime {told['walltime']}, output in "
            f"{told['log_directory']}"
        )
        yield cluster, Jobs(cluster, name, count, jobs, say).watch
    finally:
        try:
            if cluster is not None:
                with contextlib.suppress(Exception):  # of jobs that were never accepted
                    cluster.close(timeout=30)
        finally:  # also jobs whose sbatch had not answered yet
            subprocess.run(["scancel", "--name", name], capture_output=True, check=False)


class Jobs:
    """The jobs of one run: what squeue says of them, and new ones for those that ended."""

    def __init__(
        self, cluster: Any, name: str, count: int, options: SlurmOptions, say: Callable[[str], None]
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.count = count
        self.options = options
        self.say = say
        self.patience = Patience(options.patience or 600)
        self._looked = time.monotonic()
        self._lost = 0

    def watch(self, workers: dict[str, int]) -> None:
        """Replace jobs that ended; give up where none can start.

        Raises
        ------
        InputError
            No worker for too long, or jobs that end before a worker comes: with what Slurm says.
        """
        if workers:
            self._lost = 0
        over = self.patience.is_over(bool(workers))
        if time.monotonic() - self._looked < LOOK and not over:
            return
        self._looked = time.monotonic()
        before = {w: job.job_id for w, job in self.cluster.workers.items() if job.job_id}
        known = queue(self.name)
        if known is None and not over:  # Slurm does not answer for a moment
            return
        ended = self._ended(before, known or {})
        self._lost += len(ended)
        if self._lost >= HOPELESS * self.count:
            raise InputError(
                f"{self._lost} jobs ended before their worker came ({self._last_words()}); see "
                f"{self.options.logs or 'slurm-logs'}, and the set-up lines with --dry-run"
            )
        if over:
            states = ", ".join(f"{job}: {state}" for job, state in (known or {}).items())
            raise InputError(
                f"no worker has been there for {self.patience.seconds:g} s; squeue says "
                f"{states or 'nothing'}. What is stored stays: repeat the command"
            )
        if ended:
            self.say(f"{len(ended)} job(s) ended ({', '.join(ended)}); submitting as many again")
        if ended or len(self.cluster.workers) < self.count:  # or sbatch had refused for a moment
            self.cluster.scale(jobs=self.count)

    def _ended(self, before: dict[Any, str], known: dict[str, str]) -> list[str]:
        """Jobs that Slurm does not list any more, of those that were submitted before it was
        asked; forgotten by the cluster."""
        gone = {worker: job for worker, job in before.items() if job not in known}
        for worker in gone:
            self.cluster.loop.add_callback(self.cluster.workers.pop, worker, None)
        return sorted(gone.values())

    def _last_words(self) -> str:
        """Last line of the latest job's output."""
        folder = Path(self.options.logs or "slurm-logs")
        files = sorted(folder.glob(f"{self.name}-*.err"), key=lambda path: path.stat().st_mtime)
        lines = files[-1].read_text(errors="replace").strip().splitlines() if files else []
        return lines[-1][:300] if lines else "they left no output"


def queue(name: str) -> dict[str, str] | None:
    """Job id to state and reason of the jobs of that name; None if squeue does not answer."""
    try:
        found = subprocess.run(
            ["squeue", "--noheader", "--name", name, "--format", "%i %T %r"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    parts = [line.split(maxsplit=1) for line in found.stdout.splitlines() if line.strip()]
    return dict(parts)


def require_slurm() -> None:
    """
    Raises
    ------
    InputError
        No ``sbatch`` in PATH.
    """
    if shutil.which("sbatch") is None:
        raise InputError(
            "there is no Slurm here (no sbatch in PATH); run this on a login node, load Slurm's "
            "module, or use --engine dask"
        )


def check(script: str) -> None:
    """Ask Slurm whether it would take the job.

    Raises
    ------
    InputError
        It would not, or does not answer: its own words.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        try:
            found = subprocess.run(
                ["sbatch", "--test-only", file.name],
                capture_output=True, text=True, check=False, timeout=ANSWER,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"Slurm has not answered `sbatch --test-only` within {ANSWER:g} s, and nothing was "
                f"submitted; see whether `sinfo` answers, and repeat the command"
            ) from error
    if found.returncode:
        words = "; ".join(re.sub(r"^sbatch: (error: )?", "", w) for w in found.stderr.splitlines())
        raise InputError(
            f"Slurm refuses the worker job: {words or 'no reason given'}. --dry-run shows the "
            f"script, `sinfo` the partitions"
        )
