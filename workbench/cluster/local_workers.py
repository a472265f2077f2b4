"""A Dask scheduler and workers on this machine: one process per GPU, or per CPU core."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from feature_store.errors import InputError
from workbench.cluster.session import Patience


@contextmanager
def start(
    processes: int | None, log: Callable[[str], None]
) -> Iterator[tuple[Any, Callable[[dict[str, int]], None]]]:
    """Workers with one thread each; the cluster, and a watch that says if none ever comes.

    By default as many as there are GPUs, or CPU cores that this process may use: a container, a job
    or ``taskset`` may leave it fewer than the machine has. With GPUs every process sees one of
    them, through ``CUDA_VISIBLE_DEVICES``; processes beyond the number of GPUs share. A worker
    process that dies is started again by its nanny.
    """
    from dask.system import CPU_COUNT
    from distributed import Nanny, Scheduler, SpecCluster

    devices = visible_gpus()
    count = processes or len(devices) or CPU_COUNT
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": 0,
                "silence_logs": logging.CRITICAL,
                "dashboard": False,
                "preload": ["workbench.interrupts"],
                "env": {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {},
            },
        }
        for number in range(count)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"dashboard": True, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"},
    }
    cluster = SpecCluster(
        workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL, name="workbench"
    )
    patience = Patience(120)

    def watch(present: dict[str, int]) -> None:
        if patience.is_over(bool(present)):
            raise InputError(
                f"none of {count} worker processes has been there for {patience.seconds:g} s; "
                f"--engine local shows what is wrong"
            )

    with cluster:
        kind = f"one GPU each of {', '.join(devices)}" if devices else "CPU"
        log(f"{count} worker process(es) on this machine, {kind}")
        yield cluster, watch


def visible_gpus() -> list[str]:
    """Names of this machine's GPUs as ``CUDA_VISIBLE_DEVICES`` takes them; found without CUDA.

    A process that has initialised CUDA holds memory on a GPU that the workers need, so torch is
    asked in a way that does not.
    """
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return named[:count] if any(named) else [str(k) for k in range(count)]
