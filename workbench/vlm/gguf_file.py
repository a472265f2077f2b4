"""A GGUF file as safetensors and a tokenizer's files.

``transformers`` reads the file's vocabulary once for the tokenizer, once for the config and once
for the weights, word by word, and looks up the names of tensors anew for every module: 40 s for a
model of 135 million parameters. Llama's form, the most common one, is read here in a tenth of that,
with the same tables of names and the same rules; a test compares the results. Other forms go
through ``transformers``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

LLAMA = "llama"
"""The architecture that is read here."""


def unpack(path: Path, folder: Path) -> None:
    """Write the weights of a GGUF file in float32, and its tokenizer, to an existing folder.

    Raises
    ------
    OSError, ValueError, KeyError, IndexError, OverflowError, struct.error
        The file cannot be read.
    """
    try:
        from transformers.integrations.gguf import read_gguf_metadata

        metadata, names = read_gguf_metadata(str(path))
        name = str(metadata.get("general.name", "")).lower()
        if metadata["general.architecture"] == LLAMA and "mistral" not in name:
            return unpack_llama(path, folder, metadata, names)
    except ImportError:  # a version of transformers that has moved what is used here
        pass
    unpack_any(path, folder)


def unpack_any(path: Path, folder: Path) -> None:
    """As :func:`unpack`, by ``transformers`` alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"gguf_file": path.name}
    AutoTokenizer.from_pretrained(path.parent, **where).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **where)
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    _save(config, model.state_dict(), folder)


def unpack_llama(
    path: Path, folder: Path, metadata: dict[str, Any], names: tuple[str, ...]
) -> None:
    """As :func:`unpack`, of a model in Llama's form.

    `metadata` lacks the vocabulary; `names` are those of the tensors.
    """
    import gguf
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
    from transformers.integrations.gguf import GgufHeader
    from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

    vocabulary = PreTrainedTokenizerFast.from_pretrained(path.parent, gguf_file=path.name)
    vocabulary.save_pretrained(folder)
    options = _config(metadata) | {"tie_word_embeddings": "output.weight" not in names}
    options.setdefault("vocab_size", metadata["tokenizer.ggml.tokens"])  # their number
    config = AutoConfig.for_model(**options)
    with torch.device("meta"):
        wanted = AutoModelForCausalLM.from_config(config).state_dict()
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    header = GgufHeader.from_file(str(path))
    stored = {info.name: info for info in header.tensors}
    content, processor = np.memmap(path, np.uint8, "r"), LlamaTensorProcessor(options)
    tensors = {}
    for name in wanted:
        stem, _, suffix = name.rpartition(".")
        info = stored.get(f"{table.get_name(stem)}.{suffix}")
        if info is not None:
            start = header.data_start + info.offset
            rows = np.array(content[start : start + info.nbytes]).reshape(*info.shape[:-1], -1)
            values = gguf.dequantize(rows, gguf.GGMLQuantizationType(info.ggml_type))
            values = processor.process(values, info.name).weights
            tensors[name] = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    _save(config, tensors, folder)


def _config(metadata: dict[str, Any]) -> dict[str, Any]:
    """A file's metadata under the names of ``transformers``."""
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

    names: Any = GGUF_CONFIG_MAPPING
    found: dict[str, Any] = {}
    for key, value in metadata.items():
        group, _, rest = key.partition(".")
        if name := names.get(group, {}).get(rest):
            found[name] = value
    return found


def _save(config: Any, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()
    if lost := [name for name, value in model.named_parameters() if value.is_meta]:
        raise ValueError(f"the file lacks {lost[0]}")
    model.save_pretrained(folder)
