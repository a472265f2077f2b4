"""One vector per image and source, pooled from stored tokens in one pass over the store.

Pooling is linear, so the vector of an S2 source is made of those of its single scales: side by
side for ``concat``, summed for ``add``. Each single scale is therefore read and pooled once however
many sources ask for it. The vectors go to files and are read back in blocks: memory does not
depend on the number of images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from analyses.reading.engine import Engine, Local
from analyses.reading.features import singles
from analyses.reading.partition import Partition, partitions
from feature_store import FeatureStore, InputError
from feature_store.source import names_of

BLOCK_ROWS = 1024
"""Images read at a time: few, so that memory is the same for small and large stores."""

Pooling = Literal["mean", "prefix"]
Merge = Literal["concat", "add"]


@dataclass(frozen=True)
class FeatureRows:
    """A matrix (image, channel) that is read in blocks of rows.

    Examples
    --------
    >>> rows = FeatureRows.of(np.arange(6.0).reshape(3, 2))
    >>> rows.shape, [block.sum() for block in rows.blocks(2)]
    ((3, 2), [np.float32(6.0), np.float32(9.0)])
    """

    parts: tuple[np.ndarray | Path, ...]
    """Single scales, float32, dims (image, channel of that scale); a path is a C-order float32
    file."""
    widths: tuple[int, ...]
    """Channels of each part."""
    count: int
    """Images."""
    merge: Merge = "concat"
    """How the parts become one matrix."""
    kept: np.ndarray | None = None
    """bool, dims (image,): rows that are handed out; None = all of them."""
    owner: object = None
    """Whatever has to stay alive for the files to stay."""

    @classmethod
    def of(cls, array: np.ndarray) -> FeatureRows:
        """Rows that are already in memory."""
        array = np.ascontiguousarray(array, np.float32)
        return cls((array,), (array.shape[1],), len(array))

    @property
    def shape(self) -> tuple[int, int]:
        """(images, channels)."""
        images = self.count if self.kept is None else int(self.kept.sum())
        return images, sum(self.widths) if self.merge == "concat" else self.widths[0]

    def keep(self, rows: np.ndarray) -> FeatureRows:
        """The matrix restricted to the rows that the bool array `rows` selects."""
        if rows.all():
            return self
        kept = np.ones(self.count, bool) if self.kept is None else self.kept.copy()
        kept[kept] = rows
        return replace(self, kept=kept)

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[np.ndarray]:
        """Consecutive float32 blocks of at most `size` rows, dims (image, channel)."""
        with ExitStack() as stack:
            opened = [
                part if isinstance(part, np.ndarray) else stack.enter_context(part.open("rb"))
                for part in self.parts
            ]
            for start in range(0, self.count, size):
                stop = min(start + size, self.count)
                found = [
                    part[start:stop]
                    if isinstance(part, np.ndarray)
                    # Read rather than mapped: mapped pages would count as this process's memory.
                    else np.fromfile(part, np.float32, (stop - start) * width).reshape(-1, width)
                    for part, width in zip(opened, self.widths, strict=True)
                ]
                block = self._merged(found)
                yield block if self.kept is None else block[self.kept[start:stop]]

    def _merged(self, parts: list[np.ndarray]) -> np.ndarray:
        if len(parts) == 1:
            return parts[0]
        if self.merge == "concat":
            return np.concatenate(parts, axis=1)
        return np.asarray(np.sum(parts, axis=0, dtype=np.float32))

    def load(self) -> np.ndarray:
        """The whole matrix in memory: float32, dims (image, channel)."""
        return np.concatenate([*self.blocks(), np.empty((0, self.shape[1]), np.float32)])


@dataclass(frozen=True)
class Pooled:
    """Pooled vectors of one store for several sources, over the images that all of them have."""

    store: FeatureStore
    rows: np.ndarray
    """int64, dims (image,): row numbers in the store."""
    widths: dict[str, int]
    """Channels of each single-scale source."""
    folder: tempfile.TemporaryDirectory = field(repr=False)
    """Holds one file per single-scale source; removed with this object."""

    def features(self, source: str, merge: Merge = "concat") -> FeatureRows:
        """The matrix of one source; row n belongs to store row ``rows[n]``.

        Raises
        ------
        InputError
            ``add`` over scales of different widths.
        """
        names = singles(self.store, source)
        widths = tuple(self.widths[name] for name in names)
        if merge == "add" and len(set(widths)) > 1:
            raise InputError(f"{source}: add needs equal channel counts, found {widths}")
        order = list(self.widths)
        parts = tuple(Path(self.folder.name, f"{order.index(name)}.f32") for name in names)
        return FeatureRows(parts, widths, len(self.rows), merge, owner=self.folder)


def pool(
    store: FeatureStore,
    sources: str | Sequence[str],
    pooling: Pooling = "mean",
    *,
    left_out: np.ndarray | None = None,
    engine: Engine | None = None,
) -> Pooled:
    """Pool every image of a store once for all the given sources.

    .. math:: f(i) = \\frac{1}{T} \\sum_{t=1}^{T} x_{i,t}

    Parameters
    ----------
    sources : str or sequence of str
        S2 sources are taken apart into their scales.
    pooling : {"mean", "prefix"}
        Mean over all (row, col) tokens, in float32; or the first prefix token (CLS).
    left_out : bool array, dims (image,), optional
        Rows of the store to leave out.
    engine : Engine, optional
        Pools the partitions of the store; this process by default.

    Returns
    -------
    Pooled
        Images whose status is not ``ok`` in one of the sources are left out of all of them, so
        that sources are compared on the same images.

    Raises
    ------
    InputError
        No source given, unknown `pooling`, no image left.
    StoreError
        A source is not stored, incomplete, or has no prefix tokens.
    """
    if not sources:
        raise InputError("no source given; name at least one, such as MODEL@1x")
    if pooling not in ("mean", "prefix"):
        raise InputError(f"pooling is {pooling!r}; choose mean or prefix")
    sources = names_of(sources)
    names = list(dict.fromkeys(single for name in sources for single in singles(store, name)))
    folder = tempfile.TemporaryDirectory(prefix="pooled-")
    rows: list[np.ndarray] = []
    widths = {name: store.source(name).channels for name in names}
    with ExitStack() as stack:
        paths = [Path(folder.name, f"{n}.f32") for n in range(len(names))]
        files = [stack.enter_context(path.open("wb")) for path in paths]
        vectors = partial(_vectors, names, pooling)
        for index, found in (engine or Local()).map(vectors, partitions(store)):
            kept = slice(None) if left_out is None else ~left_out[index]
            rows.append(index[kept])
            for name, file in zip(names, files, strict=True):
                found[name][kept].tofile(file)
    if not any(map(len, rows)):
        raise InputError(f"{store.path} holds no readable image for {', '.join(map(str, sources))}")
    return Pooled(store, np.concatenate(rows), widths, folder)


def _vectors(
    names: list[str], pooling: Pooling, partition: Partition
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Row numbers, and for each single-scale source float32 vectors, dims (image, channel)."""
    store = partition.open()
    prefixes = {name: store.prefix(name) for name in names} if pooling == "prefix" else {}
    rows = [np.empty(0, np.int64)]
    found = {name: [np.empty((0, store.source(name).channels), np.float32)] for name in names}
    for batch in partition.stream(names):
        rows.append(batch.index)
        for name, vectors in found.items():
            if pooling == "prefix":
                vector = prefixes[name].isel(image=batch.index, prefix=0).values
            else:
                vector = batch.tokens[name].mean(axis=(1, 2), dtype=np.float32)
            vectors.append(vector.astype(np.float32))
    return np.concatenate(rows), {n: np.concatenate(vectors) for n, vectors in found.items()}
