"""PROTOCOL.md and protocol.py say the same."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import feature_store
from feature_store import protocol
from feature_store.accepted_code import AcceptedCode
from feature_store.errors import StoreError

TEXT = (Path(feature_store.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")


def table(heading):
    """First column of the table under a heading."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_version():
    assert f"version {protocol.VERSION}" in TEXT.splitlines()[0]


def test_field_tables():
    names = [f.name for f in fields(protocol.CommitRecord)]
    assert table("Commit record") == [*names, "digest"]
    assert table("Root attributes") == list(protocol.ROOT_ATTRIBUTES)
    assert table("Source attributes") == list(protocol.SOURCE_ATTRIBUTES)
    assert table("Accepted code") == [f.name for f in fields(AcceptedCode)]


def test_status_values():
    for number, name in enumerate(protocol.STATUS):
        assert f"{number} {name}" in TEXT


def test_keys_are_where_the_text_says():
    assert protocol.record_key("g", 7) == "g/tokens/.commits/000007.json"
    assert protocol.claim_key("g", 7) == "g/tokens/.claims/000007.json"
    assert protocol.shard_key("g", "tokens", 7, 4) == "g/tokens/c.7.0.0.0"


def test_checksum_depends_on_values_and_order_only():
    a = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    b = a + 1
    assert protocol.checksum(a, b) == protocol.checksum(np.asfortranarray(a), b)
    assert protocol.checksum(a, b) == protocol.checksum(a.astype(">f2"), b)
    assert protocol.checksum(a, b) != protocol.checksum(b, a)


def test_differences_name_nested_fields():
    lines = protocol.differences({"a": 1, "t": {"x": 1}}, {"a": 1, "t": {"x": 2}, "n": 0})
    assert lines == ['n: stored "(absent)", now 0', "t.x: stored 1, now 2"]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"shard": 1}', b"\xff\xfe", b"null"])
def test_damaged_records_are_named(data):
    with pytest.raises(StoreError, match="commit record somewhere is damaged"):
        protocol.CommitRecord.from_json(data, "somewhere")


def test_fingerprint_depends_on_pixels_and_shape():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert protocol.fingerprint(pixels) == protocol.fingerprint(np.asfortranarray(pixels))
    assert protocol.fingerprint(pixels) != protocol.fingerprint(pixels.reshape(4, 2, 3))
    assert protocol.fingerprint(pixels) != protocol.fingerprint(pixels + 1)
    assert len(protocol.fingerprint(pixels)) == 16
