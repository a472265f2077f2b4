"""Engine and Slurm options: defaults, files, refusals, and what becomes of them in a job script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from feature_store import InputError
from workbench.cli import main
from workbench.cluster import EngineOptions, SlurmOptions, slurm
from workbench.cluster.engine import connect
from workbench.extraction.request import ShardPart

SCRIPTS = Path(__file__).parents[3] / "scripts" / "slurm"
EXTRACT = ["extract", "--dataset", "bundled:photos", "--model", "m", "--scales", "1x", "--store"]


def test_parts_are_disjoint_and_cover_everything():
    for count in (0, 1, 7, 8, 100):
        parts = [ShardPart(k, 8).shards(count) for k in range(1, 9)]
        assert [shard for part in parts for shard in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", ""])
def test_parts_that_are_none_are_refused(text):
    with pytest.raises(InputError, match="expected 1/3|not K/N"):
        ShardPart.parse(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:01:00", 60), ("1-02:03:04", 93784), (None, 3600)]
)
def test_walltime_in_seconds(text, seconds):
    assert SlurmOptions(walltime=text).seconds == seconds


def test_workers_leave_a_tenth_of_the_walltime_early_within_limits():
    found = [SlurmOptions(walltime=w).leave_before for w in ("00:01:00", "00:20:00", "10:00:00")]
    assert found == [10, 120, 300]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(walltime="1h"), "expected .DAYS-.HH:MM:SS"),
        (dict(walltime="00:01:00", margin=60.0), "less than the walltime"),
        (dict(cpus=0), "at least 1"),
        (dict(patience=-1.0), "patience is -1; expected seconds, more than 0"),
        (dict(patience=float("nan")), "patience is nan; expected seconds, more than 0"),
    ],
)
def test_slurm_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SlurmOptions(**options)


def test_flags_win_over_the_file(tmp_path):
    path = tmp_path / "site.yml"
    path.write_text('partition: gpu\nwalltime: "04:00:00"\nsetup:\n  - module load cuda\n')
    options = EngineOptions(
        engine="slurm", cluster_file=path, slurm=SlurmOptions(walltime="01:00:00")
    )
    assert options.jobs == SlurmOptions(
        partition="gpu", walltime="01:00:00", setup=("module load cuda",)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("partitoin: gpu", "partitoin.*expected names of account"),
        ("- gpu", "expected names"),
        ("walltime: 14:00:00", "expected text .in quotes."),
        ("cpus: many", "expected a number"),
        ("setup: 3", "list of lines"),
        ("a: [", "cannot read"),
    ],
)
def test_files_that_are_wrong_are_refused(tmp_path, text, message):
    path = tmp_path / "site.yml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        SlurmOptions.read(path)


@pytest.mark.parametrize(
    "options",
    [dict(scheduler="tcp://a:1"), dict(engine="dask", dry_run=True), dict(processes=0)],
)
def test_options_that_contradict_are_refused(options):
    with pytest.raises(InputError, match="needs --engine|at least 1"):
        EngineOptions(**options)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--processes 0", "processes is 0; expected at least 1"),
        ("--scheduler tcp://a:1", "--scheduler needs --engine dask, not local"),
        ("--engine dask --dry-run", "it needs --engine slurm, not dask"),
        ("--timeout -1", "--timeout is -1; expected seconds, more than 0"),
        ("--timeout inf", "--timeout is inf; expected seconds, more than 0"),
    ],
)
def test_flags_that_cannot_be_are_said_in_one_line(tmp_path, capsys, flags, said):
    assert main([*EXTRACT, str(tmp_path / "s"), *flags.split()]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("workbench extract: ")
    assert line.endswith(said)


def test_dry_run_prints_the_script_and_submits_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no Slurm is needed
    monkeypatch.chdir(tmp_path)
    slurm = "--slurm.partition gpu --slurm.gpu gpu:1 --slurm.walltime 00:20:00 --slurm.setup A B"
    options = ["--engine", "slurm", "--dry-run", "--workers", "6", *slurm.split()]
    with pytest.raises(SystemExit) as end:
        main([*EXTRACT, str(tmp_path / "s"), *options])
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for line in ("-p gpu", "-t 00:20:00", "--mem=8G", "--cpus-per-task=7", "--gres=gpu:1"):
        assert f"#SBATCH {line}" in lines
    assert lines.index("A") + 1 == lines.index("B")
    assert "--lifetime 1080s --lifetime-stagger 60s" in " ".join(lines)
    assert any(" --no-nanny " in line for line in lines)  # a worker that dies ends its job
    assert f"#SBATCH --error={tmp_path}/slurm-logs/workbench-%J.err" in lines
    assert list(tmp_path.iterdir()) == []


def program(folder, name, lines):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)


def test_shards_per_task_are_checked_before_anything_is_started(tmp_path, capsys):
    options = ["--engine", "slurm", "--shards-per-task", "0"]
    assert main([*EXTRACT, str(tmp_path / "s"), *options]) == 2
    assert "shards_per_task is 0; expected at least 1" in capsys.readouterr().err


def test_a_slurm_that_does_not_answer_is_said(tmp_path, monkeypatch):
    program(tmp_path, "sbatch", "exec sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(slurm, "REPLY_SECONDS", 0.2)
    with pytest.raises(InputError, match="has not answered .* within 0.2 s"):
        slurm.check("")


@pytest.mark.parametrize(
    ("first", "last", "count", "code", "said"),
    [
        ("1", "4", "4", 0, "extract --store s --part 3/4"),
        ("0", "3", "4", 2, "4 task.s. from 0 to 3; expected --array=1-N"),
        ("3", "7", "2", 2, "2 task.s. from 3 to 7; expected --array=1-N"),
        ("1", "7", "4", 2, "4 task.s. from 1 to 7; expected --array=1-N"),
        (None, None, None, 2, "expected --array=1-N"),
    ],
)
def test_an_array_is_submitted_whole(tmp_path, first, last, count, code, said):
    program(tmp_path, "workbench", 'echo "$@"')
    told = {"MIN": first, "MAX": last, "COUNT": count, "ID": "3"}
    settings = {f"SLURM_ARRAY_TASK_{name}": value for name, value in told.items() if value}
    done = subprocess.run(
        ["bash", SCRIPTS / "array.sbatch", "--store", "s"],
        env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"} | settings,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert re.search(said, done.stdout + done.stderr)


def test_no_slurm_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert main([*EXTRACT, str(tmp_path / "s"), "--engine", "slurm"]) == 2
    assert "there is no Slurm here" in capsys.readouterr().err


def test_dask_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(InputError, match="setup.sh cluster"),
        connect(EngineOptions(engine="dask")),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_said_in_one_line(tmp_path, capsys):
    options = ["--engine", "dask", "--scheduler", "tcp://127.0.0.1:9", "--timeout", "1"]
    assert main([*EXTRACT, str(tmp_path / "s"), *options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no Dask scheduler answers at tcp://127.0.0.1:9 within 1 s" in line


def test_parts_and_schedulers_do_not_mix(tmp_path, capsys):
    assert main([*EXTRACT, str(tmp_path / "s"), "--engine", "dask", "--part", "1/2"]) == 2
    assert "divides the work itself" in capsys.readouterr().err
