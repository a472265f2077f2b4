"""Every notebook runs from top to bottom on small stores; the first one makes them."""

from __future__ import annotations

import ast
import os
import shutil
from pathlib import Path

import jupytext
import nbclient
import pytest
from jupytext.cli import jupytext as jupytext_program

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9]_*.py"))
FIRST, *LATER = NOTEBOOKS
FIGURE = "currentColor"
"""Ink of a figure: the text colour of the notebook's theme."""
SHOWN = {
    "1_quickstart": (FIGURE, "shards", "test info"),
    "2_what_s2_adds": (FIGURE, "S2 minus", "test info"),
    "3_hard_examples": ("image_id", "suggested"),
    "4_capacity_and_probes": (FIGURE, "gmacs", "effective_rank"),
    "5_scaling_laws": (FIGURE, "verdict", "lack_of_fit_p"),
    "6_at_cluster_scale": ("shards_done", "GPU minutes", "shards by writer"),
    "7_which_crops": (FIGURE, "share_of_full_gain", "bottom-up"),
}
"""What must be among each notebook's outputs: kinds of picture, and words of its tables."""


@pytest.fixture(scope="module")
def execute(tmp_path_factory):
    """Run a notebook in a kernel; the outputs of all its cells."""
    folder = tmp_path_factory.mktemp("stores")
    settings = {"S2_WORKBENCH_STORES": str(folder), "S2_WORKBENCH_IMAGES": "48"}

    def run(path):
        notebook = jupytext.read(path)
        where = {"metadata": {"path": str(path.parent)}}
        client = nbclient.NotebookClient(notebook, timeout=300, resources=where)
        client.execute(env={**os.environ, **settings})
        return [o for cell in notebook.cells for o in cell.get("outputs", [])]

    made = run(FIRST)
    return lambda path: made if path == FIRST else run(path)


def described(outputs):
    """Media types, tables and printed text of outputs as one string to search."""
    parts = []
    for output in outputs:
        for kind, value in output.get("data", {}).items():
            parts += [kind, value if kind.startswith("text/") else ""]
        parts.append(output.get("text", ""))
    return "\n".join(parts)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_and_shows_what_it_promises(execute, path):
    outputs = execute(path)
    text = described(outputs)
    assert [word for word in SHOWN[path.stem] if word not in text] == []
    warned = [o["text"] for o in outputs if o.get("name") == "stderr" and "Warning" in o["text"]]
    assert warned == []
    assert len(str(outputs)) < 3_000_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_is_thin(path):
    notebook = jupytext.read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tree = ast.parse("\n".join(cell.source for cell in code))
    kinds = ast.FunctionDef | ast.ClassDef | ast.Lambda
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, kinds)] == []
    assert len(notebook.cells) - len(code) >= len(code) - 3  # prose beside nearly every cell
    assert all(len(cell.source.splitlines()) <= 30 for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_cell_has_more_than_three_imports(path):
    for cell in jupytext.read(path).cells:
        if cell.cell_type == "code":
            imports = ast.Import | ast.ImportFrom
            assert sum(isinstance(node, imports) for node in ast.parse(cell.source).body) <= 3


def test_the_quickstart_has_five_steps():
    cells = [c for c in jupytext.read(FIRST).cells if c.cell_type == "code"]
    assert len(cells) == 5


def test_pairing_leaves_the_text_as_it_is(tmp_path):
    for path in (*NOTEBOOKS, FIRST.with_name("jupytext.toml")):
        shutil.copy(path, tmp_path)
    texts = sorted(tmp_path.glob("*.py"))
    assert jupytext_program(["--quiet", "--sync", *map(str, texts)]) == 0
    for path, text in zip(NOTEBOOKS, texts, strict=True):
        assert text.with_suffix(".ipynb").exists()
        assert text.read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
