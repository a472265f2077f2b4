"""Folders of language models: other weights are noticed, damaged ones are named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from feature_store import InputError
from workbench.vlm import language
from workbench.vlm.language import load


@pytest.fixture
def copied(tiny, tmp_path):
    return Path(shutil.copytree(tiny.removeprefix("hf:"), tmp_path / "model"))


def loaded(folder):
    return load(f"hf:{folder}", folder.parent, torch.float32, print)


def test_other_weights_in_a_folder_have_another_hash(copied):
    first = loaded(copied)
    assert loaded(copied).weights == first.weights
    with torch.no_grad():
        next(first.model.parameters()).add_(0.5)
    first.model.save_pretrained(copied)
    assert loaded(copied).weights != first.weights


def test_damaged_files_are_named(copied):
    weights = copied / "model.safetensors"
    whole = weights.read_bytes()
    for content in (b"", whole[:6], whole[:100], whole[:-100], b"x" * 200):
        weights.write_bytes(content)
        with pytest.raises(InputError, match="cannot be loaded"):
            loaded(copied)
    weights.unlink()
    for content in (b"", b"x" * 200):
        (copied / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(InputError, match="cannot be loaded"):
            loaded(copied)
    (copied / "pytorch_model.bin").unlink()
    weights.write_bytes(whole)
    (copied / "tokenizer.json").write_text('{"model"')
    with pytest.raises(InputError, match="cannot be loaded"):
        loaded(copied)


@pytest.mark.parametrize(
    ("error", "packages"),
    [
        (
            ImportError("\nT requires the SentencePiece library but\nit was not found"),
            "sentencepiece",
        ),
        (ImportError("requires the protobuf library"), "protobuf"),
        (ValueError("`tiktoken` is required to read a `tiktoken` file."), "sentencepiece tiktoken"),
        (ModuleNotFoundError("No module named 'google'", name="google.protobuf"), "protobuf"),
        (ModuleNotFoundError("No module named 'fugashi'", name="fugashi"), "fugashi"),
        (ImportError("cannot import name 'x'"), None),
    ],
)
def test_a_package_that_a_tokenizer_needs_is_named(tiny, tmp_path, monkeypatch, error, packages):
    def refuse(*arguments, **options):
        raise error

    present = {"transformers", "peft", "accelerate", "gguf"}
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", refuse)
    monkeypatch.setattr(language, "find_spec", lambda name: name if name in present else None)
    with pytest.raises(InputError) as refused:
        load(tiny, tmp_path, torch.float32, print)
    (line,) = str(refused.value).splitlines()
    assert " ".join(str(error).split()) in line
    assert line.partition("pip install ")[2] == (packages or "")


@pytest.mark.parametrize("name", ["final_logit_softcapping", "logit_scale", "logits_scaling"])
def test_scores_that_a_model_scales_are_refused(copied, name):
    path = copied / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: 30.0}))
    with pytest.raises(InputError, match=f"{name}, which is not supported"):
        loaded(copied)


def test_another_file_than_the_bundled_one_is_refused_with_both_hashes(tmp_path, monkeypatch):
    (name, bundled), path = next(iter(language.BUNDLED.items())), tmp_path / "other.gguf"
    path.write_bytes(b"other")
    monkeypatch.setattr(language, "bundled_path", lambda name: path)
    monkeypatch.setitem(language.BUNDLED, name, replace(bundled, sha256="0" * 64))
    found = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
    with pytest.raises(InputError, match=f"{found}, expected {'0' * 64}; .*{bundled.requirement}"):
        load(f"bundled:{name}", tmp_path, torch.float32, print)
    assert [path] == list(tmp_path.iterdir())
