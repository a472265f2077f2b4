"""Extraction and analyses on Dask workers of this machine."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import operator
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
import types
from concurrent.futures import Future
from dataclasses import asdict, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import feature_store
from analyses import few_shot, reconstruction, similarity
from analyses.reading import partition
from feature_store import InputError, protocol
from feature_store.claims import Claim
from feature_store.verify import verify
from workbench.cli import main
from workbench.cluster import EngineOptions, extraction, tasks
from workbench.cluster.engine import connect
from workbench.cluster.extraction import extract_on
from workbench.cluster.session import Session, said_plainly
from workbench.cluster.version import own_version
from workbench.commands.extract import summary
from workbench.extraction import extract, loaded_models
from workbench.extraction.local import open_extraction
from workbench.extraction.request import ShardPart

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def session():
    with connect(EngineOptions(engine="dask", processes=2)) as found:
        yield found


def test_two_workers_write_what_one_process_writes(session, request_for, tmp_path, same_store):
    here = extract(request_for(tmp_path / "here"))
    there = extract_on(session, request_for(tmp_path / "there"))
    assert (there.images, there.computed, there.shards, there.redone) == (30, 30, 20, 0)
    assert (there.sources, there.bytes_stored) == (here.sources, here.bytes_stored)
    same_store(tmp_path / "there", tmp_path / "here")
    again = extract_on(session, request_for(tmp_path / "there"), shards_per_task=4)
    assert (again.computed, again.shards) == (0, 0)


def test_relative_paths_mean_what_they_mean_here(
    session, request_for, images, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(images)
    report = extract_on(session, request_for("s", dataset="folder:photos", limit=4))
    assert report.computed == 4
    assert (tmp_path / "s" / "zarr.json").exists()


def test_parts_of_independent_processes_make_one_store(request_for, tmp_path, same_store):
    whole = request_for(tmp_path / "whole", scales=["1x"])
    extract(whole)
    parts = request_for(tmp_path / "parts", scales=["1x"])
    assert len(open_extraction(parts).missing()) == 10
    assert [extract(parts, part=ShardPart(k, 3)).computed for k in (2, 3, 1)] == [9, 12, 9]
    same_store(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize("option", ["recheck", "retry_failed"])
def test_parts_do_not_take_back_shards_of_each_other(request_for, images, tmp_path, option, capsys):
    """The step before the parts does, once."""
    folder = tmp_path / "photos"
    shutil.copytree(images, folder)
    broken = folder / "a" / "00.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:99])
    request = request_for(tmp_path / "s", dataset=f"folder:{folder}", scales=["1x"])
    for k in (1, 2):
        extract(request, part=ShardPart(k, 2))
    broken.write_bytes(whole)
    command = ["extract", "--dataset", request.dataset, "--model", *request.models]
    command += ["--scales", "1x", "--store", request.store, f"--{option.replace('_', '-')}"]
    assert main([*command, "--part", "1/2"]) == 2
    assert "once with --prepare in place of --part" in capsys.readouterr().err
    if option == "recheck":
        (path,) = (tmp_path / "s" / "features").rglob("tokens/c.9*")
        path.write_bytes(bytes(path.stat().st_size))
    assert main([*command, "--prepare"]) == 0
    assert "1 shard(s) to compute" in capsys.readouterr().err
    computed = [extract(request, part=ShardPart(k, 2)).computed for k in (1, 2)]
    assert computed == ([0, 3] if option == "recheck" else [3, 0])
    assert verify(feature_store.open(request.store)).problems == []


def test_what_one_process_began_the_workers_finish(session, request_for, tmp_path, same_store):
    extract(request_for(tmp_path / "here"))
    extract(request_for(tmp_path / "s"), part=ShardPart(1, 3))
    report = extract_on(session, request_for(tmp_path / "s"), shards_per_task=2)
    assert report.computed == 21
    same_store(tmp_path / "s", tmp_path / "here")


def test_a_killed_worker_costs_a_shard_and_not_the_run(
    session, request_for, tmp_path, same_store, first_claim
):
    extract(request_for(tmp_path / "here"))
    killed = []

    def kill():
        killed.append(first_claim(tmp_path / "s"))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    report = extract_on(session, request_for(tmp_path / "s"))
    killer.join()
    assert killed
    assert killed[0] != os.getpid()
    assert (report.computed, report.busy) == (30, 0)
    # 0 where the kill came after the commit, 2 where a second shard was begun before it was seen.
    assert 0 <= report.redone <= 2
    same_store(tmp_path / "s", tmp_path / "here")


def test_errors_of_a_worker_are_the_user_s(session, request_for, tmp_path):
    extract_on(session, request_for(tmp_path / "s", limit=3))
    with pytest.raises(InputError, match="computed differently .*precision"):
        extract_on(session, request_for(tmp_path / "s", limit=3, arithmetic="bf16"))
    with pytest.raises(InputError, match="unknown timm model"):
        extract_on(session, request_for(tmp_path / "t", models=["timm:nonsense"]))


def test_a_worker_with_another_version_is_refused(request_for, tmp_path):
    """A real worker that runs a copy of the project with one line more, asked for a new store."""
    from distributed import LocalCluster

    for package in ("workbench", "analyses", "feature_store"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / "copy" / package, ignore=ignored)
    with (tmp_path / "copy" / "workbench" / "datasets" / "decode.py").open("a") as file:
        file.write("# another version\n")
    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny"]
        worker = subprocess.Popen(
            [*command, "--nthreads", "1", "--no-dashboard"],
            env=os.environ | {"PYTHONPATH": str(tmp_path / "copy")},
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        try:
            with (
                connect(EngineOptions(engine="dask", scheduler=address)) as other,
                pytest.raises(InputError, match="runs another version of the project") as refused,
            ):
                extract_on(other, request_for(tmp_path / "s"))
        finally:
            worker.terminate()
            worker.wait(30)
    own = own_version()
    assert f"worker {socket.gethostname()}:{worker.pid} " in str(refused.value)
    assert re.search(rf"found .*, in {tmp_path / 'copy'}\)", str(refused.value))
    assert f"expected {own}; install" in str(refused.value)
    assert f"{own.number} (code {own.code[:12]}, analyses " in str(own)
    assert str(own).endswith(f"in {ROOT})")
    assert not (tmp_path / "s").exists()


def test_a_worker_refuses_before_its_first_shard_too(request_for, tmp_path, monkeypatch):
    """The store is prepared by a worker of the right version, the next one has another."""
    request = request_for(tmp_path / "s")
    run = open_extraction(request)
    other = replace(own_version(), number="0.0.9", code="f" * 64)
    ticket = tasks.Ticket(asdict(request), "token", os.getcwd(), version=other)
    monkeypatch.setattr(tasks, "_tell", lambda what: None)
    monkeypatch.setattr(tasks, "_loaded", (ticket, run))
    done = tasks.compute(ticket, (0, 1))
    assert "expected 0.0.9 (code ffffffffffff" in done.error
    assert len(run.missing()) == 10
    del ticket.__dict__["version"]  # as a driver of an older version sends it
    assert "expected unknown" in tasks.prepare(ticket).error


def test_interruption_ends_after_the_shards_in_hand(request_for, images, tmp_path, first_claim):
    """The real command, with Ctrl-C as a terminal sends it: to every process of the group."""
    request = request_for(tmp_path / "s")
    command = [
        *(sys.executable, "-m", "workbench", "extract", "--dataset", f"folder:{images}"),
        *("--model", request.models[0], "--scales", "1x", "2x", "4x", "--store", request.store),
        *("--shard-images", "2", "--engine", "dask", "--processes", "1"),
    ]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        first_claim(tmp_path / "s")
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=60)
        assert run.returncode == 1, said
        assert "stopped" in said
        assert "Traceback" not in said
        assert alive_in_group(run.pid) == []
    finally:
        kill_group(run.pid)
    report = extract(request_for(tmp_path / "s", scales=["1x", "2x", "4x"]))
    assert 0 < report.computed < 30
    assert not report.busy


def kill_group(group):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def alive_in_group(group, seconds=20):
    """Processes of a group that have not ended by then; zombies have."""
    end = time.monotonic() + seconds
    while True:
        lines = subprocess.run(
            ["ps", "-e", "-o", "pgid=,stat=,pid="], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        found = [line.split() for line in lines]
        left = [pid for pgid, state, pid in found if pgid == str(group) and state[0] != "Z"]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.2)


@pytest.fixture
def stores(request_for, tmp_path):
    """Two complete stores of the same images under two names, so that they count as apart."""
    for name in ("train", "test"):
        extract(request_for(tmp_path / name, dtype="float32"))
    return [feature_store.open(tmp_path / name) for name in ("train", "test")]


def test_analyses_on_workers_equal_those_here(session, stores, monkeypatch):
    monkeypatch.setattr(partition, "PARTITION_IMAGES", 6)
    for module in ("reading.splits", "reconstruction.reconstruction"):
        monkeypatch.setattr(f"analyses.{module}.refuse_shared_images", lambda *stores: None)
    small, both = (f"random:timm:test_vit.r160_in1k#final@{s}" for s in ("160", "160+320"))
    large = small.replace("@160", "@320")
    question = dict(target=large, sources=[small], reference=both)
    config = reconstruction.ReconstructionConfig(resamples=10, keep_shared=True)
    here = reconstruction.compute(*stores, **question, config=config)
    there = reconstruction.compute(*stores, **question, config=config, engine=session)
    for name in ("train_loss", "test_loss", "ridge", "loss_map"):
        np.testing.assert_allclose(there[name], here[name], rtol=1e-9, atol=1e-14, err_msg=name)
    here = similarity.compute(stores[0], sources=[small, large])
    there = similarity.compute(stores[0], sources=[small, large], engine=session)
    np.testing.assert_allclose(there["cka"], here["cka"], rtol=1e-10)
    config = few_shot.FewShotConfig(shots=(1, 2), repeats=3, keep_shared=True)
    here = few_shot.compute(*stores, sources=[both], config=config)
    assert few_shot.compute(*stores, sources=[both], config=config, engine=session).equals(here)


def test_map_keeps_the_order_and_reduce_the_tree(session):
    assert list(session.map(math.factorial, range(9))) == [math.factorial(k) for k in range(9)]
    found = session.reduce(str, functools.partial(str.format, "({} {})"), range(10))
    assert found == "((((((((0 1) 2) 3) 4) 5) 6) 7) (8 9))"


def test_results_that_come_as_the_wait_ends_are_taken(monkeypatch):
    class Late(Future):
        def done(self):
            if not super().done():
                self.set_result([7])
            return True

    class Waiting(Session):
        def look(self):
            late.done()

    late = Late()
    monkeypatch.setattr("asyncio.run_coroutine_threadsafe", lambda *arguments: late)
    assert Waiting(mock.MagicMock(), lambda workers: None).results([None]) == [7]


def test_a_worker_without_the_project_is_said_plainly(request_for, tmp_path):
    """It could not read its work, and Dask would lose it; the scheduler has the project."""
    from distributed import LocalCluster

    without = "import sys; sys.modules['workbench'] = None; import runpy; "
    without += "runpy.run_module('distributed.cli.dask_worker', run_name='__main__')"
    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        options = [address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]
        worker = subprocess.Popen([sys.executable, "-c", without, *options])
        try:
            with connect(EngineOptions(engine="dask", scheduler=address)) as other:
                other.client.wait_for_workers(1, timeout=60)
                with pytest.raises(InputError, match="found none or an old one .*workbench"):
                    extract_on(other, request_for(tmp_path / "s"))
        finally:
            worker.terminate()
            worker.wait(30)


def test_a_worker_that_hangs_is_not_asked_for_ever(session, monkeypatch):
    """It is asked with its work; another one that answers is refused then, too."""
    monkeypatch.setattr("workbench.cluster.session.VERSION_SECONDS", 0.5)
    other = replace(own_version(), code="f" * 64)
    monkeypatch.setattr("workbench.cluster.version.own_version", lambda: other)
    with pytest.raises(InputError, match="runs another version"):
        session.refuse_others()
    pids = session.client.run(os.getpid).values()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        session.refuse_others()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_scheduler_without_the_project_is_said_plainly(request_for, tmp_path):
    """Dask's own words are of a task graph; the scheduler that cannot read it is a real one."""
    file = tmp_path / "scheduler.json"
    without = "import sys; sys.modules['workbench'] = None; import runpy; "
    without += "runpy.run_module('distributed.cli.dask_scheduler', run_name='__main__')"
    options = ["--no-dashboard", "--host", "127.0.0.1", "--port", "0"]
    command = [sys.executable, "-c", without, *options, "--scheduler-file", str(file)]
    scheduler = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while not file.exists() or not file.read_text():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        with (
            connect(EngineOptions(engine="dask", scheduler=address)) as other,
            pytest.raises(InputError, match=r"cannot read .* install the\s+same versions"),
        ):
            extract_on(other, request_for(tmp_path / "s"))
    finally:
        scheduler.kill()
        scheduler.wait()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (AttributeError("Can't get attribute 'new' on <module>"), "cannot read the work"),
        (ImportError("cannot import name 'a' from 'b'", name="b"), "cannot import b"),
        (RuntimeError("out of memory"), None),
    ],
)
def test_what_workers_of_other_versions_raise(error, message):
    with pytest.raises(InputError if message else RuntimeError, match=message), said_plainly():
        raise error


