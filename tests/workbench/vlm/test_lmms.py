"""The adapter's answers to the engine's requests are those of ``workbench vlm eval``."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from feature_store import InputError
from workbench.datasets import Decoding
from workbench.vlm import lmms
from workbench.vlm.config import VlmConfig
from workbench.vlm.evaluate import evaluate
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.fit import fit
from workbench.vlm.run import Run

ONE = "toy:a#b@8"


class FakeTower:
    """Tokens of the planted store; an image's shade is its row."""

    def __init__(self, *arguments):
        self.store, self.calls = None, []

    def __call__(self, names, read):
        rows = [Image.open(lmms.io.BytesIO(read(name))).getpixel((0, 0))[0] for name in names]
        self.calls.append(len(names))
        return torch.from_numpy(self.store.features(ONE).values[rows])


@pytest.fixture
def asked(planted, tiny, tmp_path, monkeypatch):
    store, questions = planted("train", count=12)
    options = VlmConfig(llm=tiny, arithmetic="fp32", batch=4, epochs=3, learning_rate=0.02)
    fit(store, ONE, questions, options, seed=0, folder=tmp_path / "run", log=print)
    monkeypatch.setattr(lmms, "Encoder", FakeTower)
    monkeypatch.setattr(lmms, "IMAGES", 5)
    model = lmms.Answering(run=str(tmp_path / "run"), batch_size="4", dtype="unused")
    model._encoder.store = store
    model.task_dict = {"t": {"test": list(range(12))}}

    def expected():
        run = Run.open(tmp_path / "run")
        config = EvaluationConfig(new_tokens=5)
        return evaluate(run, *run.model("cpu", print), store, questions, config)[2]

    return model, questions, expected


def images(row):
    return [Image.fromarray(np.full((4, 4, 3), row, np.uint8))]


def test_generated_answers_are_those_of_the_evaluation(asked):
    model, questions, expected = asked
    texts, options = (f"<image>\n{q.question}" for q in questions), {"max_new_tokens": 5}
    requests = [
        SimpleNamespace(args=(text, dict(options), images, n, "t", "test"))
        for n, text in enumerate(texts)
    ]
    assert model.generate_until(requests) == expected()
    assert model._encoder.calls == [5, 5, 2]
    requests[0].args[1]["until"] = [expected()[0][1:2], "\n\n"]
    assert model.generate_until(requests[:1]) == [expected()[0][:1]]


def test_what_a_run_cannot_answer_is_refused(asked):
    model = asked[0]
    none = SimpleNamespace(args=("?", {}, lambda row: [], 3, "t", "test"))
    with pytest.raises(InputError, match="document 3 of t has no image"):
        model.generate_until([none])
    long = SimpleNamespace(args=("?", {"max_new_tokens": 2040}, images, 3, "t", "test"))
    with pytest.raises(InputError, match="document 3 of t has .*max_new_tokens is 2040"):
        model.generate_until([long])
    with pytest.raises(InputError, match="single questions"):
        model.generate_until_multi_round([])
    with pytest.raises(InputError, match="generate_until, .*--score likelihood"):
        model.loglikelihood([])


def test_images_of_one_document_are_pasted_side_by_side(asked, capsys):
    model = asked[0]

    def several(row):
        shapes = {40: (20, 30), 80: (80, 20), 120: (40, 10)}
        return [Image.fromarray(np.full((*s, 3), c, np.uint8)) for c, s in shapes.items()]

    requests = [SimpleNamespace(args=("?", {}, several, n, "t", "test")) for n in (3, 4)]
    whole = Image.open(lmms.io.BytesIO(model._image(requests[0])))
    height = (2600 / (1.5 + 0.25 + 0.25)) ** 0.5
    assert whole.size == (round(1.5 * height) + 2 * round(height / 4), round(height))
    shades = np.asarray(whole)[int(height) // 2, :, 0].tolist()
    assert list(dict.fromkeys(shades)) == [40, 80, 120]
    assert model._image(requests[1]) == model._image(requests[0])
    (line,) = capsys.readouterr().err.splitlines()
    assert "document 3 of t has 3 images" in line


def test_images_are_turned_as_those_of_the_training(asked, tmp_path):
    model = asked[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.png", exif=exif)
    request = SimpleNamespace(
        args=("?", {}, lambda row: [Image.open(tmp_path / "turned.png")], 0, "t", "test")
    )
    for orientation, size in (("ignore", (8, 4)), ("exif", (4, 8))):
        model._decoding = Decoding(orientation=orientation)
        assert Image.open(lmms.io.BytesIO(model._image(request))).size == size


def test_the_batch_is_a_number_or_auto(asked, tmp_path):
    for given, size in (("auto", 1), ("auto:4", 1), (3, 3)):
        assert lmms.Answering(run=str(tmp_path / "run"), batch_size=given)._batch == size
    for given in ("many", 0, "-1"):
        with pytest.raises(InputError, match=f"batch_size is .*{given}.*auto"):
            lmms.Answering(run=str(tmp_path / "run"), batch_size=given)


def test_the_engine_finds_the_model_by_the_entry_point():
    pytest.importorskip("lmms_eval")
    assert lmms.manifest().simple_class_path == "workbench.vlm.lmms.Model"
    assert issubclass(lmms.Model, lmms.Answering)
