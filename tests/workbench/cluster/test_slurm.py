"""Worker jobs in a real Slurm of one node, started for these tests (scripts/slurm/cluster.sh).

Skipped where Slurm cannot be installed or started: both need root, the former Debian packages.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

import feature_store
from feature_store import InputError
from feature_store.verify import verify
from workbench.cli import main
from workbench.cluster import EngineOptions, SlurmOptions, slurm_jobs
from workbench.cluster.engine import connect
from workbench.cluster.extraction import extract_on
from workbench.extraction import ExtractRequest, extract

SCRIPT = Path(__file__).parents[3] / "scripts" / "slurm" / "cluster.sh"


def free_port():
    """A port that nobody listens at; Slurm takes it and the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return str(port)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Slurm with 4 CPUs on one node, whatever the machine has."""
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("starting Slurm's daemons needs root")
    if shutil.which("apt-get") is None and shutil.which("slurmctld") is None:
        pytest.skip("no Slurm here, and no Debian packages to install it from")
    folder = tempfile.mkdtemp(prefix="s2-slurm-", dir="/tmp")  # short: sockets have short names
    settings = {"S2_SLURM_DIR": folder, "S2_SLURM_CPUS": "4", "S2_SLURM_PORT": free_port()}
    settings["SLURM_CONF"] = f"{folder}/slurm.conf"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        try:
            for step in ("install", "start"):
                done = subprocess.run(
                    ["timeout", "300", "bash", SCRIPT, step],
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                if done.returncode == 124:  # timeout ends apt-get, too
                    pytest.skip(f"Slurm: {step} took more than 5 minutes")
                if done.returncode:
                    pytest.skip(f"Slurm: {step} failed: {done.stderr.strip().splitlines()[-1:]}")
            yield
        finally:
            subprocess.run(["bash", SCRIPT, "stop"], check=False)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch):
    """After every test, whatever its end: no job of ours is known to Slurm as alive, and no process
    of one runs."""
    monkeypatch.setattr(slurm_jobs, "SQUEUE_SECONDS", 1.0)
    yield
    deadline = time.monotonic() + 15
    while (jobs() or workers()) and time.monotonic() < deadline:  # the end takes a moment
        time.sleep(0.2)
    assert (jobs(), workers()) == ([], [])


def workers():
    """Processes that jobs of ours have started."""
    found = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [command for command in found if "distributed.cli.dask_worker" in command]


def jobs():
    """Numbers of the jobs that wait, run or are about to end."""
    found = subprocess.run(
        ["squeue", "--noheader", "--format", "%i"], capture_output=True, text=True, check=True
    )
    return found.stdout.split()


def show(job):
    """What Slurm says of a job; it forgets one a minute after its end."""
    return subprocess.run(
        ["scontrol", "show", "job", "--oneliner", job], capture_output=True, text=True, check=True
    ).stdout


def job_of(pid):
    """The job that a process belongs to."""
    told = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (job,) = (t.split(b"=")[1].decode() for t in told if t.startswith(b"SLURM_JOB_ID="))
    return job


def writers(store):
    """Processes that committed shards of a store, by their commit records."""
    records = Path(store).rglob(".commits/*.json")
    return {json.loads(record.read_text())["writer"] for record in records}


def options(tmp_path, processes=2, **changes):
    told = dict(interface="lo", memory="1GB", logs=str(tmp_path / "logs"), patience=60.0)
    return EngineOptions(
        engine="slurm", processes=processes, slurm=SlurmOptions(**(told | changes))
    )


VARIABLES = {
    "SBATCH_JOB_NAME": "mine",
    "SBATCH_TIMELIMIT": "00:07:00",
    "SBATCH_PARTITION": "nowhere",
    "SBATCH_ERROR": "/dev/null",
    "SQUEUE_STATES": "PENDING",
}
"""What a user's environment may hold: the former beat a job script, the last hides running jobs."""