def test_a_scheduler_that_dies_is_said_and_dask_says_nothing(tmp_path):
    file, logged = tmp_path / "scheduler.json", []
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    command += ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    logger, handler = logging.getLogger("distributed.client"), logging.Handler()
    handler.emit = logged.append
    logger.addHandler(handler)
    try:
        while not file.exists() or not file.read_text():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        with connect(EngineOptions(engine="dask", scheduler=address)) as other:
            future = other.submit(abs, 1)
            scheduler.kill()
            with pytest.raises(InputError, match=r"scheduler (is gone|dropped the work)"):
                other.result(future)
    finally:
        scheduler.kill()
        scheduler.wait()
        logger.removeHandler(handler)
    assert logged == []


def marker(folder):
    """Leaves a folder behind wherever it is unpickled; a local class, which travels by value."""

    class Marker:
        def __init__(self):
            self.folder = folder

        def __setstate__(self, state):
            self.__dict__.update(state)
            tempfile.mkdtemp(dir=self.folder)

    return Marker()


@pytest.mark.parametrize(
    "analyse",
    [
        lambda session: list(session.map(math.factorial, range(3))),
        lambda session: session.reduce(math.factorial, operator.add, range(3)),
    ],
)
def test_analyses_on_workers_of_another_version_are_refused(session, monkeypatch, analyse):
    other = replace(own_version(), analyses="f" * 64)
    monkeypatch.setattr("workbench.cluster.session.own_version", lambda: other)
    with pytest.raises(InputError, match=r"runs another version .* analyses ffffffffffff"):
        analyse(session)


