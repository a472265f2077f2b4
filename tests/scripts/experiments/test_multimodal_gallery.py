"""The gallery of easy-VQA, from hand-made results."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
from PIL import Image

from analyses import experiments
from analyses.experiments import multimodal as rules
from feature_store import InputError

S2 = rules.FINEST


@pytest.mark.skipif(find_spec("easy_vqa") is None, reason="install the extra: vlm")
def test_answers_are_drawn_for_the_page_of_table_1(multimodal, put, tmp_path, monkeypatch):
    study = multimodal["Study"](rows=(), score="likelihood", questions={"test": 40})
    monkeypatch.setitem(multimodal["gallery"].__globals__["STUDIES"], "easy-vqa", study)
    put("easy-vqa", "blind", {"colour": 5})
    put("easy-vqa", "Lite0", {"colour": 20})
    with pytest.raises(InputError, match="easy-vqa-Lite0-S2-seed0 is not run yet"):
        multimodal["gallery"]("easy-vqa", tmp_path)
    put("easy-vqa", "Lite0-S2", {"colour": 36})
    easy_vqa = multimodal["gallery"].__globals__["easy_vqa"]
    questions = multimodal["asked_of"].read([easy_vqa("test")], 40)
    for run in multimodal["results"]():
        run["questions_sha256"] = multimodal["asked_of"].sha256(questions)
        path = multimodal["Run"](study="easy-vqa", row=run["row"], seed=0).path.name
        (multimodal["summary"].__globals__["RESULTS"] / path).write_text(json.dumps(run))
    (drawn,) = multimodal["gallery"]("easy-vqa", tmp_path)
    assert Image.open(drawn).size[0] > 500
    assert list(experiments.films("table01")) == ["table01_easy-vqa_gallery.png"]
