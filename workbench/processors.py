"""Processor cores that this process may use, and how threads share them with other programs.

Threads of one operator wait for each other at its end. GNU OpenMP lets them spin meanwhile, by
default for milliseconds, on cores that another program could use: beside a busy one, most of the
time goes into spinning. Alone the long spin is a few per cent faster at most, and another program
may begin at any time, so threads spin briefly (``scripts/benchmarks/busy_machine.py`` has the
figures). The forward passes of an extraction on a CPU do not wait at all
(:mod:`workbench.multiscale.streams`).

OpenMP reads its environment once, when torch is first imported. The ``workbench`` command therefore
calls :func:`share` before anything else; importing this package changes nothing.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import MutableMapping
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables from which the arithmetic libraries read their number of threads."""
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Variables that decide how long a thread spins before it sleeps."""
SPINS = 300
"""Rounds that a waiting thread spins before it sleeps: a few microseconds."""
SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
"""Cores that Slurm has given to this task; the first that is set counts."""


def share(environment: MutableMapping[str, str] = os.environ) -> None:
    """Choose threads and waiting for this process and its children; a user's own setting wins."""
    for name in THREADS:
        environment.setdefault(name, environment.get("OMP_NUM_THREADS", str(cores(environment))))
    if not any(name in environment for name in WAITING):
        environment["GOMP_SPINCOUNT"] = str(SPINS)


def describe(environment: MutableMapping[str, str] = os.environ) -> dict[str, str | int]:
    """Cores, and the settings of threads and waiting that are in force.

    Examples
    --------
    >>> describe({"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"})     # doctest: +SKIP
    {'cores': 2, 'OMP_NUM_THREADS': '1', 'OMP_WAIT_POLICY': 'passive'}
    """
    named = {name: environment[name] for name in (*THREADS, *WAITING) if name in environment}
    return {"cores": cores(environment), **named}


def machine(root: Path = Path("/")) -> dict[str, int | str]:
    """Cores and processor of this machine, as every measurement names them.

    Virtual machines often name no more than the maker of the processor; family and model number
    tell its generation.
    """
    try:
        text = (root / "proc/cpuinfo").read_text("utf-8")
    except OSError:  # macOS
        text = ""
    pairs = (line.partition(":") for line in reversed(text.splitlines()))
    known = {name.strip(): value.strip() for name, _, value in pairs}
    name = known.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in known:
        name += f" (family {known['cpu family']}, model {known['model']})"
    return {"cores": os.cpu_count() or 1, "processor": name}


def cores(environment: MutableMapping[str, str] = os.environ, root: Path = Path("/")) -> int:
    """Cores that this process may use: the least of affinity, container's quota and Slurm's share.

    Slurm's variables are read from `environment`, quotas from ``proc`` and ``sys`` in `root`.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    given = [text for name in SLURM if (text := environment.get(name, "")).isdecimal()]
    limits = [affinity or 1, *_quotas(root), *map(int, given[:1])]
    return max(1, min(limits))


def _quotas(root: Path) -> list[int]:
    """Cores that the control groups of this process allow, rounded up; from both versions."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for number, controllers, path in (line.split(":", 2) for line in groups):
        if number == "0":  # version 2: one hierarchy, the quota may lie in any group above
            mount, names = root / "sys/fs/cgroup", ["cpu.max"]
        elif "cpu" in controllers.split(","):
            mount, names = root / "sys/fs/cgroup/cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        group = mount / path.strip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(mount):
                break
            found += _quota([folder / name for name in names])
    return found


def _quota(files: list[Path]) -> list[int]:
    """Quota over period, rounded up; nothing if there is no limit."""
    try:
        quota, period = (int(word) for path in files for word in path.read_text().split())
    except (OSError, ValueError):  # no such file, or the word "max"
        return []
    return [math.ceil(quota / period)] if quota > 0 and period > 0 else []
