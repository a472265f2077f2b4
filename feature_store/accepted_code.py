"""Whether shards may be added to a stored source: equal identity, or other code that was accepted.

Code is accepted once it has recomputed a committed shard with the stored values as result. Manifest
and identity do not change; the source's attribute ``accepted_code`` lists the code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from feature_store import protocol
from feature_store.documents import put_attributes
from feature_store.errors import StoreError
from feature_store.stored_source import StoredSource, read_source

ATTRIBUTE = "accepted_code"
"""Attribute of a source group: a list of :class:`AcceptedCode`, absent if it is empty."""
CODE_FIELDS = ("code_sha256", "libraries", "decoder")
"""Manifest fields that identify the code that computed the values, its libraries and decoder."""


@dataclass(frozen=True, kw_only=True)
class AcceptedCode:
    """Code that reproduced the stored values of a committed shard."""

    code_sha256: str
    """sha256 of the code that computes features."""
    libraries: dict[str, str]
    """Versions of the libraries it ran with."""
    decoder: str
    """How it decodes images."""
    shard: int
    """Shard that was recomputed."""
    largest_difference: float
    """Largest absolute difference from the stored values; 0 if they are equal."""
    accepted: str
    """UTC time, ISO 8601."""


def differs_in_code_only(stored: StoredSource, manifest: dict[str, Any]) -> bool:
    """Whether a manifest has another identity only because of its code, libraries or decoder."""
    code = {name: stored.manifest[name] for name in CODE_FIELDS if name in stored.manifest}
    return protocol.identity(manifest) != stored.identity == protocol.identity(manifest | code)


def is_accepted(stored: StoredSource, manifest: dict[str, Any]) -> bool:
    """Whether shards computed under a manifest may be added to the source."""
    if protocol.identity(manifest) == stored.identity:
        return True
    code = {name: manifest.get(name) for name in CODE_FIELDS}
    listed = read_source(stored.objects, stored.source).get(ATTRIBUTE, [])
    return differs_in_code_only(stored, manifest) and any(
        code == {name: entry.get(name) for name in CODE_FIELDS} for entry in listed
    )


def refuse_other_identity(stored: StoredSource, manifest: dict[str, Any]) -> None:
    """Refuse to add shards that are computed differently from the stored ones.

    Raises
    ------
    StoreError
        Lists the manifest fields that differ.
    """
    if is_accepted(stored, manifest):
        return
    lines = "; ".join(protocol.differences(stored.manifest, manifest))
    remedy = "repeat the stored settings"
    if differs_in_code_only(stored, manifest):
        remedy = "add --accept-code, which continues if this code reproduces the stored values"
    raise StoreError(
        f"{stored.objects.url} holds {stored.source} computed differently ({lines}). Extract into "
        f"another store, or {remedy}"
    )


def accept(
    stored: StoredSource, manifest: dict[str, Any], *, shard: int, largest_difference: float
) -> None:
    """Add the code of a manifest to the accepted code of a source.

    The manifest differs from the stored one in code, libraries and decoder only. `shard` was
    recomputed; its values differ from the stored ones by `largest_difference` at most.
    """
    entry = AcceptedCode(
        **{name: manifest.get(name, "") for name in CODE_FIELDS},
        shard=shard,
        largest_difference=largest_difference,
        accepted=protocol.now(),
    )
    attrs = read_source(stored.objects, stored.source)
    listed = [*attrs.get(ATTRIBUTE, []), asdict(entry)]
    put_attributes(stored.objects, stored.group, attrs | {ATTRIBUTE: listed})
