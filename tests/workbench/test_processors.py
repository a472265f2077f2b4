"""Cores are the least that affinity, container and Slurm allow; a user's own settings win."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from workbench import processors

AFFINITY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_without_limits_the_affinity_counts(tmp_path):
    assert processors.cores({}, tmp_path) == AFFINITY


@pytest.mark.parametrize(("quota", "expected"), [("50000 100000", 1), ("max 100000", AFFINITY)])
def test_quota_of_a_container(tmp_path, quota, expected):
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", quota)
    assert processors.cores({}, tmp_path) == expected


def test_a_quota_above_the_own_group_counts(tmp_path):
    write(tmp_path, "proc/self/cgroup", "0::/slurm/job_7\n")
    write(tmp_path, "sys/fs/cgroup/slurm/cpu.max", "100000 100000")
    write(tmp_path, "sys/fs/cgroup/slurm/job_7/cpu.max", "max 100000")
    assert processors.cores({}, tmp_path) == 1


@pytest.mark.parametrize(("quota", "expected"), [("90000", 1), ("-1", AFFINITY)])
def test_quota_of_the_first_version_of_control_groups(tmp_path, quota, expected):
    write(tmp_path, "proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n")
    write(tmp_path, "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", quota)
    write(tmp_path, "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000")
    assert processors.cores({}, tmp_path) == expected


def test_share_of_a_slurm_task(tmp_path):
    assert processors.cores({"SLURM_CPUS_PER_TASK": "1"}, tmp_path) == 1
    both = {"SLURM_CPUS_PER_TASK": "1", "SLURM_CPUS_ON_NODE": "64"}
    assert processors.cores(both, tmp_path) == 1
    assert processors.cores({"SLURM_CPUS_ON_NODE": "64(x2)"}, tmp_path) == AFFINITY


def test_settings_of_the_user_win():
    own = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "active"}
    chosen = dict(own)
    processors.share(chosen)
    assert chosen == own | {"MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    assert processors.describe(chosen)["OMP_WAIT_POLICY"] == "active"


def test_threads_and_waiting_are_chosen():
    chosen = {}
    processors.share(chosen)
    assert chosen["OMP_NUM_THREADS"] == str(processors.cores({}))
    assert chosen["GOMP_SPINCOUNT"] == str(processors.SPINS)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import workbench, workbench.cli", "None"),
        ("import sys; from workbench.__main__ import command; sys.argv[1:] = []; command()", "300"),
    ],
)
def test_only_the_command_changes_the_environment(code, expected):
    clean = {k: v for k, v in os.environ.items() if k not in processors.WAITING}
    found = subprocess.run(
        [sys.executable, "-c", f"{code}; import os; print(os.environ.get('GOMP_SPINCOUNT'))"],
        env=clean, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split()[-1] == expected


def test_a_processor_is_named_with_its_generation(tmp_path):
    lines = "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
    write(tmp_path, "proc/cpuinfo", f"processor\t: 0\n{lines}\nprocessor\t: 1\n{lines}")
    assert processors.machine(tmp_path)["processor"] == "AMD EPYC (family 25, model 17)"
    assert processors.machine(tmp_path / "elsewhere")["processor"]
