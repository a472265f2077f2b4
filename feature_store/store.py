"""Open, create and read a feature store; PROTOCOL.md defines its files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.abc.store import Store

from feature_store import protocol
from feature_store.accepted_code import refuse_other_identity
from feature_store.claims import ClaimStatus, all_claims
from feature_store.complete_source import complete_source
from feature_store.dataset_name import at, canonical
from feature_store.errors import NotStoredError, StoreError
from feature_store.image_arrays import checked_images
from feature_store.lazy import compose, labelled
from feature_store.listing import in_stored_words, native_size, stored_sources, with_stored_tap
from feature_store.metadata import ArrayPlan
from feature_store.objects import Objects, connect
from feature_store.root import create_root, label_codes, read_root
from feature_store.source import Source, names_of
from feature_store.status import checked_status
from feature_store.stored_source import StoredSource
from feature_store.stream import Batch, batches
from feature_store.subsample import SEED
from feature_store.summary import SourceStatus, html_table
from feature_store.writer import SourceWriter


class FeatureStore:
    """One dataset split's stored features.

    Examples
    --------
    >>> store = feature_store.open("runs/demo/train.zarr")            # doctest: +SKIP
    >>> store.features("bundled:efficientnet_lite0@1x+2x").dims     # doctest: +SKIP
    ('image', 'row', 'col', 'channel')
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.attrs = read_root(objects)
        """The root's attributes; PROTOCOL.md lists them."""
        self._stored: dict[str, StoredSource] = {}

    # -- facts and images ----------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Folder or URL of the store."""
        return self.objects.url

    @property
    def dataset(self) -> str:
        """Name of the dataset that the store was created for."""
        return str(self.attrs["dataset"])

    @property
    def dataset_path(self) -> str:
        """Resolved path at which the dataset was found; empty where it has none."""
        return str(self.attrs.get("dataset_path", ""))

    @property
    def located_dataset(self) -> str:
        """Name of the dataset with its resolved path, which means the same in every folder."""
        return at(self.dataset, self.dataset_path) if self.dataset_path else canonical(self.dataset)

    @property
    def version(self) -> int:
        """Protocol version of the store."""
        return int(self.attrs["protocol_version"])

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
        return checked_images(self.objects, self.attrs, "image_id")

    @cached_property
    def labels(self) -> np.ndarray:
        """(image,) int32: class index, -1 where unlabelled."""
        return checked_images(self.objects, self.attrs, "label")

    @property
    def status(self) -> np.ndarray:
        """(image,) str: ``ok``, ``decode_failed`` or ``pending`` (in no committed shard yet).

        Raises
        ------
        StoreError
            The stored array contradicts the commit records, from which it is rewritten.
        """
        return np.array(protocol.STATUS)[
            checked_status(self.objects, len(self), self.readable_sources())
        ]

    def readable_sources(self) -> list[StoredSource]:
        """All sources but those with damaged metadata, which the next extraction restores."""
        found = []
        for name in self.sources():
            with contextlib.suppress(StoreError):
                found.append(self.source(name))
        return found

    def __len__(self) -> int:
        return int(self.attrs["image_count"])

    # -- sources -------------------------------------------------------------------------------

    def sources(self) -> list[str]:
        """Full names ``MODEL#TAP@SCALE`` of the stored single-scale sources, sorted."""
        return [str(source) for source in stored_sources(self.objects)]

    def source(self, source: str | Source) -> StoredSource:
        """One stored single-scale source; the tap is filled in as :meth:`resolve` does."""
        (single,) = self.resolve(source).singles()
        key = str(single)
        if key not in self._stored:
            single = next(s for s in stored_sources(self.objects) if s == single)
            self._stored[key] = StoredSource.open(
                self.objects, single, len(self), self.shard_images
            )
        return self._stored[key]

    def resolve(self, source: str | Source) -> Source:
        """Fill in the tap, write scales in pixels, and check that every scale is stored.

        Without a tap: the model's default tap according to its manifest, or the only one stored.
        Multiples such as ``2x`` are of the native size that the model has here.

        Raises
        ------
        StoreError
            The source is not stored (the message lists the stored ones), or several taps are and
            none of them is the default.
        """
        stored = stored_sources(self.objects)
        wanted = Source.parse(source) if isinstance(source, str) else source
        wanted = in_stored_words(wanted, stored, self._native)
        wanted = with_stored_tap(wanted, stored, self._is_default)
        absent = [str(s) for s in wanted.singles() if s not in stored]
        if absent:
            raise NotStoredError(
                f"{self.path} does not hold {', '.join(absent)}; it holds "
                f"{', '.join(map(str, stored)) or 'no sources yet'}",
                wanted.model,
                f"Add it with `workbench extract --dataset {self.dataset} --model {wanted.model} "
                f"--scales {' '.join(wanted.scales)} --store {self.path}`",
            )
        return wanted

    def manifest(self, source: str | Source) -> dict[str, Any]:
        """Manifest of a single-scale source, with the measured error of its stored dtype.

        The error is ``float16_relative_rms``, see :meth:`StoredSource.float16_relative_rms`.
        """
        stored = self.source(source)
        return {**stored.manifest, "float16_relative_rms": stored.float16_relative_rms()}

    def source_status(self) -> list[SourceStatus]:
        """Status of every stored source, by name; reads commit records, not data."""
        return [SourceStatus.of(self.source(name), self.dataset) for name in self.sources()]

    def status_json(self) -> dict[str, Any]:
        """The store's facts, failed images and sources as one JSON-able object."""
        failed = {
            str(self.image_ids[row]): reason
            for name in self.sources()
            for row, reason in self.source(name).failed_rows().items()
        }
        return {
            "store": self.path,
            "dataset": self.dataset,
            "images": len(self),
            "classes": len(self.label_names),
            "failed_images": failed,
            "sources": [asdict(entry) for entry in self.source_status()],
            "claims": [asdict(claim) for claim in self.claims()],
        }

    def claims(self) -> list[ClaimStatus]:
        """Claims of processes on the root, on sources and on shards, with their state."""
        return all_claims(self.objects)

    # -- reading -------------------------------------------------------------------------------

    def features(
        self, source: str | Source, *, merge: str = "concat", allow_incomplete: bool = False
    ) -> xr.DataArray:
        """Lazy (image, row, col, channel) array of a source; S2 sources are composed when read.

        Parameters
        ----------
        source : str or Source
            Such as ``"bundled:efficientnet_lite0@1x+2x"``.
        merge : {"concat", "add"}
            How scales combine on the channel axis (paper: concat; Table 12 ablates add).
        allow_incomplete : bool
            Read missing shards as NaN instead of refusing.

        Raises
        ------
        StoreError
            The source is not stored, incomplete or (found when values are read) damaged.
        """
        return self._view(source, "tokens", merge, allow_incomplete)

    def prefix(
        self, source: str | Source, *, merge: str = "concat", allow_incomplete: bool = False
    ) -> xr.DataArray:
        """Lazy (image, prefix, channel) array of a source's prefix tokens (CLS, registers)."""
        return self._view(source, "prefix", merge, allow_incomplete)

    def stream(
        self, sources: str | Sequence[str], *, shards: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Tokens of several sources in shard order, without images that failed in any of them.

        Sources with a subset of token positions come as (n, token, 1, channel); all sources must
        have the same positions. One shard is read ahead in a thread while the caller computes; at
        most three shards are in memory.

        Parameters
        ----------
        sources : str or sequence of str
            Names; S2 sources are composed on the channel axis.
        shards : sequence of int, optional
            Shards to read, all by default. The sources must be complete in either case.

        Raises
        ------
        StoreError
            A source is not stored, incomplete or damaged.
        """
        names = names_of(sources)
        parts = {name: [self.source(s) for s in self.resolve(name).singles()] for name in names}
        return batches(parts, shards)

    # -- writing -------------------------------------------------------------------------------

    def add_source(
        self,
        source: str | Source,
        *,
        manifest: dict[str, Any],
        grid: tuple[int, int],
        channels: int,
        prefix: int = 0,
        dtype: str = "float16",
        layout: str = "raw",
        keep: int = 0,
    ) -> SourceWriter:
        """Create a single-scale source, or resume a stored one.

        Parameters
        ----------
        source : str or Source
            Full name ``MODEL#TAP@SCALE``.
        manifest : dict
            JSON-able; everything that determines the values. Its hash is the source's identity.
        grid : (rows, cols)
            Grid of the token map.
        channels : int
            Output dimensions of the model at the tap.
        prefix : int
            Prefix tokens per image; 0 stores no prefix array.
        dtype : {"float16", "float32"}
            Stored dtype.
        layout : {"raw", "packed"}
            One uncompressed chunk per shard, or sharded inner chunks with crc32c and zstd.
        keep : int
            Token positions kept per image, drawn at random and stored; 0 keeps the whole map.

        Raises
        ------
        InputError
            Unknown dtype or layout.
        StoreError
            The source is stored with another identity; the message lists the fields that differ.
        """
        listed = stored_sources(self.objects)
        single = Source.parse(source) if isinstance(source, str) else source
        single = next((s for s in listed if s == single), single)
        self._refuse_other_meaning(single, listed)
        arrays = ArrayPlan(
            grid=grid, channels=channels, prefix=prefix, dtype=dtype, layout=layout, keep=keep
        )
        manifest = {"protocol_version": protocol.MANIFEST_VERSION, **manifest} | single.as_stored
        if arrays.keep:
            subsample = {"tokens": arrays.keep, "seed": SEED, "grid": list(arrays.grid)}
            manifest |= {"subsample": subsample}
        current = read_root(self.objects)  # may have grown
        if self.version < protocol.VERSION:
            raise StoreError(
                f"{self.path} has protocol version {self.version}, and new sources need "
                f"{protocol.VERSION}; run `workbench upgrade {self.path}`"
            )
        size = (current["image_count"], self.shard_images)
        complete_source(self.objects, single, size, arrays, manifest)
        self._stored.pop(str(single), None)
        stored = self.source(single)
        refuse_other_identity(stored, manifest)
        return SourceWriter(stored, self.image_ids)

    # -- internals -----------------------------------------------------------------------------

    def _refuse_other_meaning(self, single: Source, listed: list[Source]) -> None:
        """Refuse a new source whose path belongs to one that an old name stood for."""
        for other in listed:
            if other != single and other.group == single.group:
                raise StoreError(
                    f"{self.path} holds {other} in the place of {single}, written when "
                    f"{single.model} stood for {other.model}; extract into another store"
                )

    def _view(self, source: str | Source, name: str, merge: str, incomplete: bool) -> xr.DataArray:
        resolved = self.resolve(source)
        array = compose([self.source(s) for s in resolved.singles()], name, merge, incomplete)
        attrs = {"source": str(resolved), "store": self.path}
        return labelled(array, self.image_ids, attrs, self._class_names())

    def _class_names(self) -> np.ndarray | None:
        """(image,) str: class of each image, empty where unlabelled; None without any class."""
        names = np.array([*self.label_names, ""])  # -1 is the last
        return names[self.labels] if len(names) > 1 else None

    def _is_default(self, single: Source) -> bool:
        return self.source(single).manifest.get("default_tap") == single.tap

    def _native(self, single: Source) -> int | None:
        try:
            return native_size(self.source(single).manifest)
        except StoreError:  # damaged; another scale may tell
            return None

    def __repr__(self) -> str:
        return f"<FeatureStore {self.path}: {len(self)} images, {len(self.sources())} sources>"

    def _repr_html_(self) -> str:
        facts = f"{self.dataset}: {len(self)} images, {len(self.label_names)} classes"
        return html_table(self.path, facts, self.source_status())


def open(path: str | Path | Store) -> FeatureStore:
    """Open a store for reading and adding sources; opening writes nothing.

    Raises
    ------
    StoreError
        `path` contains no store, a damaged root, or a newer protocol version.
    """
    return FeatureStore(connect(path))


def create(
    path: str | Path | Store,
    *,
    dataset: str,
    image_ids: Sequence[str],
    labels: Any = None,
    label_names: Sequence[str] = (),
    shard_images: int = 256,
    dataset_path: str = "",
) -> FeatureStore:
    """Create an empty store for a dataset split.

    Parameters
    ----------
    path : str, Path or zarr store
        New folder or URL.
    image_ids : sequence of str
        Unique, in row order.
    labels : (image,) int, optional
        Class index per image, -1 where unlabelled; all -1 if None.
    shard_images : int
        Images per shard: the unit of work, and the most that a killed run loses.
    dataset_path : str
        Resolved path at which the dataset was found; empty if it has none.

    Raises
    ------
    InputError
        No images, duplicate ids, labels that do not fit, or `path` exists already.
    """
    objects = connect(path)
    create_root(
        objects,
        dataset=dataset,
        dataset_path=dataset_path,
        image_ids=[str(i) for i in image_ids],
        labels=label_codes(labels, len(image_ids), label_names),
        label_names=[str(n) for n in label_names],
        shard_images=shard_images,
    )
    return FeatureStore(objects)
