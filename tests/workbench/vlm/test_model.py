"""Losses against transformers alone, and what a model's state holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from feature_store import InputError
from workbench.vlm.batches import split, totals
from workbench.vlm.config import VlmConfig
from workbench.vlm.layout import IGNORED, IMAGE, Writer, padded
from workbench.vlm.model import VisionLanguageModel
from workbench.vlm.questions import Question

GRID = (2, 2)


def built(language, stage="projector", **more):
    torch.manual_seed(0)
    config = VlmConfig(stage=stage, arithmetic="fp32", **more).resolved()
    return VisionLanguageModel(language, config, channels=3)


def texts(language):
    writer = Writer(language.tokenizer, 4)
    turns = [("a", "bc"), ("longer", "d"), ("e", "f")]
    asked = [Question(image="i", question=q, answer=a) for q, a in turns]
    return [writer.conversation(asked[:1]), writer.conversation(asked[1:])]


@pytest.mark.parametrize("stage", ["projector", "lora", "full"])
def test_losses_are_those_of_transformers_alone(language, stage):
    """One text at a time, without padding or scattering, every place scored."""
    model = built(language, stage).eval()
    tokens = torch.randn(2, *GRID, 3)
    found = model.losses(padded(texts(language)) | {"tokens": tokens})
    embed = model.causal.get_input_embeddings()
    for text, image, losses in zip(texts(language), tokens, found, strict=True):
        place = int(np.flatnonzero(text.ids == IMAGE)[0])
        words = torch.from_numpy(text.ids)
        parts = [embed(words[:place]), model.projector(image[None])[0], embed(words[place + 4 :])]
        logits = model.causal(inputs_embeds=torch.cat(parts)[None]).logits[0]
        labels = torch.from_numpy(text.labels)
        expected = cross_entropy(logits[:-1], labels[1:], reduction="none", ignore_index=IGNORED)
        torch.testing.assert_close(losses[: len(expected)], expected, atol=1e-5, rtol=1e-5)
        assert (losses[len(expected) :] == 0).all()


@pytest.mark.parametrize(
    ("stage", "trained"), [("projector", {"projector"}), ("lora", {"projector", "language"})]
)
def test_the_state_is_what_is_trained(language, stage, trained):
    model = built(language, stage)
    state = model.state_dict()
    assert {name.partition(".")[0] for name in state} == trained
    assert all("lora" in name for name in state if name.startswith("language"))
    with torch.no_grad():
        for _, parameter in model.trained():
            parameter.add_(1)
    model.load_state_dict(state)
    with pytest.raises(KeyError, match=r"projector\.last\.bias"):
        model.load_state_dict({k: v for k, v in state.items() if k != "projector.last.bias"})


def test_gradients_reach_the_projector_alone(language):
    model = built(language)
    model(padded(texts(language)) | {"tokens": torch.randn(2, *GRID, 3)}).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == {
        "projector.last.weight", "projector.last.bias",
    }  # fmt: skip


def test_fewer_conversations_in_memory_give_the_same_gradient(language):
    model = built(language, "lora")
    both = texts(language)
    batch = padded(both) | {"tokens": torch.randn(2, *GRID, 3)} | totals(both)
    gradients = []
    for together in (2, 1):
        model.zero_grad()
        parts = split(batch, together)
        losses = [model(part) / len(parts) for part in parts]
        sum(losses).backward()
        gradients.append([sum(losses).detach(), *(p.grad.clone() for _, p in model.trained())])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, parts)


def test_published_recipes():
    lora = VlmConfig(stage="lora", recipe="llava-1.5").resolved()
    assert (lora.rank, lora.learning_rate, lora.projector_rate) == (128, 2e-4, 2e-5)
    assert (lora.batch, lora.projector) == (128, "mlp2x_gelu")
    alignment = VlmConfig(recipe="llava-1.5", batch=4).resolved()
    assert (alignment.batch, alignment.learning_rate) == (4, 1e-3)
    assert VlmConfig(stage="full", recipe="llava-1.5").resolved().learning_rate == 2e-5


@pytest.mark.parametrize("stage", ["projector", "lora", "full"])
def test_published_conversations_have_any_number_of_turns(stage):
    assert VlmConfig(stage=stage).resolved().turns == 16
    published = VlmConfig(stage=stage, recipe="llava-1.5")
    assert published.resolved().turns is None
    assert replace(published, turns=16).resolved().turns == 16


def test_products_are_in_the_arithmetic_that_is_fast_on_the_device():
    found = [VlmConfig(device=device).resolved().arithmetic for device in ("cpu", "cuda:1")]
    assert found == ["fp32", "bf16"]
    assert VlmConfig(arithmetic="bf16").resolved().arithmetic == "bf16"


@pytest.mark.parametrize(
    ("stage", "option", "value", "named"),
    [
        ("projector", "rank", 8, "--rank is 8, .*--stage projector .*--stage lora$"),
        ("projector", "projector_rate", 0.1, "--projector-rate is 0.1, .*--stage lora or full$"),
        ("full", "rank", 8, "--rank is 8, .*--stage full .*--stage lora$"),
    ],
)
@pytest.mark.parametrize("recipe", ["small", "llava-1.5"])
def test_an_option_that_a_stage_does_not_use_is_refused(recipe, stage, option, value, named):
    """Those that a recipe records are not, and a record can be read again."""
    plain = VlmConfig(stage=stage, recipe=recipe).resolved()
    assert plain.resolved() == plain
    with pytest.raises(InputError, match=named):
        VlmConfig(stage=stage, recipe=recipe, **{option: value}).resolved()
    VlmConfig(stage="lora", recipe=recipe, **{option: value}).resolved()


def test_an_arithmetic_of_too_small_a_range_is_refused():
    with pytest.raises(InputError, match="fp16 .* bf16"):
        VlmConfig(arithmetic="fp16")


def test_a_part_that_the_stage_does_not_train_is_refused(language):
    adapters = built(language, "lora").state_dict()
    model = built(language, "full")
    with pytest.raises(InputError, match="--stage projector"):
        model.load_part(adapters)
    wide = {"projector.last.weight": torch.ones(32, 5)}
    with pytest.raises(InputError, match=r"trained 1 tensors .*projector\.last\.weight"):
        model.load_part(wide)
