"""Recognise a dataset by its images: those of a store and those under a name now, by their pixels.

Size and modification time of a file decide whether its image is looked at again; its pixels decide
whether it is the same image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from feature_store import FeatureStore, StoreError, protocol
from feature_store.dataset_name import at, canonical, path_of
from feature_store.errors import some
from feature_store.growth import trusted_ids
from feature_store.recorded_images import (
    RecordedImages,
    as_numbers,
    decoders,
    record_files,
    recorded_images,
    records,
)
from feature_store.root import put_location
from feature_store.verify import Problem, withdraw
from workbench.datasets import Dataset, DecodeError, Decoding
from workbench.datasets import open as open_dataset

SAMPLED = 64
"""Images whose pixels tell the images of a training apart."""
THREADS = 16
"""Files looked at together: a network file system answers slowly, but many at a time."""
CHUNK = 1024
"""Files that one thread looks at before it takes the next ones."""


@dataclass
class ImageComparison:
    """A store's images and those of a dataset."""

    moved: bool
    """Whether the dataset is at another path than the one that the store records."""
    known: int = 0
    """Stored images whose pixels are recorded."""
    changed: list[int] = field(default_factory=list)
    """Store rows whose pixels are not those recorded."""
    seen: dict[str, dict[int, int]] = field(default_factory=dict)
    """Decoder to store row to the fingerprint that the image has now, for the images looked at
    again."""
    files: dict[int, list[int]] = field(default_factory=dict)
    """Store row to size and time of its file, for rows in which only these have changed."""


def is_at_its_path(store: FeatureStore, name: str) -> bool:
    """Whether a dataset name means the path that the store records for its dataset."""
    return canonical(name) == store.located_dataset


def require_same_images(
    store: FeatureStore,
    dataset: Dataset,
    *,
    redo_changed: bool,
    log: Callable[[str], None],
) -> None:
    """Refuse a dataset that holds other images under the ids of the store.

    A dataset at another path is the same if all stored images have the pixels that are recorded;
    the store then records the new path.

    Parameters
    ----------
    redo_changed : bool
        Withdraw the shards of changed images, in every source, instead of refusing.

    Raises
    ------
    StoreError
        Another dataset, or images that changed; the message names some.
    """
    if at(store.dataset, "/") != at(dataset.name, "/"):
        raise _other_dataset(store, dataset, "")
    found = compare(store, dataset, log)
    names = some([store.image_ids[row] for row in found.changed])
    if found.changed and redo_changed:
        _withdraw(store, found, log)
    elif found.changed and found.moved:
        count = f"{len(found.changed)} of {found.known} stored images have other pixels there"
        raise _other_dataset(store, dataset, f": {count} ({names})")
    elif found.changed:
        raise StoreError(
            f"{len(found.changed)} of {found.known} images stored in {store.path} have changed "
            f"since ({names}). Restore them, name another store with "
            f"--store, or compute their shards again, for all sources, with --redo-changed"
        )
    if found.files:
        record_files(store, found.files)
    if found.moved:
        log(f"{dataset.name} holds the images that were at {store.dataset_path}")
    path = path_of(dataset.name)
    if store.version == protocol.VERSION and store.dataset_path != path:
        put_location(store.objects, dataset.name, path)


def compare(store: FeatureStore, dataset: Dataset, log: Callable[[str], None]) -> ImageComparison:
    """Compare the images that have features with those of the dataset; writes nothing.

    Images whose recorded file has the recorded size and time are taken to be the same.

    Raises
    ------
    StoreError
        The dataset is at another path, and the store does not record the pixels of its images.
    """
    found = ImageComparison(not is_at_its_path(store, dataset.name))
    place, ids = dataset.places(), trusted_ids(store, dataset.image_ids)
    places = [place.get(image_id, -1) for image_id in ids]
    files = _files(dataset, places)
    known, changed = np.zeros(len(store), bool), set[int]()
    for decoder in decoders(store):
        recorded = recorded_images(store, decoder)
        if found.moved and (recorded.computed & (recorded.fingerprints == 0)).any():
            raise _other_dataset(store, dataset, ", and the store does not record their pixels")
        known |= recorded.fingerprints > 0
        again = [
            row
            for row in np.flatnonzero(recorded.fingerprints).tolist()
            if places[row] >= 0 and _differs(recorded, row, files[row], found.moved)
        ]
        seen_by = _decoded_by(dataset, decoder, store.path)
        found.seen[decoder] = _looked_at(seen_by, places, again, log)
        for row, fingerprint in found.seen[decoder].items():
            if fingerprint != recorded.fingerprints[row] or recorded.contradicted[row]:
                changed.add(row)
    if found.moved and not known.any():
        raise _other_dataset(store, dataset, ", and the store does not record their pixels")
    found.known, found.changed = int(known.sum()), sorted(changed)
    for row in set().union(*found.seen.values()) - changed:
        file = files[row]
        if file is not None:
            found.files[row] = file
    return found


