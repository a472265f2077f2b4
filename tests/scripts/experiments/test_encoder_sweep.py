"""The committed sweep of encoder sizes, what docs/vlm.md says of it, and the law's refusal."""

from __future__ import annotations

import json
import re
import runpy
from math import log
from pathlib import Path

import pytest

from analyses import experiments
from analyses.scaling_laws import encoder_signs
from workbench.cli import main
from workbench.tables.render.view import signed

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "analyses/experiments/encoder_sweep.csv"


def test_the_committed_table_is_the_summary_of_the_committed_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts/experiments"))
    script = runpy.run_path(str(ROOT / "scripts/experiments/encoder_sweep.py"))
    assert script["TABLE"].samefile(TABLE)
    written = tmp_path / "table.csv"
    monkeypatch.setitem(script["write_summary"].__globals__, "TABLE", written)
    script["write_summary"]()
    assert written.read_text() == TABLE.read_text(), "run encoder_sweep.py --summary"
    listed = len(script["ENCODERS"]) * len(script["PAIRS"])
    assert len(experiments.load("encoder_sweep")) == listed


def test_the_page_reports_the_plane_through_the_committed_runs():
    runs = experiments.load("encoder_sweep")
    (plane,) = encoder_signs.compute(runs).to_dict("records")
    page = (ROOT / "docs/vlm.md").read_text("utf-8")
    section = page.partition("## The law of encoder sizes")[2].partition("\n## ")[0]
    said = " ".join(section.split())
    figures = set()
    for name in ("pairs", "size"):
        value, low, high = (signed(plane[f"{name}{end}"], 2) for end in ("", "_low", "_high"))
        assert re.search(rf"{re.escape(value)}[\w ]* \({re.escape(f'{low} to {high}')}\)", said)
        figures |= {value, low, high}
    assert set(re.findall(r"[−+]\d\.\d+", said)) == figures
    sizes = runs["vit_params"]
    assert f"{sizes.min() / 1e6:.1f} to {sizes.max() / 1e6:.1f} million" in said
    guessing = (log(30) + log(12) + log(2)) / 9
    assert f"{guessing:.2f} nats" in said
    assert runs["eval_loss"].min() > guessing
    losses = runs.pivot(index="image_text_pairs", columns="vit_params", values="eval_loss")
    best = losses.idxmin(axis=1)
    assert best.tolist() == [losses.columns[1]] * 4, "the second smallest, at each number of pairs"


def test_the_law_refuses_the_sweep_and_is_fitted_where_asked(capsys):
    command = ["encoder-law", "--runs", str(TABLE)]
    assert main(command) == 2
    assert re.search(r"alpha.*upper end of its range, 10.*allow unid", capsys.readouterr().err)
    assert main([*command, "--allow-unidentified", "--json"]) == 0
    rows = {row["variant"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["power"]["alpha"] == pytest.approx(10, rel=1e-3)
    of_size = [name for name in rows if name != "free"]
    assert [name for name in of_size if not rows[name]["unidentified"]] == ["pairs"]
