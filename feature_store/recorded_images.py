"""Facts about images in the commit records of a store: fingerprints of pixels, and files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from feature_store import protocol
from feature_store.claims import Claim
from feature_store.errors import StoreError
from feature_store.protocol import CommitRecord
from feature_store.store import FeatureStore
from feature_store.stored_source import StoredSource


@dataclass(frozen=True)
class RecordedImages:
    """Images of a store, over all of its sources with one decoder."""

    fingerprints: np.ndarray
    """uint64, dims (image,): fingerprints of the decoded pixels; 0 = unknown: in records of
    protocol version 1, and for images that are not computed or could not be read."""
    files: np.ndarray
    """int64, dims (image, 2): bytes and modification time in ns of the image's file; -1 where
    unknown."""
    computed: np.ndarray
    """bool, dims (image,): images with features in at least one source."""
    contradicted: np.ndarray
    """bool, dims (image,): images with different pixels in two sources."""

    def may_be(self, row: int, pixels: np.ndarray) -> bool:
        """Whether RGB pixels match the image of a row; True if its pixels are not recorded."""
        known = self.fingerprints[row]
        return bool(known == 0 or known == as_numbers([protocol.fingerprint(pixels)])[0])


def decoders(store: FeatureStore) -> list[str]:
    """Distinct decoders in the sources' manifests, the first source's first."""
    return list(dict.fromkeys(str(s.manifest.get("decoder", "")) for s in store.readable_sources()))


def recorded_images(store: FeatureStore, decoder: str | None = None) -> RecordedImages:
    """Collect facts about the store's images from valid commit records.

    Only sources with the given decoder count (by default the first source's), because decoders may
    turn the same file into different pixels.
    """
    images = len(store)
    sources = store.readable_sources()
    if decoder is None:
        decoder = next(iter(decoders(store)), "")
    sources = [s for s in sources if str(s.manifest.get("decoder", "")) == decoder]
    found = RecordedImages(
        np.zeros(images, np.uint64),
        np.full((images, 2), -1, np.int64),
        np.zeros(images, bool),
        np.zeros(images, bool),
    )
    for record in (record for source in sources for record in records(source)):
        rows = slice(record.start, min(record.stop, images))
        count = rows.stop - rows.start
        good = np.ones(count, bool)
        good[[row - record.start for row in record.failed_rows() if row < rows.stop]] = False
        found.computed[rows] |= good
        if not record.fingerprints:
            continue
        seen = as_numbers(record.fingerprints[:count])
        before = found.fingerprints[rows]
        found.contradicted[rows] |= (before != seen) & (before > 0) & (seen > 0)
        found.fingerprints[rows] = np.where(seen > 0, seen, before)
        for place, file in enumerate((record.files or [])[:count]):
            if file is not None:
                found.files[record.start + place] = file
    return found


def as_numbers(fingerprints: list[str]) -> np.ndarray:
    """Fingerprints as uint64, dims (image,); 0 for an empty one."""
    return np.array([int(text, 16) if text else 0 for text in fingerprints], np.uint64)


def records(source: StoredSource) -> Iterator[CommitRecord]:
    """Yield the valid commit records of a source, including records older than a growth."""
    for shard in range(source.shard_count):
        try:
            record = source.whole_record(shard)
        except StoreError:  # damaged: the shard is computed again
            continue
        if record is not None:
            yield record


def record_files(store: FeatureStore, files: dict[int, list[int]]) -> None:
    """Replace the recorded files of some rows, whose pixels are unchanged.

    Shards that another process is computing are skipped.
    """
    for source in store.readable_sources():
        for record in records(source):
            if record.files is None or not any(
                r in files for r in range(record.start, record.stop)
            ):
                continue
            claim = Claim(source.objects, protocol.claim_key(source.group, record.shard))
            with claim:
                current = source.whole_record(record.shard) if claim.held else None
                if current != record or current is None:
                    continue
                now = [
                    files.get(row, old)
                    for row, old in zip(range(record.start, record.stop), record.files, strict=True)
                ]
                key = protocol.record_key(source.group, record.shard)
                source.objects.put(key, replace(current, files=now).to_json())
            source.forget(record.shard)