@pytest.mark.parametrize("way", ["map", "reduce"])
def test_arrays_of_a_function_reach_each_worker_once(session, tmp_path, way):
    """Two workers may have unpickled it, one of them again if the task that makes it was moved to
    the other, and the scheduler, which is here; not each of 20 tasks."""
    function = functools.partial(operator.eq, marker(str(tmp_path)))
    if way == "map":
        assert not any(session.map(function, range(20)))
    else:
        assert session.reduce(function, operator.or_, range(20)) is False
    assert 1 <= len(list(tmp_path.iterdir())) < 10


def test_views_share_one_set_of_workers(session, request_for, images, tmp_path, monkeypatch):
    connected = []

    @contextlib.contextmanager
    def counted(options, log, decoders):
        connected.append(options.engine)
        yield session

    monkeypatch.setattr("workbench.commands.extract.connect", counted)
    store = tmp_path / "s.zarr"
    command = ["extract", "--dataset", f"folder:{images}", "--scales", "1x", "--limit", "4"]
    command += ["--model", request_for(store).models[0], "--store", str(store)]
    assert main([*command, "--views", "2", "--engine", "dask"]) == 0
    assert connected == ["dask"]
    for name in ("s", "s.view1", "s.view2"):
        assert verify(feature_store.open(tmp_path / f"{name}.zarr")).problems == []


