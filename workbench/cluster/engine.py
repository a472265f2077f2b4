"""Start or reach the workers that the options ask for, and leave nothing behind."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from feature_store.errors import InputError
from workbench.cluster.options import EngineOptions
from workbench.cluster.session import Patience, Session
from workbench.extraction.malloc import MALLOC
from workbench.interrupts import endings_interrupt
from workbench.processors import THREADS
from workbench.results.messages import note, show


@contextmanager
def connect(
    options: EngineOptions, log: Callable[[str], None] = note, *, decoders: int = 0
) -> Iterator[Session | None]:
    """The workers that the options ask for, for as long as the block runs; None for ``local``.

    `log` receives one line of prose at a time, by default for standard error; `decoders` is the
    number of decoding processes that each worker will start. A dry run prints the job script and
    ends the program. SIGTERM and SIGHUP end the block as Ctrl-C does, so that no worker or job
    stays.

    Raises
    ------
    InputError
        Dask is not installed, the scheduler does not answer, or Slurm refuses the jobs.
    """
    if options.engine == "local":
        yield None
        return
    require_dask()
    if options.dry_run:
        from workbench.cluster.job_script import job_script

        show(job_script(options.jobs, decoders=decoders))
        raise SystemExit(0)
    import dask
    from distributed import Client

    for name in ("distributed", "distributed.client"):  # what matters is said in a line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with endings_interrupt(log), dask.config.set(dict(SETTINGS)), contextlib.ExitStack() as stack:
        if options.scheduler:
            address, watch = options.scheduler, _nobody_there(options)
        elif options.engine == "dask":
            from workbench.cluster.local_workers import start

            address, watch = stack.enter_context(start(options.processes, log))
        else:
            from workbench.cluster.slurm import submitted

            address, watch = stack.enter_context(submitted(options, log, decoders))
        try:
            client = stack.enter_context(Client(address, timeout=options.timeout))
        except (OSError, ValueError) as error:
            raise InputError(
                f"no Dask scheduler answers at {options.scheduler or 'this machine'} within "
                f"{options.timeout:g} s ({' '.join(str(error).split())[:200]}); check the address, "
                f"and that `dask scheduler` runs there"
            ) from error
        log(f"dashboard: {client.dashboard_link}")
        yield Session(client, watch)


SETTINGS: dict[str, Any] = {
    "distributed.nanny.pre-spawn-environ": {**dict.fromkeys(THREADS, 1), **MALLOC},
    "distributed.worker.daemon": False,  # a worker may start decoding processes
    "distributed.worker.memory.target": False,  # results are small; a paused worker would hang
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,  # it stops the work a hundred times a second
    "distributed.admin.tick.interval": "500ms",  # of looks whether an event loop is stuck
    "distributed.scheduler.allowed-failures": 5,  # preempted workers count as failures, too
    "distributed.deploy.lost-worker-timeout": "3650 days",  # squeue says which jobs are lost
    "distributed.comm.timeouts.connect": "20s",
    "distributed.admin.low-level-log-length": 100,  # of messages, with their tasks, per worker
    "distributed.admin.large-graph-warning-threshold": "1TB",  # arrays of an analysis go once
}
"""Dask's settings that this work needs, for schedulers and workers started here."""


def require_dask() -> None:
    """Refuse (InputError) where Dask, or its part for Slurm, is not installed."""
    try:
        import dask_jobqueue  # noqa: F401
        import distributed  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{error.name} is not installed, which engines other than local need; run "
            f"'bash scripts/setup.sh cluster' in the clone"
        ) from error


def _nobody_there(options: EngineOptions) -> Callable[[dict[str, int]], None]:
    """Gives up when a scheduler of someone else's has had no worker for a while."""
    patience = Patience(options.jobs.patience or 600)

    def watch(workers: dict[str, int]) -> None:
        if patience.is_over(bool(workers)):
            raise InputError(
                f"the scheduler at {options.scheduler} has had no worker for "
                f"{patience.seconds:g} s; start some with `dask worker {options.scheduler} "
                f"--nthreads 1`, where this version of the project is installed, and repeat the "
                f"command; the output of those that left says why"
            )

    return watch