def test_two_jobs_write_what_one_process_writes(request_for, tmp_path, same_store):
    extract(request_for(tmp_path / "here"))
    said = []
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
            patch.setenv(name, value)
        with connect(options(tmp_path, partition="debug"), said.append) as session:
            session.client.wait_for_workers(2, timeout=60)
            report = extract_on(session, request_for(tmp_path / "s"))
            (name,) = re.findall(r"workbench-\w{8}", said[0])
            asked = slurm_jobs.queue(name)
            told = [show(job) for job in asked]
            time.sleep(2 * slurm_jobs.SQUEUE_SECONDS)
            session.look()
    assert len(asked) == 2
    for words in (f"JobName={name} ", "TimeLimit=01:00:00 ", "Partition=debug ", f"{name}-"):
        assert all(words in text for text in told), words
    assert not any("submitting" in line for line in said)
    assert (report.computed, report.redone) == (30, 0)
    assert any(line.startswith("dashboard: http") for line in said)
    assert len(writers(tmp_path / "s") - {f"{socket.gethostname()}:{os.getpid()}"}) == 2
    same_store(tmp_path / "s", tmp_path / "here")


SCALES = ["1x", "2x", "4x"]
"""Shards of some tenths of a second: a worker is at one of them when it is lost."""


LOSSES = {
    "cancelled": lambda job, pid: subprocess.run(["scancel", job], check=True),
    "job_killed": lambda job, pid: subprocess.run(
        ["scancel", "--signal=KILL", "--full", job], check=True
    ),
    "worker_killed": lambda job, pid: os.kill(pid, signal.SIGKILL),
}
"""How a worker is lost: its job with notice and without, and the process alone, which ends its job.
"""


def freeze(pid):
    """Stop a worker that has just claimed a shard, once word of it has left."""
    time.sleep(0.05)
    os.kill(pid, signal.SIGSTOP)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_worker_is_replaced_and_its_shard_done_again(
    request_for, tmp_path, same_store, first_claim, whole, loss
):
    lost, said = [], []

    def lose():
        pid = first_claim(tmp_path / "s")
        lost.extend([job_of(pid), pid])
        if loss == "worker_killed":  # surely in the middle of its first shard
            freeze(pid)
        LOSSES[loss](*lost)

    thread = threading.Thread(target=lose)
    thread.start()
    with connect(options(tmp_path, processes=1), said.append) as session:
        report = extract_on(session, request_for(tmp_path / "s", scales=SCALES), log=said.append)
        thread.join()
        assert lost[0] not in jobs()
    assert any(lost[0] in line and "submitting as many again" in line for line in said)
    assert (report.computed, report.busy, report.stopped) == (30, 0, False)
    # 0 where Slurm's SIGTERM left time for the commit, 2 where a second shard was begun meanwhile.
    assert (loss == "worker_killed") <= report.redone <= 2
    assert writers(tmp_path / "s") - {f"{socket.gethostname()}:{lost[1]}"}
    same_store(tmp_path / "s", whole(*SCALES))


@pytest.mark.slow
def test_a_walltime_that_ends_in_the_middle_of_a_shard(
    request_for, tmp_path, same_store, first_claim, whole
):
    """A worker that hangs does not leave in time: Slurm ends its job after a minute, the shortest
    walltime that it knows."""
    hung, said = [], []

    def hang():
        hung.append(first_claim(tmp_path / "s"))
        freeze(hung[0])
        hung.append(job_of(hung[0]))

    thread = threading.Thread(target=hang)
    thread.start()
    told = options(tmp_path, 1, walltime="00:01:00", patience=120.0)
    with connect(told, said.append) as session:
        report = extract_on(session, request_for(tmp_path / "s", scales=SCALES), log=said.append)
        thread.join()
        assert "JobState=TIMEOUT " in show(hung[1])
    assert any(hung[1] in line and "submitting as many again" in line for line in said)
    assert (report.computed, report.busy, report.stopped) == (30, 0, False)
    assert 0 <= report.redone <= 2  # Slurm wakes it for its SIGTERM
    same_store(tmp_path / "s", whole(*SCALES))


