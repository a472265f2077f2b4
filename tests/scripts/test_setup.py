"""The set-up installs what is asked for, once, into an environment that grows."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = """#!/usr/bin/env bash
echo "$*" >> "$CALLS"
case "$*" in
    *print*) echo 3.12 ;;
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"$BREAKS"*) [ -z "$BREAKS" ] ;;
esac
"""
"""In place of Python: notes what it is asked for, and fails where it is told to."""


@pytest.fixture
def setup(tmp_path):
    """Runs the set-up in a copy; its exit status, its last line, and the extras it installed."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "scripts/models.txt", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "python").write_text(STUB)
    (tmp_path / "python").chmod(0o755)
    calls = tmp_path / "calls"

    def run(*extras, breaks=""):
        calls.write_text("")
        env = {"PYTHON": str(tmp_path / "python"), "CALLS": str(calls), "BREAKS": breaks}
        command = ["bash", str(tmp_path / "scripts/setup.sh"), *extras]
        done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True)
        installs = [line for line in calls.read_text().splitlines() if "pip install" in line]
        editable = [line.rpartition("-e .")[2] for line in installs if "-e ." in line]
        weights = sum("--no-deps" in line for line in installs)
        return done.returncode, done.stderr.strip().rpartition("\n")[2], editable, weights

    return run


REST = "[archives,faiss-cpu,cluster,decoders,robot,vlm,notebooks,docs,dev]"


def test_each_extra_is_installed_once(setup):
    assert setup() == (0, "setup: done", ["[bundled]"], 0)
    assert setup() == (0, "", [], 0)
    assert setup("explore")[2] == ["[explore]"]
    assert setup("all") == (0, "setup: done", [REST], 3)
    assert setup("all", "explore") == (0, "", [], 0)


def test_a_failed_installation_is_repeated(setup):
    status, said, *_ = setup(breaks="-e .[bundled]")
    assert (status, "setup.log" in said) == (1, True)
    assert setup()[2] == ["[bundled]"]


def test_a_change_of_the_packages_renews_what_is_asked_for(setup, tmp_path):
    setup("explore")
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert setup()[2] == ["[bundled]"]
    assert setup("explore")[2] == ["[explore]"]


def test_an_unknown_extra_is_refused_with_the_known_ones(setup):
    status, said, installed, _ = setup("exlore")
    assert (status, installed) == (1, [])
    assert "'exlore'" in said
    assert "all bundled archives faiss-cpu" in said
