"""Restore damaged metadata from the dataset, the request and the commit records.

A commit record names the source's identity, its shard, its rows and the digest of their ids. If
these match the dataset and the request, the root and a source's attributes are written again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from feature_store import protocol
from feature_store.dataset_name import canonical
from feature_store.documents import document_sha256, put_attributes, read_document
from feature_store.errors import StoreError
from feature_store.image_arrays import IMAGE_ARRAYS, read_images
from feature_store.listing import stored_sources
from feature_store.metadata import ArrayPlan, array_documents
from feature_store.objects import Objects
from feature_store.protocol import CommitRecord
from feature_store.root import label_codes, put_root
from feature_store.source import Source
from feature_store.stored_array import StoredArray
from feature_store.stored_source import StoredSource


def is_damaged_store(objects: Objects) -> bool:
    """Whether a folder whose root cannot be read has the other parts of a feature store."""
    return bool(stored_sources(objects)) or set(IMAGE_ARRAYS) <= set(objects.names(""))


def restore_root(
    objects: Objects,
    reason: str,
    *,
    dataset: str,
    dataset_path: str,
    image_ids: Sequence[str],
    labels: Any,
    label_names: Sequence[str],
    shard_images: int,
) -> None:
    """Write the root again, with the rows of the commit records.

    Images without a record follow in dataset order; labels are taken from the dataset.

    Parameters
    ----------
    reason : str
        Why the root cannot be read.
    dataset, dataset_path, image_ids, labels, label_names
        As for :func:`feature_store.create`.
    shard_images : int
        Used if no commit record determines it.

    Raises
    ------
    StoreError
        The records do not match the dataset, or do not name their images (version 1).
    """

    def refuse(why: str) -> StoreError:
        return StoreError(f"{reason} It cannot be restored: {why}")

    records = [r for source in stored_sources(objects) for r in records_of(objects, source)]
    if any(not record.image_ids_sha256 for record in records):
        raise refuse("the commit records have protocol version 1, which does not name images")
    _refuse_other_name(objects, dataset, refuse)
    rows = max((record.stop for record in records), default=0)
    stored = _stored_ids(objects, rows)
    known = set(image_ids)
    for ids in (stored, list(image_ids)):
        if len(ids) >= rows and all(_covers(ids, record) for record in records):
            break
    else:
        raise refuse(
            f"the commit records name {rows} images, but neither the stored ids nor the "
            f"{len(image_ids)} ids of the dataset have the recorded sha256"
        )
    ids = ids[:rows]
    removed = [i for i in ids if i not in known]
    if removed:
        raise refuse(f"the dataset lacks {len(removed)} stored image(s), first {removed[0]}")
    ids += [i for i in image_ids if i not in set(ids)]
    place = {image_id: row for row, image_id in enumerate(image_ids)}
    codes = label_codes(labels, len(image_ids), label_names)[[place[i] for i in ids]]
    attrs = {
        "dataset": dataset,
        "dataset_path": dataset_path,
        "shard_images": _shard_images(objects, records, shard_images),
    }
    put_root(objects, attrs, ids, codes, [str(n) for n in label_names])


def records_of(objects: Objects, source: Source) -> list[CommitRecord]:
    """Undamaged commit records of a source, in shard order."""
    folder, found = f"{source.group}/tokens/{protocol.COMMITS}", []
    for name in objects.names(folder):
        try:
            record = CommitRecord.from_json(objects.get(f"{folder}/{name}") or b"", name)
        except StoreError:
            continue
        if name == f"{record.shard:06d}.json":
            found.append(record)
    return found


def _covers(ids: Sequence[str], record: CommitRecord) -> bool:
    return protocol.ids_sha256(ids[record.start : record.stop]) == record.image_ids_sha256


def _stored_ids(objects: Objects, rows: int) -> list[str]:
    try:
        return [str(i) for i in read_images(objects, "image_id", rows)]
    except StoreError:
        return []


def _refuse_other_name(objects: Objects, dataset: str, refuse: Any) -> None:
    """Refuse another dataset with the same ids, such as a view."""
    try:
        attrs = read_document(objects, "")["attributes"]
        found, seal = attrs["dataset"], attrs["seal"]
    except (StoreError, KeyError, TypeError):
        return
    if isinstance(found, str) and canonical(found) == canonical(dataset):
        return
    if protocol.seal(attrs | {"dataset": dataset}) != seal:
        raise refuse(f"it names the dataset {found!r}, but this run extracts {dataset}")


def _shard_images(objects: Objects, records: list[CommitRecord], default: int) -> int:
    """Images per shard: from a record, else from the status array's chunks, else the default."""
    for record in records:
        if record.shard:
            return record.start // record.shard
    candidates = [default]
    with contextlib.suppress(StoreError, KeyError, TypeError, ValueError):
        (chunk,) = read_document(objects, "status")["chunk_grid"]["configuration"]["chunk_shape"]
        candidates.insert(0, chunk)
    least = max((record.stop for record in records), default=1)
    return next((n for n in candidates if type(n) is int and least <= n < 2**31), least)