def test_an_error_leaves_no_job_behind(request_for, tmp_path):
    extract(request_for(tmp_path / "s", limit=3))
    with (
        pytest.raises(InputError, match="computed differently .*dtype"),
        connect(options(tmp_path, processes=1)) as session,
    ):
        extract_on(session, request_for(tmp_path / "s", limit=3, dtype="float32"))


def test_interruption_cancels_the_jobs(request_for, images, tmp_path, first_claim):
    scales = ["1x", "2x", "4x"]
    request = request_for(tmp_path / "s", scales=scales)
    command = [
        *(sys.executable, "-m", "workbench", "extract", "--dataset", f"folder:{images}"),
        *("--model", request.models[0], "--scales", *scales, "--store", request.store),
        *("--shard-images", "2", "--engine", "slurm", "--processes", "1", "--slurm.interface"),
        *("lo", "--slurm.memory", "1GB", "--slurm.logs", str(tmp_path / "logs")),
    ]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        first_claim(tmp_path / "s")
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 1, said
    assert "stopped" in said
    assert "Traceback" not in said
    report = extract(request)
    assert (report.busy, report.stopped) == (0, False)
    assert report.computed < 30


def test_an_end_after_a_worker_was_lost_waits_for_no_other(request_for, tmp_path, first_claim):
    """Its job would be submitted again, and may wait for hours."""
    said = []

    def lose_and_end():
        pid = first_claim(tmp_path / "s")
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=lose_and_end)
    thread.start()
    with connect(options(tmp_path, processes=1), said.append) as session:
        # Shards of seconds: the worker is at its first one.
        report = extract_on(session, request_for(tmp_path / "s", scales=["10x"]), log=said.append)
    thread.join()
    assert (report.stopped, report.interrupted, report.shards) == (True, True, 0)
    assert not any("submitting" in line for line in said)


def test_sigterm_cancels_the_jobs_of_an_analysis_too(tmp_path):
    """No extraction is there to take SIGTERM; `nothing_left` looks at the jobs afterwards."""

    def terminate(seconds=30):
        end = time.monotonic() + seconds
        while len(jobs()) < 2:
            assert time.monotonic() < end
            time.sleep(0.1)
        signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), connect(options(tmp_path)):
        terminate()


