"""Complete a store of protocol version 1: checksums over all metadata, images in commit records.

Data are not read or written. A run that is killed leaves a store of version 1 that is read as
before; repeat it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from feature_store import protocol
from feature_store.documents import document_sha256, put_attributes
from feature_store.root import put_root
from feature_store.store import FeatureStore
from feature_store.stored_source import StoredSource, read_source
from feature_store.writer import ShardImages


def upgrade(store: FeatureStore, dataset_path: str | None = None) -> FeatureStore:
    """The store in the present protocol version.

    Identities, manifests and data stay as they are. Commit records of version 1 say nothing of
    the pixels that were read: their fingerprints stay empty.

    Parameters
    ----------
    dataset_path : str, optional
        Resolved path at which the dataset was found; the stored one by default.

    Raises
    ------
    StoreError
        Ids, labels or a source's metadata are damaged. Nothing was changed.
    """
    ids, labels = store.image_ids, store.labels
    stored = [store.source(name) for name in store.sources()]
    for source in stored:
        _upgrade_source(source, ids)
    attrs = {
        "dataset": store.dataset,
        "dataset_path": store.dataset_path if dataset_path is None else dataset_path,
        "shard_images": store.shard_images,
    }
    put_root(store.objects, attrs, ids.tolist(), labels, store.label_names)
    return FeatureStore(store.objects)


def _upgrade_source(source: StoredSource, ids: np.ndarray) -> None:
    for record in source.committed_records():
        if record.image_ids_sha256:
            continue
        complete = replace(
            record,
            image_ids_sha256=protocol.ids_sha256(ids[record.start : record.stop]),
            **vars(ShardImages.unknown(record.stop - record.start)),
        )
        key = protocol.record_key(source.group, record.shard)
        source.objects.put(key, complete.to_json())
        source.forget(record.shard)
    attrs = read_source(source.objects, source.source)
    if "seal" not in attrs:
        documents = {n: document_sha256(array.document) for n, array in source.arrays.items()}
        put_attributes(source.objects, source.group, attrs | {"documents": documents})