@pytest.fixture
def loads(monkeypatch):
    """Models that were loaded in this process during the test."""
    found = []
    load = loaded_models.load
    monkeypatch.setattr(loaded_models, "load", lambda *a, **k: found.append(a) or load(*a, **k))
    return found


def test_views_share_loaded_models_and_commands_do_not(loads, request_for, tmp_path, monkeypatch):
    """A file of weights may be another by the next command."""
    monkeypatch.setattr(tasks, "_tell", lambda what: None)
    monkeypatch.setattr(tasks, "_loaded", None)

    def begin(name, command, **changes):
        request = request_for(tmp_path / name, scales=["1x"], limit=3, **changes)
        ticket = tasks.Ticket(asdict(request), name, os.getcwd(), command)
        assert tasks.prepare(ticket).error == ""
        assert tasks.compute(ticket, (0,)).computed == {0}
        return len(loads)

    view = "view:1:" + request_for(tmp_path).dataset
    assert [begin("a", "one"), begin("b", "one", dataset=view)] == [1, 1]
    assert begin("c", "one", arithmetic="bf16") == 2
    assert [options.arithmetic for _, _, options in tasks._loaded[1].loaded._loaded] == [
        "bf16"
    ]  # the other one has left
    assert begin("d", "two", arithmetic="bf16") == 3
    assert begin("e", "", arithmetic="bf16") == 4
    assert begin("f", "", arithmetic="bf16") == 5


