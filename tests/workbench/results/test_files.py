"""A file of results is whole, or it is the one that was there before."""

from __future__ import annotations

import errno

import matplotlib.figure
import pandas as pd
import pytest

from workbench.figures import style
from workbench.results import strict_json
from workbench.results.files import write_csv, write_text, written_whole
from workbench.results.table_files import write_table


def test_an_error_leaves_the_file_of_before_and_nothing_else(tmp_path):
    path = tmp_path / "made" / "a.txt"
    write_text("old", path)

    def half():
        with written_whole(path) as partial:
            partial.write_text("ne")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        half()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_no_file(tmp_path, monkeypatch):
    """Every writer: a text, JSON, a table in three formats and a drawing."""
    table = pd.DataFrame({"a": ["=1"]})

    @style.styled
    def draw():
        return style.figure()[0]

    drawn = draw()
    full = OSError(errno.ENOSPC, "No space left on device")

    def begun(path, *args, **kwargs):
        path.touch()
        raise full

    monkeypatch.setattr("pathlib.Path.write_text", begun)
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda self, path, **kw: begun(path))
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda self, path, **kw: begun(path))
    out = tmp_path / "out"
    for write in (
        lambda: write_text("a", out / "a"),
        lambda: strict_json.write({}, out / "a.json"),
        lambda: write_csv(table, out / "a.csv"),
        lambda: write_table(table, out / "a"),
        lambda: style.save(drawn, out / "a"),
    ):
        with pytest.raises(OSError, match="No space"):
            write()
        assert list(out.iterdir()) == []


def test_csv_cells_are_neutralised(tmp_path):
    write_csv(pd.DataFrame({"label": ["=1+1"], "loss": [-0.5]}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "label,loss\n'=1+1,-0.5\n"
