"""The script of one worker job in Slurm."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.cluster.options import SlurmOptions
from workbench.extraction.malloc import MALLOC
from workbench.processors import SPINS, THREADS, WAITING

WALLTIME = "01:00:00"
"""Default time limit of a job."""


def job_script(options: SlurmOptions, *, decoders: int = 0, name: str = "workbench") -> str:
    """The script of one worker job, for ``--dry-run``; the scheduler's address is a placeholder."""
    from dask_jobqueue.slurm import SLURMJob

    flags = job_options(options, decoders, name)
    try:
        return SLURMJob("tcp://SCHEDULER:PORT", name="WORKER", **flags).job_script()
    except ValueError as error:  # a memory that is none
        raise InputError(f"no job can be made of these Slurm options: {error}") from error


def job_options(options: SlurmOptions, decoders: int, name: str) -> dict[str, Any]:
    """Arguments of dask-jobqueue for each Slurm job."""
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
        "walltime": options.walltime or WALLTIME,
        "interface": options.interface,
        # The worker takes the place of the script's shell: Slurm's signals reach it, and none stays
        # behind where Slurm knows a job's processes by their parents.
        "python": f"exec {options.python or sys.executable}",
        "death_timeout": 60,
        "nanny": False,  # a worker started anew in its job would count its lifetime from then on
        "worker_extra_args": [
            *("--lifetime", f"{leave:.0f}s", "--lifetime-stagger", f"{stagger:.0f}s"),
            *("--memory-limit", "0", "--no-dashboard"),  # memory: Slurm watches it
        ],
        "job_script_prologue": [
            *(f"export {name}={threads}" for name in THREADS),
            *(f"export {name}={size}" for name, size in MALLOC.items()),
            f'[ -n "{"".join(f"${{{name}:-}}" for name in WAITING)}" ] || '
            f"export GOMP_SPINCOUNT={SPINS}",
            "export DASK_DISTRIBUTED__WORKER__DAEMON=False",
            "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
            "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False",
            *(options.setup or ()),
        ],
        "job_extra_directives": [  # dask-jobqueue's log_directory would be made by a dry run, too
            f"--error={log_folder(options)}/{name}-%J.err",
            f"--output={log_folder(options)}/{name}-%J.out",
            *([f"--gres={options.gpu}"] if options.gpu else []),
            *(options.directives or ()),
        ],
        "config_name": "slurm",
    }


def submit_flags(options: SlurmOptions, name: str) -> list[str]:
    """Flags of sbatch that repeat options of the script: variables such as ``SBATCH_TIMELIMIT`` in
    the environment override a script, but not flags."""
    logs = log_folder(options)
    flags = {
        "job-name": name,
        "time": options.walltime or WALLTIME,
        "partition": options.partition,
        "account": options.account,
        "gres": options.gpu,
        "error": f"{logs}/{name}-%J.err",
        "output": f"{logs}/{name}-%J.out",
    }
    return [f"--{flag}={value}" for flag, value in flags.items() if value]


def log_folder(options: SlurmOptions) -> str:
    """Absolute path of the folder of the jobs' output."""
    return str(Path(options.logs or "slurm-logs").absolute())