def test_views_here_share_loaded_models(loads, request_for, images, tmp_path):
    store = tmp_path / "s.zarr"
    command = ["extract", "--dataset", f"folder:{images}", "--scales", "1x", "--limit", "4"]
    command += ["--model", request_for(store).models[0], "--store", str(store)]
    assert main([*command, "--views", "2"]) == 0
    assert len(loads) == 1
    assert verify(feature_store.open(tmp_path / "s.view2.zarr")).problems == []


class Here(Session):
    """Runs tasks at once, as the only worker."""

    def look(self):
        return {"tcp://alive": 1}

    def submit_all(self, function, *columns):
        futures = []
        for row in zip(*columns, strict=True):
            futures.append(Future())
            futures[-1].set_result(function(*row))
        return futures

    def results(self, futures):
        return [future.result() for future in futures]


def test_shards_of_a_task_are_counted_one_by_one(request_for, tmp_path, monkeypatch):
    """Of 10 shards in tasks of 3: a worker that was lost did shard 0, another process 3 to 5."""
    request = request_for(tmp_path / "s", scales=["1x"])
    monkeypatch.setattr(tasks, "_loaded", None)
    ticket = tasks.Ticket(asdict(request), "token", os.getcwd())
    work = extraction._Work(Here(None, None), ticket, lambda line: None, lambda: False)
    who = {"name": tasks.own_name(), "address": "tcp://alive"}
    monkeypatch.setattr(tasks, "_tell", lambda what: work.heard((0.0, who | what)))
    prepared = tasks.prepare(ticket)
    work.begun.update([0, 1, 2])
    open_extraction(request).execute([0, 3, 4, 5], progress=False)
    report = work.run(prepared, 3)
    assert (report.computed, report.shards, report.redone) == (21, 7, 2)


def test_an_end_waits_for_shards_of_present_workers_only(request_for, tmp_path):
    """Of four tasks one worker is at one, a lost one was at another, one is done."""
    cancelled = []
    session = Here(types.SimpleNamespace(cancel=cancelled.extend), lambda workers: None)
    ticket = tasks.Ticket(asdict(request_for(tmp_path / "s")), "token", os.getcwd())
    work = extraction._Work(session, ticket, lambda line: None, lambda: True)
    here, lost, done, waiting = (Future() for _ in range(4))
    done.set_result(None)
    work.under_way = {here: (0,), lost: (1, 2), done: (3,), waiting: (4,)}
    for address, shards in [("tcp://alive", (0,)), ("tcp://lost", (1, 2)), ("tcp://lost", (3,))]:
        message = {"name": address, "address": address, "token": "token", "begins": shards}
        work.heard((0.0, message))
    assert work._submit(None)
    assert cancelled == [lost, waiting]
    assert session.ending


def test_nobody_is_waited_for_whose_result_is_lost_at_the_end(monkeypatch):
    watched = []
    session = Session(mock.MagicMock(status="running"), watched.append)
    session.client.nthreads.return_value = {}
    session.ending = True
    monkeypatch.setattr("workbench.cluster.session.TICK_SECONDS", 0.01)
    monkeypatch.setattr("asyncio.run_coroutine_threadsafe", lambda *arguments: Future())
    with pytest.raises(InputError, match="the last worker was lost while the run ended"):
        session.results([None])
    assert watched == []


