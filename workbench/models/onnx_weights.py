"""The backbone of a DINOv2-shaped vision transformer inside an ONNX file, under timm's names.

An ONNX file is a protobuf message. Only its weights are read (fields of
``ModelProto.graph.initializer``), and the names of the nodes that multiply by them; nothing of it
is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from feature_store.errors import InputError

GRAPH, NODE, INITIALIZER = 7, 1, 5
"""Fields of ModelProto and GraphProto."""
FLOAT = 1
"""TensorProto.data_type of float32."""
PARTS = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.output.dense": "attn.proj",
    "layer_scale1": "ls1",
    "layer_scale2": "ls2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
"""Part of a block in the file → in timm."""
_BLOCK = re.compile(r"backbone\.encoder\.layer\.(\d+)\.(.+)\.(weight|bias|lambda1)")


def load(module: torch.nn.Module, path: Path, name: str) -> None:
    """Copy the backbone's tensors into a timm vision transformer, at the module's grid.

    Position embeddings are resampled from the stored 37 x 37 grid as the file's own graph does:
    bicubic, without antialias.

    Raises
    ------
    InputError
        Not such a file, or its tensors do not fit the module.
    """
    try:
        stored = read(path)
        state = timm_names(stored, grid=module.patch_embed.grid_size)  # type: ignore[union-attr, arg-type]
        module.load_state_dict(state, strict=True)
    except (IndexError, KeyError, RuntimeError, StopIteration, ValueError) as error:
        raise InputError(f"{name}: {path} cannot be read as its weights ({error})") from error


def timm_names(stored: dict[str, torch.Tensor], grid: tuple[int, int]) -> dict[str, torch.Tensor]:
    """timm's state dict of the stored tensors."""
    patch = "backbone.embeddings.patch_embeddings.projection"
    first, positions = (
        next(v for k, v in stored.items() if k.startswith(f"onnx::{op}")) for op in _POSITIONS
    )
    side = int(positions.shape[1] ** 0.5)
    maps = positions.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, size=grid, mode="bicubic", align_corners=False)
    state = {
        "cls_token": stored["backbone.embeddings.cls_token"],
        "pos_embed": torch.cat([first, maps.flatten(2).transpose(1, 2)], dim=1),
        "patch_embed.proj.weight": stored[f"{patch}.weight"],
        "patch_embed.proj.bias": stored[f"{patch}.bias"],
        "norm.weight": stored["backbone.layernorm.weight"],
        "norm.bias": stored["backbone.layernorm.bias"],
    }
    joined: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in stored.items():
        block = _BLOCK.fullmatch(key)
        if block is None:
            continue
        number, part, kind = block.groups()
        if part.startswith("attention.attention."):
            joined.setdefault(f"blocks.{number}.attn.qkv.{kind}", {})[part.split(".")[-1]] = value
        else:
            kind = "gamma" if kind == "lambda1" else kind
            state[f"blocks.{number}.{PARTS[part]}.{kind}"] = value
    for key, sides in joined.items():
        state[key] = torch.cat([sides[side] for side in ("query", "key", "value")])
    return state


_POSITIONS = ("Concat", "Reshape")
"""Operations whose anonymous inputs are the class token's position and those of the patches."""


def read(path: Path) -> dict[str, torch.Tensor]:
    """Name → float32 tensor. Anonymous matrices are named after the layer that multiplies by them
    and transposed, as ``Linear.weight`` is stored."""
    data = memoryview(path.read_bytes())
    graph = next(value for field, value in _fields(data) if field == GRAPH)
    entries = list(_fields(graph))
    tensors = dict(_tensor(value) for field, value in entries if field == INITIALIZER)
    for field, value in entries:
        inputs, outputs, operation = _node(value) if field == NODE else ([], [], "")
        if operation == "MatMul" and inputs[1] in tensors:
            layer = outputs[0].removeprefix("/").removesuffix("/MatMul_output_0")
            tensors[f"{layer.replace('/', '.')}.weight"] = tensors.pop(inputs[1]).T.contiguous()
    return tensors


def _tensor(message: memoryview) -> tuple[str, torch.Tensor]:
    dims: list[int] = []
    name, raw, kind = "", b"", 0
    for field, value in _fields(message):
        if field == 1:
            dims += [value] if isinstance(value, int) else _varints(value)
        elif field == 2:
            kind = value
        elif field == 8:
            name = bytes(value).decode()
        elif field == 9:
            raw = bytes(value)
    if kind != FLOAT or not raw:
        return name, torch.empty(0)
    return name, torch.from_numpy(np.frombuffer(raw, "<f4").reshape(dims).copy())


def _node(message: memoryview) -> tuple[list[str], list[str], str]:
    """Inputs, outputs and operation: fields of NodeProto."""
    found: dict[int, list[str]] = {1: [], 2: [], 4: [""]}
    for field, value in _fields(message):
        if field in found:
            found[field].append(bytes(value).decode())
    return found[1], found[2], found[4][-1]


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """(field number, value) of a protobuf message: int, or bytes of strings and messages."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            if kind != 2:
                raise ValueError(f"not a protobuf message: wire type {kind}")
            size, at = _varint(message, at)
        yield key >> 3, message[at : at + size]
        at += size


def _varints(packed: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        found.append(value)
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
