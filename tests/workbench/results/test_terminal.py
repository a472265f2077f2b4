"""Tables fit the terminal, and nothing is lost in them."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from workbench.results import terminal
from workbench.results.terminal import fitted

TABLE = pd.DataFrame(
    {
        "target": ["bundled:efficientnet_lite2#blocks@260"] * 3,
        "source": [f"bundled:efficientnet_lite{k}#blocks@224" for k in (0, 1, 2)],
        **{f"column {n}": [0.1 * n, 0.2, 0.3] for n in range(12)},
    }
)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_longer_than_the_terminal(width):
    assert max(map(len, fitted(TABLE, width).splitlines()[1:])) <= width


def test_every_column_and_row_is_there():
    text = fitted(TABLE, 80)
    assert all(f"column {n}" in text for n in range(12))
    assert text.count("lite0#blocks@224") == text.count("lite1#blocks@224") >= 2


def test_repeated_values_and_prefixes_stand_above_the_table():
    first = fitted(TABLE, 80).splitlines()[0]
    assert first.startswith("bundled:efficientnet_…")
    assert "target: lite2#blocks@260" in first


def test_one_row_has_no_repeated_values():
    text = fitted(TABLE[:1], 80)
    assert "column 3" in text.splitlines()[0] or "column 3" in text
    assert "0.3000" in text


class Terminal(io.StringIO):
    def __init__(self, is_terminal):
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self):
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_markdown_for_a_pipe(monkeypatch, is_terminal):
    stream = Terminal(is_terminal)
    monkeypatch.setattr("sys.stdout", stream)
    terminal.show_table(TABLE)
    assert stream.getvalue().startswith("|") != is_terminal