def test_ctrl_c_before_the_first_worker_ends_at_once(request_for, tmp_path):
    from distributed import LocalCluster

    usual = signal.getsignal(signal.SIGINT)

    def interrupt():
        while signal.getsignal(signal.SIGINT) is usual:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        options = EngineOptions(engine="dask", scheduler=cluster.scheduler_address)
        with connect(options) as empty:
            threading.Thread(target=interrupt, daemon=True).start()
            report = extract_on(empty, request_for(tmp_path / "s"))
    assert report.stopped
    assert summary(report).startswith("stopped before any shard was begun")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_end_the_block_as_ctrl_c_does(sign):
    from distributed import LocalCluster

    before = signal.signal(sign, signal.SIG_DFL)  # under nohup, SIGHUP is ignored
    try:
        with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
            options = EngineOptions(engine="dask", scheduler=cluster.scheduler_address)
            with pytest.raises(KeyboardInterrupt), connect(options):
                signal.raise_signal(sign)
        assert signal.getsignal(sign) is signal.SIG_DFL
    finally:
        signal.signal(sign, before)


def test_decoders_on_workers_that_may_not_start_any(request_for, tmp_path):
    """A worker as `dask worker` starts it by default: a daemon."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.worker.daemon": True}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        connect(EngineOptions(engine="dask", scheduler=cluster.scheduler_address)) as other,
        pytest.raises(InputError, match="DASK_DISTRIBUTED__WORKER__DAEMON=False"),
    ):
        extract_on(other, request_for(tmp_path / "s", workers=1))
    assert not (tmp_path / "s").exists()


def test_a_claim_of_a_lost_worker_elsewhere_is_removed(request_for, tmp_path, monkeypatch):
    """Another host's process number means nothing here: only the driver knows that it is gone."""
    run = open_extraction(request_for(tmp_path / "s", scales=["1x"]))
    store = run.store
    (name,) = store.sources()
    key = protocol.claim_key(feature_store.Source.parse(name).group, 4)
    assert Claim(store.objects, key).__enter__().held
    store.objects.put(
        key, store.objects.get(key).replace(os.uname().nodename.encode(), b"elsewhere")
    )
    holder = f"elsewhere:{os.getpid()}"
    monkeypatch.setattr(extraction, "LOST_SECONDS", 0.2)
    monkeypatch.setattr(extraction, "OWN_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(tasks, "_tell", lambda what: None)
    monkeypatch.setattr(tasks, "_loaded", None)
    ticket = tasks.Ticket(asdict(run.request), "token", os.getcwd())
    said = []
    work = extraction._Work(Here(None, None), ticket, said.append, lambda: False)
    report = work.run(tasks.prepare(ticket), 1)
    assert (report.computed, report.busy) == (27, 1)  # of an unknown process: left alone
    work.addresses[holder] = "tcp://lost"
    report = work.run(tasks.prepare(ticket), 1)
    assert (report.computed, report.busy) == (3, 0)
    assert store.objects.get(key) is None


def test_status_watches_a_running_job(session, request_for, tmp_path, first_claim):
    """From the store alone, in another process, until all is complete."""
    watcher = []

    def watch():
        first_claim(tmp_path / "s")
        command = [sys.executable, "-m", "workbench", "status", str(tmp_path / "s"), "--watch"]
        found = subprocess.run(
            [*command, "--interval", "0.1"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        watcher.append(found)

    thread = threading.Thread(target=watch)
    thread.start()
    extract_on(session, request_for(tmp_path / "s"))
    thread.join()
    assert watcher[0].returncode == 0, watcher[0].stderr
    assert "10/10 shards" in watcher[0].stdout.splitlines()[-4]


def test_as_many_workers_as_cores_that_may_be_used():
    """This machine's cores are no measure: a container or a job may have been given fewer."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from workbench.cluster import local_workers\n"
        "local_workers.visible_gpus = lambda: []\n"
        "if __name__ == '__main__':\n"
        "    with local_workers.start(None, print): pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "1 worker process(es) on this machine, CPU" in done.stdout, done.stderr


def test_no_worker_is_said_after_a_while(monkeypatch):
    from distributed import LocalCluster

    from workbench.cluster.options import SlurmOptions

    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        options = EngineOptions(
            engine="dask", scheduler=cluster.scheduler_address, slurm=SlurmOptions(patience=0.5)
        )
        with connect(options) as empty, pytest.raises(InputError, match="has had no worker for"):
            empty.result(empty.submit(functools.partial(time.sleep, 0)))
