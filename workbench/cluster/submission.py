"""One sbatch: a job of dask-jobqueue's that remembers why Slurm did not take it."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Sequence
from typing import Any

ANSWER = 60.0
"""Seconds in which sbatch or scancel has to answer."""


def job_class(flags: Sequence[str] = ()) -> Any:
    """A Slurm job, submitted with these flags, that remembers in ``refusal`` why sbatch did not
    take it; empty where it did.

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
                await asyncio.wait_for(super().start(), ANSWER)
            except TimeoutError:
                self.refusal = f"no answer within {ANSWER:g} s"
            except (RuntimeError, ValueError, OSError) as error:
                self.refusal = slurm_words(str(error))
            if self.refusal:
                self.job_id = None
                self.status = Status.running

    return Submission


def slurm_words(text: str) -> str:
    """What a Slurm command said, in one line.

    Examples
    --------
    >>> slurm_words("Exit code: 1\\nsbatch: error: invalid partition\\nsbatch: no job")
    'invalid partition; no job'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if re.match(r"(sbatch|scancel): ", line)] or lines
    words = [re.sub(r"^(sbatch|scancel): (error: )?", "", line) for line in own]
    return "; ".join(words)[:500] or "no reason given"
