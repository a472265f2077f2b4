"""What the paper's trainings take: by hand, and against the tensors that autograd saves."""

from __future__ import annotations

import pytest
import torch

from feature_store.errors import InputError
from workbench.vlm.config import VlmConfig
from workbench.vlm.paper import ACTIVATIONS, EXAMPLES, LANGUAGE, encoding, needs, read

ENCODER = "timm:test_vit:64#block:4"
WIDTH, INNER, TOKENS = 256, 688, 96
"""Of a small model in Llama's proportions; no weight has as many rows as there are tokens."""


def config(size="7b", **changes):
    fields = {"recipe": "llava-1.5", "stage": "lora", "together": 2, "device": "cuda"}
    return VlmConfig(llm=f"hf:lmsys/vicuna-{size}-v1.5", **{**fields, **changes})


def test_sizes_of_the_language_models():
    seven, thirteen = LANGUAGE.values()
    assert seven.params == pytest.approx(6.74e9, rel=0.01)
    assert thirteen.params == pytest.approx(13.0e9, rel=0.01)
    assert seven.adapters(128) == pytest.approx(320e6, rel=0.01)  # as peft counts them


def saved(stage, layers):
    """Bytes that a model saves for its backward pass, without those of its weights."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=layers, vocab_size=32,
        num_attention_heads=2, num_key_value_heads=2,
    )  # fmt: skip
    model = LlamaForCausalLM(shape).to(torch.float32 if stage == "full" else torch.bfloat16)
    model.requires_grad_(stage == "full")
    if stage == "lora":
        model = get_peft_model(
            model, LoraConfig(r=WIDTH // 32, lora_dropout=0.05, target_modules="all-linear")
        ).get_base_model()
    rows = {side for weight in model.parameters() for side in weight.shape}
    found = {}

    def pack(tensor):
        if TOKENS in tensor.shape:
            found[tensor.untyped_storage().data_ptr()] = tensor  # kept, so that no place is reused
        return tensor

    assert TOKENS not in rows
    embedded = torch.zeros(1, TOKENS, WIDTH, dtype=model.dtype, requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        model.train().base_model(inputs_embeds=embedded)
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("stage", list(ACTIVATIONS))
def test_activations_are_what_autograd_saves(stage, monkeypatch):
    pytest.importorskip("peft", reason="install the extra: vlm")

    def fused(values, p, training, inplace):
        """Dropout as on a GPU, where its mask takes one byte per value."""
        return torch.native_dropout(values, p, training)[0]

    monkeypatch.setattr(torch.nn.functional, "dropout", fused)
    two_more = saved(stage, 3) - saved(stage, 1)
    assert two_more / 2 / (TOKENS * WIDTH) == pytest.approx(ACTIVATIONS[stage], abs=0.6)


def test_options_of_the_second_stage_do_not_hold_for_the_first():
    found = needs(f"{ENCODER}@64", config(rank=64, projector_rate=1e-5))
    assert found["projector_trained"] == needs(f"{ENCODER}@64", config())["projector_trained"]


def test_a_recipe_with_another_option_is_named(tmp_path):
    path = tmp_path / "table1.txt"
    path.write_text(f"--source {ENCODER}@64 --recipe llava-1.5 --seed 1")
    with pytest.raises(InputError, match=r"table1\.txt: .*--seed"):
        read(path)


def test_memory_by_hand():
    found = needs(f"{ENCODER}@64+128", config())
    seven = LANGUAGE["hf:lmsys/vicuna-7b-v1.5"]
    projector = (2 * 64 + 1) * 4096 + (4096 + 1) * 4096
    assert found["channels"] == 2 * 64
    assert found["trained"] == projector + seven.adapters(128)
    assert found["weights_gb"] == pytest.approx((2 * seven.params + 6 * found["trained"]) / 1e9)
    assert found["gradients_gb"] == pytest.approx(4 * found["trained"] / 1e9)
    assert found["optimizer_gb"] == pytest.approx(8 * found["trained"] / 1e9)
    assert found["activations_gb"] == pytest.approx(2 * 2048 * 32 * 4096 * 59 / 1e9)
    parts = ("weights", "gradients", "optimizer", "activations")
    assert found["peak_gb"] == pytest.approx(sum(found[f"{part}_gb"] for part in parts))
    assert found["projector_trained"] == projector
    alone = 2 * seven.params + (6 + 4 + 8) * projector + 2 * 2048 * 32 * 4096 * 32
    assert found["projector_peak_gb"] == pytest.approx(alone / 1e9)
    assert found["once_tb"] == pytest.approx(EXAMPLES * 2 * (4 * 4 + 1) * 64 * 2 / 1e12)
    shorter = needs(f"{ENCODER}@64+128", config(length=1024, together=1))
    assert shorter["activations_gb"] == pytest.approx(found["activations_gb"] / 4)


@pytest.mark.parametrize(
    ("size", "stage", "together", "gpu"),
    [
        ("7b", "lora", 3, 80), ("7b", "lora", 4, 141), ("13b", "lora", 1, 80),
        ("13b", "lora", 2, 141), ("13b", "projector", 2, 80), ("7b", "full", 1, 180),
        ("13b", "full", 1, None),
    ],
)  # fmt: skip
def test_the_smallest_gpu_that_holds_it(size, stage, together, gpu):
    found = needs(f"{ENCODER}@64", config(size, stage=stage, together=together))
    assert found["gpu_gb"] == gpu


def test_a_scale_of_several_trainings_is_encoded_once():
    single, both = f"{ENCODER}@64", f"{ENCODER}@64+128"
    each = [needs(name, config())["every_step_gpu_hours"] for name in (single, both)]
    (found,) = encoding([single, both, both])
    assert (found["encoder"], found["scales"], found["trainings"]) == (ENCODER, "64+128", 3)
    assert found["once_gpu_hours"] == pytest.approx(each[1])
    assert found["every_step_gpu_hours"] == pytest.approx(each[0] + 2 * each[1])
    assert each[1] == pytest.approx(5 * each[0])
    stored = (4 * 4 + 1) * 64 * 2  # of each scale, in float16: the base grid and a class token
    assert found["once_tb"] == pytest.approx(EXAMPLES * 2 * stored / 1e12)


def test_a_language_model_of_unknown_size_is_refused():
    with pytest.raises(InputError, match=r"hf:other.*vicuna-7b"):
        needs(f"{ENCODER}@64", VlmConfig(llm="hf:other"))
