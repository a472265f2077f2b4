"""Moments on disk: ``moments.zarr``, written whole, loaded, and completed after an interruption.

Any zarr reader opens the file: arrays ``tokens``, ``images`` (fold), ``mean`` (fold, channel),
``scatter`` (fold, channel, channel_2) and ``done`` (image), with the source of each channel as a
coordinate and the manifest (dataset, identities of the sources, options) in the attributes.
"""

from __future__ import annotations

import itertools
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from analyses.moments.one_pass import moments_of, shared_shift
from analyses.moments.second_moments import Moments, MomentsConfig
from analyses.reading import passes
from analyses.reading.engine import Engine
from analyses.reading.features import Batch, Features
from analyses.reading.partition import Whole, partitions
from analyses.reading.passes import Reading
from analyses.reading.progress import Bar
from feature_store import FeatureStore
from feature_store.errors import InputError
from feature_store.protocol import ids_sha256

Item = TypeVar("Item")

FORMAT = 1


def save(moments: Moments, path: str | Path, done: np.ndarray | None = None) -> None:
    """Write moments as a zarr store at `path`, replacing what is there only once all is written.

    Parameters
    ----------
    path : str or Path
        A local folder, usually ``moments.zarr``.
    done : ndarray of bool, dims (image,), optional
        Rows that the moments cover, so that a later run can resume.
    """
    path = Path(path)
    names = np.repeat(np.array(list(moments.channels), object), list(moments.channels.values()))
    data = xr.Dataset(
        {
            "tokens": ("fold", moments.tokens),
            "images": ("fold", moments.images),
            "mean": (("fold", "channel"), moments.mean),
            "scatter": (("fold", "channel", "channel_2"), moments.scatter),
            "done": ("image", np.zeros(0, bool) if done is None else done),
        },
        coords={"source": ("channel", names)},
        attrs={
            "format": FORMAT,
            "blocks": [[name, count] for name, count in moments.channels.items()],
            "manifest": moments.attrs,
        },
    )
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
    plain = {"compressors": None}  # float64 mantissas do not compress
    try:
        data.to_zarr(unfinished, consolidated=False, encoding={"scatter": plain, "mean": plain})
        if path.exists():
            path.rename(old)
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def load(path: str | Path) -> Moments:
    """Read moments that :func:`save` wrote.

    Raises
    ------
    InputError
        Nothing there, or something else.
    """
    return _load(path)[0]


def _load(path: str | Path) -> tuple[Moments, np.ndarray]:
    try:
        data = xr.open_zarr(path, consolidated=False).load()
        channels = {str(name): int(count) for name, count in data.attrs["blocks"]}
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} holds no moments ({error}); make them with `workbench reconstruct --moments`"
        ) from error
    if data.attrs["format"] != FORMAT:
        raise InputError(f"{path} has format {data.attrs['format']}; this version reads {FORMAT}")
    images, tokens, mean, scatter = (
        data[name].values for name in ("images", "tokens", "mean", "scatter")
    )
    moments = Moments(channels, images, tokens, mean, scatter, dict(data.attrs["manifest"]))
    return moments, data["done"].values


def manifest(features: Features, reading: Reading, config: MomentsConfig) -> dict[str, Any]:
    """Everything that decides the moments: dataset, images, identities of sources, options."""
    return {
        "dataset": features.dataset,
        "image_count": len(features.image_ids),
        "image_ids": ids_sha256(features.image_ids),
        "sources": {name: features.source(name).identity for name in reading.sources},
        "folds": config.folds,
        "precision": config.precision,
        "grid": reading.grid,
        "targets": list(config.targets),
    }


