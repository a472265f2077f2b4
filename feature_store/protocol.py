"""The on-disk protocol as code: names, versions, commit records, checksums, identity.

PROTOCOL.md in this folder is the normative text; ``tests/feature_store/test_protocol.py`` keeps
the two in agreement.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import xxhash

from feature_store.errors import StoreError

VERSION = 2
"""Version of new stores; stores of version 1 are read, and `workbench upgrade` completes them."""
MANIFEST_VERSION = 1
"""``protocol_version`` in manifests: how a source's values are encoded, as since version 1."""
COMMITS = ".commits"
CLAIMS = ".claims"
STATUS = ("pending", "ok", "decode_failed")
"""States of an image; the index of a state is its number in the ``status`` array."""

ROOT_ATTRIBUTES = (
    "protocol_version",
    "dataset",
    "image_count",
    "image_ids_sha256",
    "labels_sha256",
    "label_names",
    "shard_images",
    "dataset_path",
    "documents",
    "seal",
)
"""Attributes of the root group, all required."""

SOURCE_ATTRIBUTES = ("manifest", "identity", "arrays", "created", "documents", "seal")
"""Attributes of a source group, all required."""

SINCE_VERSION_2 = ("dataset_path", "documents", "seal")
"""Attributes that stores of version 1 do not have."""


@dataclass(frozen=True, kw_only=True)
class CommitRecord:
    """Record of one committed shard of one source: a JSON object beside the data."""

    shard: int
    """Shard number, from 0."""
    start: int
    """First image row."""
    stop: int
    """One past the last image row."""
    identity: str
    """Identity of the source that the shard belongs to."""
    checksum: str
    """xxh3-128, in hex, of the rows' decoded values in C order: tokens, prefix, position."""
    failed: dict[str, str] = field(default_factory=dict)
    """Row number (as text) to reason, for images without features; their values are NaN."""
    nonfinite_channels: list[int] = field(default_factory=list)
    """Channels with a non-finite value among good rows; always empty: such a shard is refused."""
    max_abs: float
    """Largest absolute value among good rows, before the cast to the stored dtype."""
    square_sum: float
    """Sum of squares of the good rows before the cast."""
    square_error: float
    """Sum of squared rounding errors of the cast to the stored dtype."""
    writer: str
    """Host name and process number."""
    written: str
    """UTC time, ISO 8601."""
    image_ids_sha256: str = ""
    """Over the rows' ids, as in the root; empty in records of version 1."""
    fingerprints: list[str] = field(default_factory=list)
    """One per row: :func:`fingerprint` of its image; empty text for an image that could not be
    read or whose pixels the writer did not have."""
    files: list[list[int] | None] | None = None
    """One [bytes, modification time in ns] per row, None for a row whose file was not looked at;
    None if the dataset has no files."""

    def to_json(self) -> bytes:
        """UTF-8 JSON with a digest of the rest; inverse: :meth:`from_json`."""
        content = asdict(self)
        return json.dumps(
            content | {"digest": identity(content)}, indent=1, sort_keys=True
        ).encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> CommitRecord:
        """Read a record.

        Raises
        ------
        StoreError
            The data are not JSON, have other fields, or do not match their digest.
        """
        try:
            found = json.loads(data)
            digest = found.pop("digest", None) if isinstance(found, dict) else None
            if not isinstance(found, dict) or set(found) not in (
                _RECORD_FIELDS,
                _RECORD_FIELDS - RECORD_FIELDS_SINCE_VERSION_2,
            ):
                raise ValueError(f"fields differ from those of protocol versions 1 and {VERSION}")
            if identity(found) != digest:
                raise ValueError("its digest does not match its content")
            record = cls(**found)
            record.failed_rows()
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise StoreError(f"commit record {where} is damaged ({error})") from error
        return record

    def failed_rows(self) -> dict[int, str]:
        """Row number to reason."""
        return {int(row): reason for row, reason in self.failed.items()}


RECORD_FIELDS_SINCE_VERSION_2 = {"image_ids_sha256", "fingerprints", "files"}
"""Fields that the records of stores of version 1 do not have."""
_RECORD_FIELDS = {f.name for f in fields(CommitRecord)}


def record_key(group: str, shard: int) -> str:
    """Key of a shard's commit record.

    It lies under the ``tokens`` array: zarr warns about members of a group that are not nodes, but
    does not list the contents of an array.
    """
    return f"{group}/tokens/{COMMITS}/{shard:06d}.json"


def claim_key(group: str, shard: int | None = None) -> str:
    """Key of a process's claim on a shard, or on the metadata of the source."""
    name = "source" if shard is None else f"{shard:06d}"
    return f"{group}/tokens/{CLAIMS}/{name}.json"


def shard_key(group: str, array: str, shard: int, ndim: int) -> str:
    """Key of a shard's object: the chunk at (shard, 0, 0, ...)."""
    return f"{group}/{array}/c.{'.'.join([str(shard)] + ['0'] * (ndim - 1))}"


def checksum(*arrays: np.ndarray) -> str:
    """xxh3-128 in hex of the arrays' values in C order, one after the other.

    Little-endian on every machine; about memory speed (13 GB/s on one core of a server CPU).
    """
    digest = xxhash.xxh3_128()
    for array in arrays:
        values = np.ascontiguousarray(array)
        if values.dtype.byteorder == ">":
            values = values.astype(values.dtype.newbyteorder("<"))
        if values.size:
            digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def identity(manifest: Mapping[str, Any]) -> str:
    """sha256 in hex over the manifest as canonical JSON (sorted keys, no spaces)."""
    return hashlib.sha256(_CANONICAL.encode(dict(manifest)).encode()).hexdigest()


def seal(attrs: Mapping[str, Any]) -> str:
    """sha256 in hex over all attributes but ``seal``, as canonical JSON."""
    return identity({name: value for name, value in attrs.items() if name != "seal"})


def fingerprint(pixels: np.ndarray) -> str:
    """xxh3-64 in hex of an image's decoded RGB pixels, before any resizing, and their shape.

    Pixels are uint8, dims (row, col, 3).
    """
    digest = xxhash.xxh3_64(np.array(pixels.shape, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(pixels).reshape(-1).data)
    return digest.hexdigest()


def ids_sha256(image_ids: Any) -> str:
    """sha256 in hex over the ordered ids, each followed by a zero byte."""
    digest = hashlib.sha256()
    for image_id in image_ids:
        digest.update(str(image_id).encode() + b"\0")
    return digest.hexdigest()


def labels_sha256(labels: np.ndarray) -> str:
    """sha256 in hex over the labels as little-endian int32."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i4").tobytes()).hexdigest()


def now() -> str:
    """UTC time, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def differences(stored: dict[str, Any], wanted: dict[str, Any], prefix: str = "") -> list[str]:
    """One line per manifest field that differs: ``field: stored ... , now ...``."""
    lines = []
    for key in sorted(set(stored) | set(wanted)):
        old, new = stored.get(key, "(absent)"), wanted.get(key, "(absent)")
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: stored {json.dumps(old)}, now {json.dumps(new)}")
    return lines