def _decoded_by(dataset: Dataset, decoder: str, store: str) -> Dataset:
    """The dataset as the sources of a store with that decoder saw it."""
    decoding = Decoding.recorded(decoder)
    if str(decoding) == str(dataset.decoding):
        return dataset
    opened = open_dataset(dataset.name, decoding=decoding, beside=store)
    return opened.ordered_as(dataset.image_ids, dataset.name)


def _looked_at(
    dataset: Dataset, places: Sequence[int], rows: Sequence[int], log: Callable[[str], None]
) -> dict[int, int]:
    """Store row to the fingerprint of its image now."""
    if not rows:
        return {}
    log(f"comparing the pixels of {len(rows)} image(s) whose file or path has changed")
    now = fingerprints(dataset, [places[row] for row in rows])
    return dict(zip(rows, now, strict=True))


def fingerprints(dataset: Dataset, places: Sequence[int]) -> list[int]:
    """Fingerprints of the present pixels of these images; 0 for an image that cannot be read."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(lambda place: _fingerprint(dataset, place), places))


def sampled_rows(count: int) -> np.ndarray:
    """Evenly spaced rows of `count` images, at most :data:`SAMPLED`: int64, dims (row,).

    Their pixels tell the images of a training apart. Reading all would take as long as an epoch, so
    a change of others is not noticed.
    """
    return np.unique(np.linspace(0, count - 1, SAMPLED).round().astype(int))


def _files(dataset: Dataset, places: Sequence[int]) -> list[list[int] | None]:
    """Size and time of the file at each place; None without a file."""
    if dataset.file_of is None and dataset.state_of is None:
        return [None] * len(places)

    def look(start: int) -> list[list[int] | None]:
        part = places[start : start + CHUNK]
        return [None if place < 0 else dataset.file(place) for place in part]

    with ThreadPoolExecutor(THREADS) as threads:
        return list(chain.from_iterable(threads.map(look, range(0, len(places), CHUNK))))


def _differs(recorded: RecordedImages, row: int, file: list[int] | None, moved: bool) -> bool:
    """Whether an image has to be looked at: its file is another, or nothing is known of it."""
    if recorded.contradicted[row]:
        return True
    if file is None or recorded.files[row, 0] < 0:
        return moved
    return file != recorded.files[row].tolist()


def _fingerprint(dataset: Dataset, place: int) -> int:
    try:
        return int(as_numbers([protocol.fingerprint(dataset.image(place))])[0])
    except DecodeError:
        return 0


def _withdraw(store: FeatureStore, found: ImageComparison, log: Callable[[str], None]) -> None:
    """Take back the commits of all shards that were computed from other pixels."""
    problems = []
    for source in store.readable_sources():
        seen = found.seen[str(source.manifest.get("decoder", ""))]
        for record in records(source):
            stored = as_numbers(record.fingerprints)
            rows = [r for r in seen if record.start <= r < record.stop and len(stored)]
            rows = [r for r in rows if stored[r - record.start] not in (0, seen[r])]
            if rows:
                reason = f"{len(rows)} image(s) changed"
                problems.append(Problem(str(source.source), record.shard, "damaged", reason))
    for problem in problems:
        log(f"to be computed again: {problem.where} shard {problem.shard}: {problem.reason}")
    withdraw(store, problems)


def _other_dataset(store: FeatureStore, dataset: Dataset, why: str) -> StoreError:
    return StoreError(
        f"{store.path} holds features of {store.located_dataset}, this run is about "
        f"{dataset.name}{why}; name another store with --store"
    )