def from_features(
    features: Features,
    reading: Reading,
    path: str | Path,
    config: MomentsConfig | None = None,
    *,
    save_every: int = 64,
    engine: Engine | None = None,
) -> Moments:
    """Moments of the sources that are read, stored at `path`.

    Images whose moments are stored there, with the same options, are not read again. A finished
    file, which may hold more sources than asked for, is loaded; one that an interruption left
    unfinished is completed.

    Parameters
    ----------
    reading : Reading
        Its `done` is ignored.
    save_every : int
        Shards of a store, or batches of a stream, between two savings. A run that is killed loses
        no more than these and a partition; an interrupted one no more than a partition of a store,
        and nothing of a stream.
    engine : Engine, optional
        Accumulates the partitions of a store; this process by default.

    Raises
    ------
    InputError
        `path` holds moments of other images, sources or options: the message names what differs.
    """
    config = config or MomentsConfig()
    attrs = manifest(features, reading, config)
    done = np.zeros(len(features.image_ids), bool)
    stored: Moments | None = None
    if Path(path).exists():
        stored, done = _load(path)
        _refuse_other(stored.attrs, attrs, path)
        if done[features.status == "ok"].all():
            return stored
        attrs = stored.attrs
        reading = replace(reading, sources=list(stored.channels))
        config = replace(config, targets=tuple(attrs["targets"]))
    unsaved, interrupts = 0, list[KeyboardInterrupt]()
    reading = replace(reading, done=done.copy())
    increments = _increments(features, reading, config, save_every, engine, interrupts)
    for rows, batches, made in _until_interrupted(increments, interrupts):
        if made is not None:
            made = replace(made, attrs=attrs)
            stored = made if stored is None else stored.combine(made)
        done[rows], unsaved = True, unsaved + batches
        if stored is not None and unsaved >= save_every:
            save(stored, path, done)
            unsaved = 0
    if stored is not None and unsaved:
        save(stored, path, done)
    if interrupts:
        raise interrupts[0]
    if stored is None:
        raise InputError(f"no images to accumulate for {', '.join(reading.sources)}")
    return stored


def _increments(
    features: Features,
    reading: Reading,
    config: MomentsConfig,
    save_every: int,
    engine: Engine | None,
    interrupts: list[KeyboardInterrupt],
) -> Iterator[tuple[np.ndarray | slice, int, Moments | None]]:
    """Rows, number of batches and moments: of a partition, or of some batches of a stream."""
    moments = partial(moments_of, sources=reading.sources, config=config)
    if isinstance(features, FeatureStore):
        assert reading.done is not None
        work = [part for part in partitions(features) if not reading.done[part.rows].all()]
        moments = partial(moments, shift=shared_shift(features, reading, config))
        made = passes.each_part(features, reading, moments, work, engine=engine)
        yield from ((p.rows, len(p.shards), m) for p, m in zip(work, made, strict=True))
        return
    with Bar(reading.label, len(features.image_ids)) as bar:
        batches = _until_interrupted(reading.batches(Whole(features), bar), interrupts)
        for first in batches:
            rows: list[np.ndarray] = []
            following = itertools.islice(batches, save_every - 1)
            found = moments(_recorded(itertools.chain([first], following), rows))
            yield np.concatenate(rows), save_every, found


def _recorded(batches: Iterable[Batch], rows: list[np.ndarray]) -> Iterator[Batch]:
    for batch in batches:
        rows.append(batch.index)
        yield batch


def _until_interrupted(
    items: Iterator[Item], interrupts: list[KeyboardInterrupt]
) -> Iterator[Item]:
    """The items up to a Ctrl-C while one is being made; those before it are then saved."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except KeyboardInterrupt as error:
            interrupts.append(error)
            return
        yield item


def _refuse_other(found: dict[str, Any], wanted: dict[str, Any], path: str | Path) -> None:
    """Stored moments serve if they are of the same images and hold at least the sources wanted."""
    differing = [
        f"{name}: {found.get(name)!r} there, {value!r} asked for"
        for name, value in wanted.items()
        if name not in ("sources", "targets")
        and found.get(name) != value
        and (name, found.get(name)) != ("grid", "same")  # equal grids are the common one
    ]
    there = found.get("sources", {})
    differing += [
        f"{name}: {'other features' if name in there else 'not'} there"
        for name, identity in wanted["sources"].items()
        if there.get(name) != identity
    ]
    differing += [
        f"{name}: stored as a target only"
        for name in found.get("targets", [])
        if name in wanted["sources"] and name not in wanted["targets"]
    ]
    if differing:
        raise InputError(
            f"{path} holds moments of something else ({'; '.join(differing)}); choose another "
            f"path, or delete it"
        )
