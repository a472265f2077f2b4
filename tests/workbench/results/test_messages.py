"""Lines for people: no control characters, and no need of a standard error."""

from __future__ import annotations

import io
import re
import sys

import pytest

from analyses.reading.progress import each, shown
from workbench.cli import main
from workbench.results.messages import ErrorStream, OutputClosed, note, printable, show

HOSTILE = "a\x1b[2J\x07\x9b\u202eb\udcffc"
CLEAN = r"a\x1b[2J\x07\x9b\u202eb\udcffc"


class Closed(io.StringIO):
    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


def test_control_characters_are_escaped_and_line_feeds_stay(capsys):
    assert printable("é\n" + HOSTILE) == "é\n" + CLEAN
    show(HOSTILE)
    note(HOSTILE)
    assert capsys.readouterr() == (CLEAN + "\n", CLEAN + "\n")


def test_what_the_encoding_lacks_is_escaped(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    show("2×")
    assert stream.buffer.getvalue() == b"2\\xd7\n"


@pytest.mark.parametrize("wrap", [ErrorStream, lambda stream: stream], ids=["command", "library"])
def test_progress_bars_need_no_reader(monkeypatch, wrap):
    monkeypatch.setattr(sys, "stderr", wrap(Closed()))
    with shown("work", total=2, unit="image") as bar:
        bar.update(1)
        bar.refresh()
    assert list(each(["a", "b"], progress=True, label="work")) == ["a", "b"]


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_stand_beside_a_progress_bar(monkeypatch, terminal):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stream)
    with shown("train", total=2, unit="step") as bar:
        note("saved")
        bar.update()
    lines = re.split("[\r\n]", stream.getvalue())
    assert "saved" in lines
    assert lines[lines.index("saved") - 1].strip() == (
        "" if terminal else "train:   0%|          | 0/2 [00:00<?, ?step/s]"
    )


def test_a_standard_output_without_a_reader_ends_a_command_in_silence(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(OutputClosed):
        show("lost")
    assert main(["models"]) == 0


def test_another_broken_pipe_is_no_success(monkeypatch, capsys):
    def fail(*arguments, **options):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("workbench.arguments.parse", fail)
    assert main(["models"]) == 2
    assert "Broken pipe" in capsys.readouterr().err


@pytest.mark.parametrize("stream", [None, closed(), Closed()])
def test_a_standard_error_that_is_gone_stops_nothing(stream, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", stream)
    note("lost")
    assert main(["status", "no/such/store"]) == 2
    assert main(["status", "a", "--bogus"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["\x1b[31m"],
        ["status", "x\x1b[31m"],
        ["status", "a", "--bogus\x1b[31m"],
        ["cost", "--model", "timm:\x1b[31m", "--scales", "224"],
    ],
)
def test_messages_show_hostile_arguments_as_escapes(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        raise SystemExit(main(arguments))
    found = "".join(capsys.readouterr())
    assert r"\x1b[31m" in found
    assert "\x1b" not in found
