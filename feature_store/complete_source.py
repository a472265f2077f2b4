"""A source's metadata before its shards are written: created, completed or restored."""

from __future__ import annotations

from typing import Any

from feature_store import protocol
from feature_store.claims import waited_for
from feature_store.errors import StoreError
from feature_store.image_arrays import IMAGE_ARRAYS
from feature_store.listing import stored_sources
from feature_store.metadata import ArrayPlan, has_groups, put_source, repair_arrays, repair_groups
from feature_store.objects import Objects
from feature_store.restore import restore_source
from feature_store.source import Source
from feature_store.stored_source import StoredSource, read_source


def complete_source(
    objects: Objects,
    single: Source,
    size: tuple[int, int],
    plan: ArrayPlan,
    manifest: dict[str, Any],
) -> None:
    """Create a source, or restore its damaged metadata; a sound source is left unchanged.

    `size` is (images, shard_images); `plan` serves a new source.

    Raises
    ------
    StoreError
        Its attributes are damaged, and its commit records do not match the manifest.
    """
    _sweep(objects, single)
    if not _is_sound(objects, single, size):
        with waited_for(objects, protocol.claim_key(single.group)):
            _write(objects, single, size, plan, manifest)


def _sweep(objects: Objects, single: Source) -> None:
    """Remove remains of killed writes to the root, its arrays, this source, and its groups."""
    for folder in ("", *single.groups_above):
        objects.sweep(folder, recursive=False)
    for folder in (*IMAGE_ARRAYS, single.group):
        objects.sweep(folder)


def _is_sound(objects: Objects, single: Source, size: tuple[int, int]) -> bool:
    """Whether a source's metadata is complete and undamaged."""
    try:
        attrs = read_source(objects, single)
        arrays = StoredSource.open(objects, single, *size).arrays.values()
    except StoreError:
        return False
    lengths = {array.shape[0] for array in arrays}
    return lengths == {size[0]} and "seal" in attrs and has_groups(objects, single)


def _write(
    objects: Objects,
    single: Source,
    size: tuple[int, int],
    plan: ArrayPlan,
    manifest: dict[str, Any],
) -> None:
    repair_groups(objects, single)
    if single not in stored_sources(objects):
        identity = protocol.identity(manifest)
        attrs = {"manifest": manifest, "identity": identity, "created": protocol.now()}
        put_source(objects, single, size, plan, attrs)
    try:
        attrs = read_source(objects, single)
    except StoreError as error:
        restore_source(objects, single, size, plan, manifest, str(error))
        attrs = read_source(objects, single)
    repair_arrays(objects, single, size, attrs)
