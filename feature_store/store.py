"""Open, create and read a feature store; see PROTOCOL.md for what lies on the disk."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.abc.store import Store

from feature_store import protocol
from feature_store.accepted_code import refuse_other_identity
from feature_store.errors import StoreError
from feature_store.lazy import as_map, compose, labelled, refuse_other_positions
from feature_store.metadata import (
    ArrayPlan,
    created_plan,
    put_source,
    repair_arrays,
    repair_groups,
)
from feature_store.objects import Objects, connect
from feature_store.root import checked_root, create_root
from feature_store.source import Source
from feature_store.stored_source import StoredSource
from feature_store.subsample import SEED
from feature_store.writer import SourceWriter


@dataclass(frozen=True)
class Batch:
    """Tokens of one shard's good images.

    Attributes
    ----------
    index : (n,) int64
        Row numbers in the store.
    tokens : dict of str to (n, row, col, channel) array
        Stored dtype; S2 sources concatenated on the channel axis.
    """

    index: np.ndarray
    tokens: dict[str, np.ndarray]


class FeatureStore:
    """One dataset split's stored features.

    Examples
    --------
    >>> store = feature_store.open("runs/demo/train.zarr")            # doctest: +SKIP
    >>> store.features("bundled:efficientnet_lite0@224+448").dims     # doctest: +SKIP
    ('image', 'row', 'col', 'channel')
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.attrs: dict[str, Any] = checked_root(objects).attrs.asdict()
        """The root's attributes; PROTOCOL.md lists them."""
        self._scales: dict[str, StoredSource] = {}

    # -- what the store is about ---------------------------------------------------------------

    @property
    def path(self) -> str:
        """Where the store lies."""
        return self.objects.url

    @property
    def dataset(self) -> str:
        """Dataset name that the store was created for."""
        return str(self.attrs["dataset"])

    @property
    def shard_images(self) -> int:
        """Images per shard, the same for every source of the store."""
        return int(self.attrs["shard_images"])

    @property
    def label_names(self) -> list[str]:
        """Class names; a label is an index into this list."""
        return list(self.attrs["label_names"])

    @cached_property
    def image_ids(self) -> np.ndarray:
        """(image,) str: stable ids in row order."""
        return np.asarray(self._array("image_id")[: len(self)], dtype=object).astype(str)

    @cached_property
    def labels(self) -> np.ndarray:
        """(image,) int32: class index, -1 where unlabelled."""
        return np.asarray(self._array("label")[: len(self)], dtype=np.int32)

    @property
    def status(self) -> np.ndarray:
        """(image,) str: ``ok``, ``decode_failed`` or ``pending`` (in no committed shard yet)."""
        codes = self.status_codes()
        if codes.size and codes.max() >= len(protocol.STATUS):
            raise StoreError(
                f"{self.path}: the status array is damaged; `workbench verify {self.path}` "
                f"rewrites it from the commit records"
            )
        return np.array(protocol.STATUS)[codes]

    def status_codes(self) -> np.ndarray:
        """(image,) uint8 as stored, unchecked; an index into :data:`protocol.STATUS`."""
        return np.asarray(self._array("status")[: len(self)])

    def __len__(self) -> int:
        return int(self.attrs["image_count"])

    # -- sources -------------------------------------------------------------------------------

    def sources(self) -> list[str]:
        """Full names ``MODEL#TAP@SCALE`` of the stored single-scale sources, sorted."""
        return [str(source) for source in self._singles()]

    def source(self, source: str | Source) -> StoredSource:
        """The stored arrays of one single-scale source (tap filled in where it is clear)."""
        (single,) = self.resolve(source).singles()
        key = str(single)
        if key not in self._scales:
            self._scales[key] = StoredSource.open(
                self.objects, single, len(self), self.shard_images
            )
        return self._scales[key]

    def resolve(self, source: str | Source) -> Source:
        """Fill in the tap and check that every scale is stored.

        Without a tap: the model's default tap, as its manifest says, or the only one stored.

        Raises
        ------
        StoreError
            Not stored (lists what is), or several taps and none of them the default.
        """
        wanted = Source.parse(source) if isinstance(source, str) else source
        stored = self._singles()
        taps = [s.tap for s in stored if s.model == wanted.model and s.scales == wanted.scales[:1]]
        if wanted.tap is None and taps:
            named = [t for t in taps if t and self._is_default(wanted.with_tap(t).singles()[0])]
            candidates = named or taps
            if len(candidates) > 1:
                raise StoreError(
                    f"{wanted} is stored at several taps ({', '.join(map(str, taps))})"
                    f"; name one, as in {wanted.model}#{taps[0]}@..."
                )
            wanted = wanted.with_tap(str(candidates[0]))
        absent = [str(s) for s in wanted.singles() if s not in stored]
        if absent:
            raise StoreError(
                f"{self.path} does not hold {', '.join(absent)}; it holds "
                f"{', '.join(map(str, stored)) or 'no sources yet'}. Add it with `workbench "
                f"extract --dataset {self.dataset} --model {wanted.model} --scales "
                f"{' '.join(wanted.scales)} --store {self.path}`"
            )
        return wanted

    def manifest(self, source: str | Source) -> dict[str, Any]:
        """How a single-scale source was computed, with the measured error of its stored dtype.

        ``float16_relative_rms`` is sqrt(sum of squared rounding errors / sum of squares) over the
        committed shards; None while nothing is committed, 0 for float32.
        """
        scale = self.source(source)
        records = [scale.record(s) for s in range(scale.shard_count) if scale.is_committed(s)]
        total = sum(r.square_sum for r in records if r)
        error = sum(r.square_error for r in records if r)
        relative = (error / total) ** 0.5 if total else None
        return {**scale.manifest, "float16_relative_rms": relative}

    # -- reading -------------------------------------------------------------------------------

    def features(
        self, source: str | Source, *, merge: str = "concat", allow_incomplete: bool = False
    ) -> xr.DataArray:
        """Lazy (image, row, col, channel) view of a source; S2 sources are composed on the fly.

        Parameters
        ----------
        source : str or Source
            Such as ``"bundled:efficientnet_lite0@224+448"``.
        merge : {"concat", "add"}
            How scales combine on the channel axis (paper: concat; Table 12 ablates add).
        allow_incomplete : bool
            Read shards that are not committed as NaN instead of refusing.

        Raises
        ------
        StoreError
            Not stored, or incomplete, or (when values are read) damaged.
        """
        return self._view(source, "tokens", merge, allow_incomplete)

    def prefix(
        self, source: str | Source, *, merge: str = "concat", allow_incomplete: bool = False
    ) -> xr.DataArray:
        """Lazy (image, prefix, channel) view of a source's prefix tokens (CLS, registers)."""
        return self._view(source, "prefix", merge, allow_incomplete)

    def stream(
        self, sources: Sequence[str], *, shards: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Tokens of several sources in shard order, images that failed in any of them left out.

        Sources of which only some token positions are kept come as (n, token, 1, channel); the
        positions must be the same ones in all sources.

        `shards` restricts it to these; the sources must be complete all the same.
        One shard is read ahead in a thread, so that reading hides behind the caller's arithmetic;
        at most three shards are held at a time.

        Raises
        ------
        StoreError
            A source is not stored, incomplete or damaged.
        """
        parts = {name: [self.source(s) for s in self.resolve(name).singles()] for name in sources}
        arrays = {n: compose(scales, "tokens", "concat", False) for n, scales in parts.items()}
        everything = [scale for scales in parts.values() for scale in scales]
        failed = {row for scale in everything for row in scale.failed_rows()}
        first = everything[0]

        def load(shard: int) -> Batch:
            refuse_other_positions(everything, shard)
            rows = first.rows(shard)
            good = np.array([row for row in rows if row not in failed], dtype=np.int64)
            keep = slice(None) if len(good) == len(rows) else good - rows.start
            return Batch(good, {n: as_map(array.block(shard, keep)) for n, array in arrays.items()})

        with ThreadPoolExecutor(max_workers=1) as reader:
            numbers = list(range(first.shard_count) if shards is None else shards)
            ahead = [reader.submit(load, shard) for shard in numbers[:1]]
            for following in [*numbers[1:], None][: len(numbers)]:
                batch = ahead.pop().result()
                if following is not None:
                    ahead.append(reader.submit(load, following))
                if len(batch.index):
                    yield batch

    # -- writing -------------------------------------------------------------------------------

    def add_source(
        self, source: str | Source, *, manifest: dict[str, Any], **plan: Any
    ) -> SourceWriter:
        """Create a single-scale source, or go on with the one that is there.

        Parameters
        ----------
        source : str or Source
            Full name ``MODEL#TAP@SCALE``.
        manifest : dict
            JSON-able; everything that determines the values. Its hash is the source's identity.
        **plan
            Fields of :class:`feature_store.metadata.ArrayPlan`: grid, channels, prefix, dtype,
            layout, keep.

        Raises
        ------
        StoreError
            The source is stored with another identity; the message lists what differs.
        """
        single = Source.parse(source) if isinstance(source, str) else source
        arrays = ArrayPlan(**plan)
        manifest = {"protocol_version": protocol.VERSION, **manifest}
        if arrays.keep:
            subsample = {"tokens": arrays.keep, "seed": SEED, "grid": list(arrays.grid)}
            manifest |= {"subsample": subsample}
        current: dict[str, Any] = checked_root(self.objects).attrs.asdict()  # others may grow it
        size = (current["image_count"], self.shard_images)
        repair_groups(self.objects, single)
        self.objects.sweep(single.group)
        if single not in self._singles():
            created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            digest = protocol.identity(manifest)
            attrs = {"manifest": manifest, "identity": digest, "arrays": asdict(arrays)}
            put_source(self.objects, single, size, arrays, attrs | {"created": created})
        repair_arrays(self.objects, single, size, created_plan(self.objects, single))
        self._scales.pop(str(single), None)
        scale = self.source(single)
        refuse_other_identity(scale, manifest)
        return SourceWriter(scale, self.image_ids)

    # -- internals -----------------------------------------------------------------------------

    def _array(self, name: str) -> zarr.Array:
        return zarr.open_array(self.objects.zarr_store, path=name, mode="r")

    def _view(self, source: str | Source, name: str, merge: str, incomplete: bool) -> xr.DataArray:
        resolved = self.resolve(source)
        array = compose([self.source(s) for s in resolved.singles()], name, merge, incomplete)
        return labelled(array, self.image_ids, {"source": str(resolved), "store": self.path})

    def _singles(self) -> list[Source]:
        found = []
        for model in self.objects.names("features"):
            for tap in self.objects.names(f"features/{model}"):
                for scale in self.objects.names(f"features/{model}/{tap}"):
                    group = f"features/{model}/{tap}/{scale}"
                    if scale != "zarr.json" and self._is_source(group):
                        found.append(Source.from_group(group))
        return sorted(found, key=str)

    def _is_source(self, group: str) -> bool:
        """A group counts once its attributes, written last, are there."""
        metadata = self.objects.get(f"{group}/zarr.json")
        return metadata is not None and b'"identity"' in metadata

    def _is_default(self, single: Source) -> bool:
        return self.source(single).manifest.get("default_tap") == single.tap

    def __repr__(self) -> str:
        return f"<FeatureStore {self.path}: {len(self)} images, {len(self.sources())} sources>"

    def _repr_html_(self) -> str:
        from feature_store.summary import store_table

        return store_table(self)


def open(path: str | Path | Store) -> FeatureStore:
    """Open a store for reading and adding; opening itself writes nothing.

    Raises
    ------
    StoreError
        No store there, a damaged root, or a newer protocol version.
    """
    return FeatureStore(connect(path))


def create(path: str | Path | Store, **images: Any) -> FeatureStore:
    """Create an empty store for a dataset split; see :func:`feature_store.root.create_root`.

    Raises
    ------
    InputError
        No images, duplicate ids, labels that do not fit, or something is at `path` already.
    """
    return FeatureStore(create_root(path, **images))
