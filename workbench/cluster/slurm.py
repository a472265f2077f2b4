"""Worker jobs in Slurm: checked before they are submitted, replaced when they end, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import shlex
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.cluster.job_script import job_options, job_script, log_folder, submit_flags
from workbench.cluster.options import EngineOptions
from workbench.cluster.slurm_jobs import Jobs, queue, without
from workbench.interrupts import tell

REPLY_SECONDS = 60.0
"""Seconds within which sbatch or scancel must answer."""


@contextmanager
def submitted(
    options: EngineOptions, log: Callable[[str], None], decoders: int = 0
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
    options_of_job = job_options(jobs, decoders, name)
    flags = submit_flags(jobs, name)
    check(job_script(jobs, decoders=decoders, name=name), flags)
    Path(log_folder(jobs)).mkdir(parents=True, exist_ok=True)
    cluster = None
    try:
        try:
            cluster = SLURMCluster(
                **options_of_job,
                job_cls=job_class(flags),
                silence_logs=logging.CRITICAL,
                scheduler_options={"dashboard_address": ":0"},
            )
        except (ValueError, RuntimeError) as error:  # an interface that this machine lacks
            raise InputError(f"Dask's scheduler cannot start here: {error}") from error
        cluster.scale(jobs=count)
        log(
            f"{count} job(s) {name} submitted, walltime {options_of_job['walltime']}, output in "
            f"{log_folder(jobs)}"
        )
        yield cluster, Jobs(cluster, name, count, jobs, log).watch
    finally:
        held = [] if cluster is None else [job.job_id for job in list(cluster.workers.values())]
        try:
            if cluster is not None:
                with contextlib.suppress(Exception):  # of jobs that were never accepted
                    cluster.close(timeout=30)
        finally:  # also jobs whose sbatch had not answered yet
            cancel(name, [job for job in held if job], log)


def require_slurm() -> None:
    """Refuse (InputError) a machine without ``sbatch`` in PATH."""
    if shutil.which("sbatch") is None:
        raise InputError(
            "there is no Slurm here (no sbatch in PATH); run this on a login node, load Slurm's "
            "module, or use --engine dask"
        )


def check(script: str, flags: Sequence[str] = ()) -> None:
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
                ["sbatch", "--test-only", *flags, file.name],
                capture_output=True, text=True, check=False, timeout=REPLY_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"Slurm has not answered `sbatch --test-only` within {REPLY_SECONDS:g} s, so "
                f"nothing was submitted; check that `sinfo` answers, and repeat the command"
            ) from error
    if found.returncode:
        raise InputError(
            f"Slurm refuses the worker job: {slurm_words(found.stderr)}. --dry-run shows the "
            f"script, `sinfo` the partitions"
        )


def cancel(name: str, held: Sequence[str], log: Callable[[str], None]) -> None:
    """Cancel every job of that name; if Slurm fails to, log which jobs may remain.

    `held` are the jobs' numbers as far as they are known here, for a squeue that does not answer.
    """
    try:
        done = subprocess.run(
            ["scancel", "--name", name],
            env=without("SCANCEL_"), capture_output=True, text=True, check=False,
            timeout=REPLY_SECONDS,
        )  # fmt: skip
        if not done.returncode:
            return
        words = slurm_words(done.stderr)
    except subprocess.TimeoutExpired:
        words = f"no answer within {REPLY_SECONDS:g} s"
    except OSError as error:
        words = str(error)
    known = queue(name)
    left = held if known is None else list(known)
    if left:
        tell(
            log,
            f"scancel failed ({words}): job(s) {', '.join(left)} may remain; cancel them with "
            f"`scancel --name {name}`",
        )


def job_class(flags: Sequence[str] = ()) -> Any:
    """A Slurm job, submitted with these flags, whose ``refusal`` is sbatch's reason for refusing
    it; empty if sbatch accepted it.

    Dask would log a refusal with its traceback and never try again; here the job counts as started,
    without a number, and :class:`workbench.cluster.slurm_jobs.Jobs` submits another one.
    """
    from dask_jobqueue.slurm import SLURMJob
    from distributed.core import Status

    class Submission(SLURMJob):
        submit_command = shlex.join(["sbatch", *flags])
        refusal = ""

        async def start(self) -> None:
            try:
                await asyncio.wait_for(super().start(), REPLY_SECONDS)
            except TimeoutError:
                self.refusal = f"no answer within {REPLY_SECONDS:g} s"
            except (RuntimeError, ValueError, OSError) as error:
                self.refusal = slurm_words(str(error))
            if self.refusal:
                self.job_id = None
                self.status = Status.running

    return Submission


def slurm_words(text: str) -> str:
    """The output of a Slurm command, in one line.

    Examples
    --------
    >>> slurm_words("Exit code: 1\\nsbatch: error: invalid partition\\nsbatch: no job")
    'invalid partition; no job'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if re.match(r"(sbatch|scancel): ", line)] or lines
    words = [re.sub(r"^(sbatch|scancel): (error: )?", "", line) for line in own]
    return "; ".join(words)[:500] or "no reason given"
