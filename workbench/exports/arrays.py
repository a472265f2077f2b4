"""Exports as arrays: NumPy's ``.npz`` and ``.safetensors``, written block by block."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from workbench.exports.content import Exported

_SAFE = {"float16": "F16", "float32": "F32", "int32": "I32", "uint8": "U8"}
"""NumPy's name of a dtype to that of safetensors."""


def write_npz(content: Exported, path: Path) -> None:
    """Arrays ``features``, ``image_id``, ``label``, ``label_names``, ``about`` (JSON as text).

    Also ``position`` if a subset of token positions is stored. ``numpy.load`` reads them.
    """
    facts = {
        "image_id": np.array(content.image_ids),
        "label": content.labels,
        "label_names": np.array(content.store.label_names, dtype=np.str_),
        "about": np.array(content.about_text()),
    }
    with zipfile.ZipFile(path, "w") as archive:
        _put(archive, "features", content.shape, content.dtype, content.blocks())
        for name, array in (facts | _position(content)).items():
            _put(archive, name, array.shape, array.dtype, [array])


def write_safetensors(content: Exported, path: Path) -> None:
    """Tensors ``features``, ``label`` and ``image_id``; :meth:`Exported.about` in the metadata.

    ``image_id`` is uint8, dims (image, byte): UTF-8 with zero bytes at the end, as safetensors
    holds no text. Also ``position`` if a subset of token positions is stored.
    """
    ids = [image_id.encode() for image_id in content.image_ids]
    width = max(map(len, ids))
    text = np.frombuffer(b"".join(i.ljust(width, b"\0") for i in ids), np.uint8)
    small = {"label": content.labels, "image_id": text.reshape(len(ids), width)}
    small |= _position(content)
    parts = [("features", content.shape, content.dtype)]
    parts += [(name, array.shape, array.dtype) for name, array in small.items()]
    header: dict[str, dict] = {"__metadata__": {"about": content.about_text()}}
    end = 0
    for name, shape, dtype in parts:
        start, end = end, end + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        header[name] = {
            "dtype": _SAFE[dtype.name], "shape": list(shape), "data_offsets": [start, end],
        }  # fmt: skip
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for block in _little(content.blocks()):
            file.write(block.data)
        for array in _little(small.values()):
            file.write(array.data)


def _put(
    archive: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    blocks: Iterable[np.ndarray],
) -> None:
    """One array as a member of an archive that numpy.load opens."""
    dtype = dtype.newbyteorder("<")
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape,
    }  # fmt: skip
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array_header_2_0(member, header)
        for block in blocks:
            member.write(np.ascontiguousarray(block, dtype).tobytes())


def _position(content: Exported) -> dict[str, np.ndarray]:
    found = content.positions()
    return {} if found is None else {"position": found}


def _little(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks with little-endian values."""
    for block in blocks:
        yield np.ascontiguousarray(block, block.dtype.newbyteorder("<"))