def restore_source(
    objects: Objects,
    single: Source,
    size: tuple[int, int],
    plan: ArrayPlan,
    manifest: dict[str, Any],
    reason: str,
) -> None:
    """Write the attributes of a source again, if its commit records match the manifest.

    `size` is (images, shard_images), `reason` why the attributes cannot be read; `plan` and
    `manifest` are those of the run.

    Raises
    ------
    StoreError
        The records belong to another identity.
    """
    records = records_of(objects, single)
    identities = {record.identity for record in records}
    found = _readable_attributes(objects, single)
    candidates = [manifest, found.get("manifest")]
    fitting = [m for m in candidates if isinstance(m, dict) and protocol.identity(m) in identities]
    if records and not fitting:
        raise StoreError(
            f"{reason} They cannot be restored: {len(records)} commit record(s) belong to identity "
            f"{min(identities)[:12]}, but this run computes {protocol.identity(manifest)[:12]} "
            f"(other settings, code or libraries). Repeat the run that stored them, or delete "
            f"{objects.url}/{single.group}"
        )
    right = fitting[0] if fitting else manifest
    plan = _fitting_plan(objects, single, size, plan, right, records)
    documents = array_documents(size, plan)
    attrs = {
        "manifest": right,
        "identity": protocol.identity(right),
        "arrays": asdict(plan) | {"grid": list(plan.grid)},
        "created": min((record.written for record in records), default=protocol.now()),
        "documents": {name: document_sha256(d) for name, d in documents.items()},
    }
    put_attributes(objects, single.group, _with_one_change(found, attrs) or attrs)


def _readable_attributes(objects: Objects, single: Source) -> dict[str, Any]:
    try:
        attrs = read_document(objects, single.group).get("attributes")
    except StoreError:
        return {}
    return attrs if isinstance(attrs, dict) else {}


def _with_one_change(found: dict[str, Any], right: dict[str, Any]) -> dict[str, Any] | None:
    """The damaged attributes with one value replaced, if they then match the seal."""
    for name, value in right.items():
        candidate = {**found, name: value}
        if protocol.seal(candidate) == candidate.get("seal"):
            return candidate
    return None


def _fitting_plan(
    objects: Objects,
    single: Source,
    size: tuple[int, int],
    plan: ArrayPlan,
    manifest: dict[str, Any],
    records: list[CommitRecord],
) -> ArrayPlan:
    """The plan in the layout whose values match a commit record; unchanged if none does."""
    for layout in (plan.layout, "packed" if plan.layout == "raw" else "raw"):
        tried = replace(plan, layout=layout)
        arrays = {
            name: StoredArray.planned(objects, single, name, tried, size[1], document)
            for name, document in array_documents(size, tried).items()
        }
        identity = protocol.identity(manifest)
        source = StoredSource(objects, single, *size, arrays, manifest, identity, "")
        for record in records[:1]:
            try:
                source.committed_values(record.shard)
            except StoreError:
                continue
            return tried
    return plan
