"""What is read here is what transformers reads: the same bytes in every file."""

from __future__ import annotations

import numpy as np
import pytest

from feature_store import InputError
from workbench.vlm import language

pytest.importorskip("gguf", reason="install the extra: vlm")


def written(path, *, tied, lost=""):
    """A Llama of two blocks with quantised weights, four heads that share two keys."""
    import gguf
    from tokenizers import pre_tokenizers

    width, inner, keys = 32, 64, 16
    words = ["<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "he"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    for add, value in (
        (writer.add_context_length, 64), (writer.add_embedding_length, width),
        (writer.add_block_count, 2), (writer.add_feed_forward_length, inner),
        (writer.add_head_count, 4), (writer.add_head_count_kv, 2),
        (writer.add_layer_norm_rms_eps, 1e-5), (writer.add_rope_dimension_count, 8),
        (writer.add_rope_freq_base, 5000.0), (writer.add_tokenizer_model, "gpt2"),
        (writer.add_tokenizer_pre, "smollm"), (writer.add_token_list, words),
        (writer.add_token_types, [3, 3] + [1] * (len(words) - 2)),
        (writer.add_token_merges, ["h e"]), (writer.add_bos_token_id, 0),
        (writer.add_eos_token_id, 1),
    ):  # fmt: skip
        add(value)
    shapes = {"token_embd": (len(words), width), "output_norm": (width,)}
    shapes |= {} if tied else {"output": (len(words), width)}
    for block in range(2):
        own = {
            "attn_norm": (width,), "ffn_norm": (width,), "attn_q": (width, width),
            "attn_k": (keys, width), "attn_v": (keys, width), "attn_output": (width, width),
            "ffn_gate": (inner, width), "ffn_up": (inner, width), "ffn_down": (width, inner),
        }  # fmt: skip
        shapes |= {f"blk.{block}.{name}": shape for name, shape in own.items()}
    rng = np.random.default_rng(0)
    for number, (name, shape) in enumerate(shapes.items()):
        values = rng.normal(size=shape).astype(np.float32)
        kind = "F32" if len(shape) == 1 else ("Q4_1", "Q8_0", "F16")[number % 3]
        kind = gguf.GGMLQuantizationType[kind]
        if name != lost:
            writer.add_tensor(
                f"{name}.weight", gguf.quantize(values, kind), raw_dtype=kind
            )  # fmt: skip
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("tied", [True, False])
def test_every_file_has_the_bytes_of_transformers(tmp_path, tied):
    from workbench.vlm.gguf_file import unpack, unpack_any

    written(tmp_path / "tiny.gguf", tied=tied)
    here, there = tmp_path / "here", tmp_path / "there"
    unpack(tmp_path / "tiny.gguf", here)
    unpack_any(tmp_path / "tiny.gguf", there)
    files = sorted(path.name for path in there.iterdir())
    assert "model.safetensors" in files
    assert "tokenizer.json" in files
    assert sorted(path.name for path in here.iterdir()) == files
    for name in files:
        assert (here / name).read_bytes() == (there / name).read_bytes(), name


def test_transformers_reads_a_file_where_its_own_parts_have_moved(tmp_path, monkeypatch):
    from workbench.vlm import gguf_file

    def moved(*_):
        raise ImportError("cannot import name 'LlamaTensorProcessor'")

    written(tmp_path / "tiny.gguf", tied=True)
    gguf_file.unpack(tmp_path / "tiny.gguf", tmp_path / "here")
    monkeypatch.setattr(gguf_file, "unpack_llama", moved)
    gguf_file.unpack(tmp_path / "tiny.gguf", tmp_path / "there")
    one, other = (tmp_path / name / "model.safetensors" for name in ("here", "there"))
    assert one.read_bytes() == other.read_bytes()


def test_a_file_is_unpacked_once_and_a_broken_one_leaves_nothing(tmp_path):
    import torch

    path, cache, said = tmp_path / "tiny.gguf", tmp_path / "cache", []
    written(path, tied=True)
    for _ in range(2):
        found = language.load(f"gguf:{path}", cache, torch.float32, said.append)
    assert found.width == 32
    assert len(said) == 1
    written(path, tied=True, lost="blk.1.attn_k")
    with pytest.raises(InputError, match=r"tiny\.gguf .*layers\.1\.self_attn\.k_proj"):
        language.load(f"gguf:{path}", cache, torch.float32, said.append)
    written(path, tied=True)
    whole = path.read_bytes()
    lengths = (len(whole) - 100, len(whole) // 2, 3000, 100, 20, 6, 0)
    for damaged in (b"GGML" + whole[4:], *(whole[:length] for length in lengths)):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"tiny\.gguf"):
            language.load(f"gguf:{path}", cache, torch.float32, said.append)
    assert len(list(cache.iterdir())) == 1
