"""A terminal that is closed, and a run that was told not to mind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import feature_store
from feature_store.verify import verify
from workbench.interrupts import endings, tell


@pytest.fixture
def command(tmp_path):
    """An extraction of many shards, which would take minutes."""
    for k in range(4):
        pixels = np.random.default_rng(k).integers(0, 255, (180, 200, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
    (tmp_path / "images.csv").write_text("path\n" + "".join(f"{k % 4}.png\n" for k in range(4)))
    return [
        *(sys.executable, "-m", "workbench", "extract", "--store", str(tmp_path / "s")),
        *("--dataset", f"csv:{tmp_path / 'images.csv'}", "--shard-images", "1"),
        *("--model", "random:timm:test_vit.r160_in1k", "--scales", "10x"),
    ]


def first_claim(store, seconds=60):
    end = time.monotonic() + seconds
    while not list(Path(store).rglob("tokens/.claims/[0-9]*.json")):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_closed_terminal_ends_the_run_after_its_shard(command, tmp_path):
    here, there = pty.openpty()
    take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    take += "os.execv(sys.argv[1], sys.argv[1:])"  # a session's first process owns its terminal
    run = subprocess.Popen(
        [sys.executable, "-c", take, *command],
        stdin=there, stdout=there, stderr=there, start_new_session=True,
    )  # fmt: skip
    os.close(there)
    try:
        first_claim(tmp_path / "s")
        os.close(here)  # the kernel sends SIGHUP, and printing fails from now on
        assert run.wait(60) == 1
    finally:
        run.kill()
        run.wait()
    store = feature_store.open(tmp_path / "s")
    (name,) = store.sources()
    scale = store.source(name)
    done = [shard for shard in range(scale.shard_count) if scale.is_committed(shard)]
    assert 1 <= len(done) < 4
    assert not list((tmp_path / "s").rglob("tokens/.claims/*.json"))
    assert {problem.kind for problem in verify(store).problems} == {"missing"}


def test_a_standard_error_without_a_reader_leaves_the_status():
    run = subprocess.Popen(
        [sys.executable, "-m", "workbench", "status", "none"], stderr=subprocess.PIPE
    )
    run.stderr.close()
    assert run.wait() == 2


def test_nohup_is_obeyed():
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert endings() == (signal.SIGTERM,)
    finally:
        signal.signal(signal.SIGHUP, usual)
    assert endings() == (signal.SIGTERM, signal.SIGHUP)


def test_a_line_within_a_line_is_left_out():
    def log(line):
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    tell(log, "stopping")
