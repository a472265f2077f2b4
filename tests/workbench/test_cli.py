"""The command line itself: the commands it lists and the old names of options."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from importlib.metadata import version

import pytest

from feature_store.errors import InputError, NotStoredError
from workbench import cli
from workbench.cli import COMMANDS, RENAMED, form_of, main

RENAMES = [(command, old, new) for command, names in RENAMED.items() for old, new in names.items()]


@pytest.fixture
def values(monkeypatch):
    """(option, value) of the command that a call of ``main`` would have run."""
    seen = set()

    def record(self):
        seen.update((name, str(value)) for name, value in _flat(self))
        return 0

    for name in COMMANDS:
        monkeypatch.setattr(form_of(name), "run", record)
    return seen


def _flat(config):
    """Fields of a config and of the configs in it."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        yield from _flat(value) if dataclasses.is_dataclass(value) else [(field.name, value)]


REQUIRED = {
    "cost": ["--model", "m"],
    "encoder-law": [],
    "extract": ["--dataset", "d", "--model", "m", "--scales", "224", "--store", "s"],
    "hard-examples": ["--train", "a", "--test", "b", "--source", "m@224"],
    "memorize": ["--train", "a", "--source", "m@224"],
    "probe": ["--train", "a", "--test", "b", "--source", "m@224"],
    "reconstruct": ["--train", "a", "--test", "b", "--target", "l@224", "--source", "m@224"],
    "shape-law": ["--runs", "r.csv"],
}
VALUES = {
    "--arithmetic": "bf16",
    "--confidence": "0.5",
    "--pooling": "prefix",
    "--repeats": "33",
    "--resamples": "33",
}


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(("command", "old", "new"), RENAMES)
def test_an_old_option_name_works_and_is_reported(values, capsys, command, old, new, joined):
    value = VALUES[new]
    given = [f"{old}={value}"] if joined else [old, value]
    assert main([command, *REQUIRED[command], *given]) == 0
    assert (new.removeprefix("--").replace("-", "_"), value) in values
    notice = capsys.readouterr().err.splitlines()
    assert len(notice) == 1
    assert old in notice[0]
    assert new in notice[0]


@pytest.mark.parametrize(("command", "old", "new"), RENAMES)
def test_a_present_option_name_is_silent(values, capsys, command, old, new):
    assert main([command, *REQUIRED[command], new, VALUES[new]]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_no_old_name(command, capsys):
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    shown = capsys.readouterr().out
    assert shown.count(f"workbench {command} ") > 1  # the usage, and an example
    assert not [old for old in RENAMED.get(command, ()) if f" {old} " in shown]


@pytest.mark.parametrize(("command", "then"), [("extract", "resume"), ("similarity", "rest")])
def test_an_interruption_names_what_repeating_the_command_does(command, then, capsys, monkeypatch):
    @dataclass
    class Interrupted:
        def run(self):
            raise KeyboardInterrupt

    monkeypatch.setattr("workbench.arguments.tyro.cli", lambda *form, **options: Interrupted())
    assert main([command]) == 130
    assert re.search(rf"workbench {command}: interrupted; .*{then}", capsys.readouterr().err)


@pytest.mark.parametrize("device", ["$HOME", "", "cuda:4096"])
def test_a_device_that_does_not_exist_is_refused(capsys, device):
    given = ["memorize", "--train", "a", "--source", "m@224", "--device", device]
    assert main(given) == 2
    assert repr(device) in capsys.readouterr().err


def test_a_null_byte_is_refused(capsys):
    assert main(["status", "a\0b"]) == 2
    assert "null byte" in capsys.readouterr().err


def test_extracting_is_no_remedy_where_the_model_does_not_exist():
    stored = "a.zarr does not hold M; it holds bundled:efficientnet_lite2#blocks@260"
    remedy = "Add it with `workbench extract`"
    lost = cli._message(NotStoredError(stored, "bundled:eficientnet_lite2", remedy))
    assert remedy not in lost
    assert "did you mean the stored bundled:efficientnet_lite2?" in lost
    assert remedy in cli._message(NotStoredError(stored, "bundled:efficientnet_lite0", remedy))


def test_a_stored_model_under_another_name_is_offered():
    stored = "a.zarr does not hold M; it holds timm:vit_base_patch14_dinov2.lvd142m#final@518"
    lost = cli._message(NotStoredError(stored, "facebook/dinov2-base", "Add it"))
    assert lost.endswith("Did you mean timm:vit_base_patch14_dinov2.lvd142m?")


@pytest.mark.parametrize(
    ("given", "hint"),
    [("extrat", "extract?"), ("--vresion", "--version?"), ("zzz", "commands: demo, ")],
)
def test_a_misspelt_command_is_named_with_the_nearest(capsys, given, hint):
    assert main([given]) == 2
    said = capsys.readouterr().err
    assert repr(given) in said
    assert hint in said


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"workbench {version('s2-workbench')}\n"


def test_the_remedy_of_an_error_stands_on_a_line_of_its_own(capsys, monkeypatch):
    def run(self):
        error = InputError("this\nis wrong")
        error.add_note("do that")
        raise error

    monkeypatch.setattr(form_of("models"), "run", run)
    assert main(["models"]) == 2
    assert capsys.readouterr().err.splitlines() == ["workbench models: this is wrong", "do that"]


def test_every_command_is_there():
    assert all(dataclasses.is_dataclass(form_of(name)) for name in COMMANDS)


def test_a_command_of_two_words(capsys, monkeypatch):
    monkeypatch.setitem(COMMANDS, "toy run", "a toy")
    assert cli._command(["toy", "run", "--json"]) == ("toy run", ["--json"])
    assert cli._command(["status", "run"]) == ("status", ["run"])
    assert main(["toy", "--help"]) == 0
    assert "workbench toy run  a toy" in capsys.readouterr().out
    assert main(["toy", "walk"]) == 2
    assert "workbench toy run  a toy" in capsys.readouterr().err
