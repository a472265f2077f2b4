"""Colours read from the token under a shape, from planted tokens."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from analyses.experiments import multimodal as rules
from workbench.vlm.question import Question

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/object_tokens.py"
COUNTS = {"train": 400, "test": 40}


@pytest.fixture
def script(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    found = runpy.run_path(str(SCRIPT))
    monkeypatch.setitem(found["Run"].path.fget.__globals__, "TOKENS", tmp_path)
    return found


@pytest.mark.parametrize("grid", [(7, 7), (5, 9)])
def test_a_colour_is_read_from_the_token_under_the_shape(script, monkeypatch, grid):
    objects, study = script["small_objects"], script["STUDIES"][rules.STUDIES[0]]
    colours, random = list(objects.COLOURS), np.random.default_rng(0)

    def stored(name, row, part, data, stores):
        scenes = objects.scenes(part, COUNTS[part], study.sizes, study.shapes)
        maps = random.normal(size=(len(scenes), *grid, 330)).astype(np.float32)
        for scene, one in zip(scenes, maps, strict=True):
            x, y = scene["places"][0]
            token = one[y * grid[0] // rules.SIDE, x * grid[1] // rules.SIDE]
            token[colours.index(scene["colours"][0])] += 30
        names = [f"{part}/{n}.jpg" for n in range(len(scenes))]
        questions = [
            Question(image=image, question="?", answer=answer, type=kind)
            for image, scene in zip(names, scenes, strict=True)
            for kind, answer in (("spatial 8", "left"), ("attribute 8", scene["colours"][0]))
        ]
        return SimpleNamespace(image_ids=names, maps=torch.from_numpy(maps)), questions

    class Planted:
        def __init__(self, store, source):
            self.store, self.grid = store, grid

        def __call__(self, rows):
            return self.store.maps[rows]

    monkeypatch.setitem(script["side"].__globals__, "stored", stored)
    monkeypatch.setitem(script["side"].__globals__, "open_vision", Planted)
    run = script["Run"](study=rules.STUDIES[0], row="Lite0")
    found = script["measured"](run, None, None)
    under, few, mean = (np.mean(hits) for hits in found["hits"].values())
    assert (under, few) == (1, pytest.approx(1, abs=0.2))
    assert mean < 0.9
    assert found["sizes"][:4] == [512, 256, 128, 64]
    assert found["channels"] == 330
    results = script["write_summary"].__globals__
    monkeypatch.setitem(results, "TOKENS", run.path.parent)
    for row in ("Lite0", "Lite2"):
        found |= {"row": row}
        path = script["Run"](study=run.study, row=row).path
        path.write_text(json.dumps(found))
    table = results["tokens_frame"](run.study)
    assert table["row"].tolist() == ["Lite0", "Lite2"] * 3
    assert table["all (%)"][0] == table["512 (%)"][0] == 100
    assert table["minus Lite0"].tolist() == ["", "+0.0 [+0.0, +0.0], p 1"] * 3
