"""The multimodal experiment with its results, summaries and page in a temporary folder."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from analyses import experiments
from workbench.tables.render import case_studies

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/multimodal.py"


@pytest.fixture
def multimodal(tmp_path, monkeypatch):
    pytest.importorskip("peft", reason="install the extra: vlm")
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    found = runpy.run_path(str(SCRIPT))
    found["Study"] = type(found["STUDIES"]["daquar"])
    results, summaries = tmp_path / "results", tmp_path / "summaries"
    results.mkdir()
    summaries.mkdir()
    page = tmp_path / "page.md"
    page.write_text(f"{found['runner'].BEGIN}{found['runner'].END}", "utf-8")
    tables = found["summary"].__globals__
    monkeypatch.setitem(tables, "RESULTS", results)
    monkeypatch.setitem(tables, "TOKENS", tmp_path / "object_tokens")
    monkeypatch.setitem(tables, "SUMMARIES", summaries)
    monkeypatch.setitem(tables, "PAGE", page)
    monkeypatch.setitem(found["Run"].path.fget.__globals__, "RESULTS", results)
    monkeypatch.setitem(found["gallery"].__globals__, "SUMMARIES", summaries)
    monkeypatch.setattr(experiments, "files", lambda name: summaries)
    return found


@pytest.fixture
def put(multimodal):
    def put(study, row, right, seed=0, sha256="asked"):
        """A result with so many right of 40 questions for each type, dict of type to number.

        Two questions are about one image.
        """
        run = multimodal["Run"](study=study, row=row, seed=seed)
        total, count = sum(right.values()), 40 * len(right)
        one = {
            **vars(run), "source": multimodal["ROWS"][row].source, "gmacs": 1.0, "image_tokens": 49,
            "questions": count, "accuracy": total / count, "low": 0.1, "high": 0.9,
            "by_type": {name: {"questions": 40, "accuracy": n / 40} for name, n in right.items()},
            "rows": [n // 2 for n in range(count)],
            "types": [name for name in right for _ in range(40)],
            "scores": [float(k < n) for n in right.values() for k in range(40)],
            "answers": ["red"] * count, "most_frequent": [1.0, 0.0] * (count // 2),
            "questions_sha256": sha256, "stages": [{"last_loss": 0.5}], "score": "exact",
            "choices": "as listed",
        }  # fmt: skip
        run.path.write_text(json.dumps(one))

    return put


@pytest.fixture
def table(multimodal):
    def table():
        multimodal["write_summary"]()
        return case_studies.experiment("tables_1_8_9_multimodal")

    return table
