"""Arguments as a user misspells them, help as a user reads it, completion as a shell does it."""

from __future__ import annotations

import subprocess

import pytest

from feature_store.errors import InputError
from workbench import arguments
from workbench.cli import COMMANDS, form_of, main


def shown_by(line, capsys):
    with pytest.raises(SystemExit) as ended:
        main(line)
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "found", "meant"),
    [
        (["probe", "--trian", "a.zarr"], "--trian", "--train"),  # while others are missing
        (["status", "a.zarr", "--jsn"], "--jsn", "--json"),
        (["extract", "--model=m", "--sclaes=1x"], "--sclaes", "--scales"),
        (["extract", "--slurm.partitoin", "gpu"], "--slurm.partitoin", "--slurm.partition"),
    ],
)
def test_an_unknown_option_is_named_in_one_line(line, found, meant, capsys):
    assert main(line) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"no option '{found}'; did you mean {meant}?" in said


def test_an_option_like_no_other_leads_to_help(capsys):
    assert main(["status", "a.zarr", "--zzz"]) == 2
    assert "no option '--zzz'; --help" in capsys.readouterr().err


def test_a_missing_option_is_still_the_problem_where_all_are_known(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["probe", "--train", "a.zarr"])
    assert "--test" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_stand_line_by_line_below_the_options(command, capsys):
    lines = shown_by([*command.split(), "--help"], capsys).splitlines()
    below = lines[lines.index("examples:") + 1 :]
    assert below[0].startswith(f"  workbench {command}")
    assert max(map(len, below)) <= 100


def test_options_of_slurm_jobs_are_folded_away(capsys):
    assert "--slurm." not in shown_by(["probe", "--help"], capsys)
    folded = shown_by(["probe", "--help-slurm"], capsys)
    assert "--slurm.walltime" in folded
    assert "--train" not in folded
    assert main(["status", "a.zarr", "--help-slurm"]) == 2
    assert "no option '--help-slurm'" in capsys.readouterr().err


def test_bash_completes_commands_and_options(capsys):
    pytest.importorskip("tyro._backends._completion")
    forms = {name: form_of(name) for name in ("models", "status", "verify")}
    forms |= {"toy status": form_of("status"), "toy verify": form_of("verify")}
    arguments.complete("bash", forms)
    script = capsys.readouterr().out
    ask = """
        complete_line() {
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            $(complete -p workbench | sed 's/.*-F \\([^ ]*\\).*/\\1/')
            echo "${COMPREPLY[@]}"
        }
        complete_line workbench ver
        complete_line workbench models --fi
        complete_line workbench toy ver
        complete_line workbench toy verify --js
    """
    done = subprocess.run(["bash", "-c", script + ask], capture_output=True, text=True, check=True)
    assert [line.strip() for line in done.stdout.splitlines()] == [
        "verify", "--find", "verify", "--json"
    ]  # fmt: skip


def test_another_shell_is_refused():
    with pytest.raises(InputError, match="'tcsh'; choose from bash, zsh, fish"):
        arguments.complete("tcsh", {})