def test_a_wrong_partition_is_refused_in_slurm_s_words(tmp_path, capsys):
    arguments = ["extract", "--dataset", "bundled:photos", "--model", "m", "--scales", "1x"]
    arguments += ["--store", str(tmp_path / "s"), "--engine", "slurm"]
    assert main([*arguments, "--slurm.partition", "nowhere"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "Slurm refuses the worker job: invalid partition specified: nowhere" in line


def test_jobs_that_cannot_start_are_named_with_their_reason(tmp_path):
    told = options(tmp_path, 1, patience=3.0, directives=("--hold",))
    with (
        pytest.raises(InputError, match="squeue says .*: PENDING JobHeldUser"),
        connect(told) as session,
    ):
        session.result(session.submit(os.getpid))


def test_jobs_that_sbatch_refuses_for_a_moment_are_submitted_again(tmp_path, monkeypatch):
    (tmp_path / "sbatch").write_text(
        "#!/bin/sh\n"
        f'if [ "$1" != --test-only ] && rmdir {tmp_path}/refusal 2>/dev/null; then\n'
        "    echo 'sbatch: error: Socket timed out' >&2; exit 1\n"
        "fi\n"
        f'exec {shutil.which("sbatch")} "$@"\n'
    )
    (tmp_path / "sbatch").chmod(0o755)
    (tmp_path / "refusal").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said = []
    with connect(options(tmp_path, 1), said.append) as session:
        assert session.result(session.submit(os.getpid)) != os.getpid()
    assert "sbatch refused 1 job(s) (Socket timed out); submitting as many again" in said


def test_jobs_that_end_at_once_are_not_submitted_for_ever(tmp_path):
    told = options(tmp_path, 1, setup=("echo no such module >&2", "exit 3"))
    with (
        pytest.raises(InputError, match="ended before their worker came .no such module"),
        connect(told) as session,
    ):
        session.result(session.submit(os.getpid))


@pytest.mark.slow
def test_workers_leave_before_walltime_and_others_take_over(request_for, tmp_path):
    """One minute is the shortest walltime that Slurm knows; a worker's share of it, 12 seconds at
    most, is less than half of what the work takes here."""
    request = request_for(tmp_path / "s", scales=["16x"], limit=18)
    told = options(tmp_path, 1, walltime="00:01:00", margin=52.0)
    said = []
    with connect(told, said.append) as session:
        report = extract_on(session, request, log=said.append)
    assert (report.busy, report.stopped) == (0, False)
    assert report.computed == 18
    assert report.redone <= 3  # a worker that leaves in order finishes the shard in its hands
    assert verify(feature_store.open(request.store)).problems == []
    assert any("submitting as many again" in line for line in said)


def here_and_as_options(tmp_path, monkeypatch, *, limit):
    """Extract some photos to `here`; the options for the same to `s` in a job of this checkout."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parents[2]), prepend=os.pathsep)  # this checkout
    request = ExtractRequest(
        dataset="bundled:photos",
        models=["bundled:efficientnet_lite0"],
        scales=["224"],
        store=str(tmp_path / "here"),
        limit=limit,
        shard_images=2,
    )
    extract(request)
    words = ["--dataset", request.dataset, "--model", *request.models, "--scales", *request.scales]
    words += ["--limit", str(limit), "--shard-images", "2", "--store", str(tmp_path / "s")]
    return words


def test_array_jobs_write_what_one_process_writes(tmp_path, same_store, monkeypatch):
    """prepare.sbatch and array.sbatch as they are, on a bundled model and images."""
    words = here_and_as_options(tmp_path, monkeypatch, limit=8)

    def sbatch(script, *flags):
        usual = ["--parsable", "--gres=none", "--mem=1G", "--cpus-per-task=1"]
        usual += [f"--output={tmp_path}/%x-%A_%a.log"]
        command = ["sbatch", *usual, *flags, str(SCRIPT.parent / script), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    first = sbatch("prepare.sbatch")
    assert first.returncode == 0, first.stderr
    after = [f"--dependency=afterok:{first.stdout.strip()}", "--kill-on-invalid-dep=yes"]
    array = sbatch("array.sbatch", *after, "--array=1-2", "--wait")
    logs = "\n".join(path.read_text() for path in tmp_path.glob("*.log"))
    assert array.returncode == 0, array.stderr + logs
    assert "is prepared: 4 shard(s) to compute" in logs
    assert len(writers(tmp_path / "s")) == 2
    same_store(tmp_path / "s", tmp_path / "here")


def test_a_driver_that_is_a_job_submits_jobs(tmp_path, same_store, monkeypatch):
    """dask.sbatch as it is: what Slurm tells the driver's job does not reach the workers' jobs."""
    words = here_and_as_options(tmp_path, monkeypatch, limit=4)
    words += ["--processes", "1", "--slurm.interface", "lo", "--slurm.memory", "1GB"]
    words += ["--slurm.logs", str(tmp_path / "logs")]
    command = ["sbatch", "--parsable", "--mem=1G", f"--output={tmp_path}/driver.log"]
    done = subprocess.run(
        [*command, str(SCRIPT.parent / "dask.sbatch"), *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while jobs() and time.monotonic() < deadline:
        time.sleep(0.2)
    log = (tmp_path / "driver.log").read_text()
    assert "JobState=COMPLETED " in show(done.stdout.strip()), log
    assert "1 job(s) workbench-" in log
    assert "submitting as many again" not in log
    same_store(tmp_path / "s", tmp_path / "here")
