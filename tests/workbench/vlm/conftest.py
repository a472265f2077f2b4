"""A language model of 40,000 random weights that spells, and stores of planted tokens."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

COLOURS = ("red", "green", "blue", "grey")


@pytest.fixture(scope="session")
def spelling():
    """A function from marks to a tokenizer with an id for each of them and for each letter."""
    pytest.importorskip("peft", reason="install the extra: vlm")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def make(*marks, **special):
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {word: number for number, word in enumerate([*marks, *letters])}
        found = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        found.decoder = decoders.ByteLevel()
        found.add_special_tokens(list(marks))
        return PreTrainedTokenizerFast(tokenizer_object=found, **special)

    return make


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, spelling):
    """Folder of a small Llama with a byte-level tokenizer, as ``hf:`` takes it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = spelling("<|im_start|>", "<|im_end|>", eos_token="<|im_end|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture
def loud(tiny, tmp_path):
    """The small language model with larger weights: what it says depends on what it is shown."""
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(tiny.removeprefix("hf:"), tmp_path / "loud")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10 if weight.ndim > 1 else 1)
    model.save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture
def language(tiny, tmp_path):
    """The small language model in memory."""
    from workbench.vlm.language import load

    return load(tiny, tmp_path, torch.float32, print)


@pytest.fixture
def planted(make_store):
    """A store whose tokens tell a colour, and the questions about it."""

    def make(name="train", count=24, seed=0, scales=1, tap="b"):
        from workbench.vlm.questions import Question

        colours = np.random.default_rng(seed).integers(len(COLOURS), size=count)
        tokens = 3 * np.eye(6)[colours][:, None, None].repeat(2, 1).repeat(2, 2)
        tokens = tokens + 0.1 * np.random.default_rng(seed + 1).normal(size=tokens.shape)
        arrays = {f"toy:a#{tap}@8": tokens.astype(np.float32)}
        if scales == 2:
            arrays[f"toy:a#{tap}@16"] = tokens[..., ::-1].astype(np.float32)
        store = make_store(name, arrays)
        questions = [
            Question(image=str(image), question="colour?", answer=COLOURS[c], choices=COLOURS)
            for image, c in zip(store.image_ids, colours, strict=True)
        ]
        return store, questions

    return make


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
