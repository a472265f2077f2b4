"""Which jobs are submitted again, and when a run gives up: on a cluster that is only told."""

from __future__ import annotations

import re
import types

import pytest

from feature_store import InputError
from workbench.cluster import SlurmOptions, slurm, slurm_jobs
from workbench.cluster.slurm import slurm_words
from workbench.cluster.slurm_jobs import Jobs


class Told:
    """What `Jobs` uses of a Dask cluster; every submission takes the next line of a script."""

    def __init__(self, script):
        self.script = iter(script)
        self.workers = {}
        self.worker_spec = {}
        self.scheduler_info = {"workers": {}}
        self.loop = types.SimpleNamespace(add_callback=lambda call, *given: call(*given))
        self.submissions = 0

    def scale(self, jobs):
        while len(self.worker_spec) < jobs:
            self.worker_spec[max(self.worker_spec, default=-1) + 1] = {}
        for place in self.worker_spec:
            if place not in self.workers:
                self.submissions += 1
                number, refusal = next(self.script)
                self.workers[place] = types.SimpleNamespace(job_id=number, refusal=refusal)


@pytest.fixture
def watched(monkeypatch, tmp_path):
    """Jobs of a told cluster, the lines that they say, and one look a second of a told clock."""
    clock = [0.0]
    monkeypatch.setattr(slurm_jobs.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(slurm_jobs, "SQUEUE_SECONDS", 1.0)

    def make(script, count, listed, state="RUNNING None"):
        said = []
        cluster = Told(script)
        jobs = Jobs(cluster, "w", count, SlurmOptions(logs=str(tmp_path)), said.append)
        monkeypatch.setattr(slurm_jobs, "queue", lambda name: dict.fromkeys(listed, state))
        cluster.scale(count)

        def look(workers, seconds):
            for _ in range(seconds):
                clock[0] += 1.0
                jobs.watch(workers)

        return cluster, said, look

    return make


REFUSED = (None, "Socket timed out")


def test_refused_jobs_are_submitted_again(watched):
    cluster, said, look = watched([REFUSED, REFUSED, REFUSED, ("7", "")], 1, ["7"])
    look({}, 20)
    assert cluster.workers[0].job_id == "7"
    assert cluster.submissions == 4
    assert said == ["sbatch refused 1 job(s) (Socket timed out); submitting as many again"] * 3


def test_a_refusal_for_ever_ends_the_run(watched):
    cluster, _, look = watched([REFUSED] * 99, 2, [])
    with pytest.raises(InputError, match=r"12 jobs were refused \(Socket timed out\), and no wor"):
        look({}, 100)
    assert cluster.submissions == 12


def test_one_refused_for_ever_does_not_end_the_other(watched):
    cluster, said, look = watched([("1", ""), *[REFUSED] * 99], 2, ["1"])
    look({"tcp://a": 1}, 200)
    assert cluster.submissions == 7
    assert "1 job(s) are not submitted again: their last ones were refused" in said[-1]
    assert said[-1].endswith("continuing with 1 job(s)")


def test_jobs_without_a_worker_are_bounded_though_another_works(watched):
    """A broken node ends jobs at once as long as it is given some."""
    script = [("1", ""), *((str(k), "") for k in range(2, 99))]
    cluster, said, look = watched(script, 2, ["1"])
    cluster.scheduler_info["workers"]["tcp://a"] = {"name": 0}
    look({"tcp://a": 1}, 200)
    assert cluster.submissions == 1 + slurm_jobs.MOST_ENDED
    assert "ended before their worker came (they left no output), see " in said[-1]
    assert "w-*.err; continuing with 1 job(s)" in said[-1]


def test_jobs_whose_worker_came_are_replaced_for_ever(watched):
    cluster, said, look = watched([(str(k), "") for k in range(99)], 1, [])
    cluster.scheduler_info["workers"]["tcp://a"] = {"name": 0}
    look({"tcp://a": 1}, 50)
    assert cluster.submissions > 20
    assert all("submitting as many again" in line for line in said)


@pytest.mark.parametrize("forgotten", ["job", "place"])
def test_places_that_dask_forgets_are_filled_again(watched, forgotten):
    cluster, _, look = watched([("1", ""), ("2", ""), ("3", "")], 2, ["1", "2", "3"])
    del cluster.workers[0]
    if forgotten == "place":
        del cluster.worker_spec[0]
    look({}, 3)
    assert sorted(job.job_id for job in cluster.workers.values()) == ["2", "3"]
    assert len(cluster.worker_spec) == 2


@pytest.mark.parametrize("reason", ["Priority", "Resources", "BeginTime", "AssocGrpCpuLimit"])
def test_time_in_the_queue_is_no_fault_and_is_said_now_and_then(watched, reason):
    _, said, look = watched([("1", "")], 1, ["1"], f"PENDING {reason}")
    look({}, 1900)
    assert said == [f"still waiting in the queue, where squeue says 1: PENDING {reason}"] * 3


@pytest.mark.parametrize("state", ["RUNNING None", "PENDING JobHeldUser", "PENDING PartitionDown"])
def test_jobs_that_bring_no_worker_or_cannot_start_end_the_run(watched, state):
    _, _, look = watched([("1", "")], 1, ["1"], state)
    look({}, 590)
    with pytest.raises(InputError, match=f"no worker .* 600 s; squeue says 1: {state}. Stored"):
        look({}, 20)


def test_patience_begins_where_the_queue_ends(watched, monkeypatch):
    _, _, look = watched([("1", "")], 1, ["1"], "PENDING Priority")
    look({}, 900)
    monkeypatch.setattr(slurm_jobs, "queue", lambda name: {"1": "RUNNING None"})
    look({}, 590)
    with pytest.raises(InputError, match="squeue says 1: RUNNING"):
        look({}, 20)


def program(folder, name, lines):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("scancel", "squeue", "line"),
    [
        ("exit 0", "echo 3 RUNNING None", None),
        ("exit 1", "true", None),  # nothing is left to be cancelled
        ("exec sleep 60", "echo 3 RUNNING None", "no answer within 0.3 s.: job.s. 3 may remain"),
        ("echo scancel: error: down >&2; exit 1", "exit 1", "down.: job.s. 1, 2 may remain"),
    ],
)
def test_jobs_that_may_remain_are_named(tmp_path, monkeypatch, scancel, squeue, line):
    program(tmp_path, "scancel", scancel)
    program(tmp_path, "squeue", squeue)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "REPLY_SECONDS", 0.3)
    said = []
    slurm.cancel("w", ["1", "2"], said.append)
    assert len(said) == (line is not None)
    if line:
        assert re.search(line, said[0])
        assert "scancel --name w" in said[0]


def test_slurm_words_are_found_in_what_dask_jobqueue_says():
    text = "Command exited\nExit code: 1\nCommand:\nsbatch /tmp/a.sh\nstderr:\n"
    assert slurm_words(f"{text}sbatch: error: too many jobs\n") == "too many jobs"
    assert slurm_words("") == "no reason given"
