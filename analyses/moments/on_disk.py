"""Moments on disk: ``moments.zarr``, written whole, reloaded, and continued after an interruption.

Any zarr reader opens the file: arrays ``tokens``, ``images`` (fold), ``mean`` (fold, channel),
``scatter`` (fold, channel, channel_2) and ``done`` (image), with the source of each channel as a
coordinate and the manifest (dataset, identities of the sources, options) in the attributes.
"""

from __future__ import annotations

import itertools
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from analyses.moments.accumulate import Accumulator
from analyses.moments.second_moments import Moments, MomentsConfig
from analyses.reading import passes
from analyses.reading.batches import undone
from analyses.reading.partition import Engine
from feature_store.errors import InputError
from feature_store.protocol import ids_sha256

FORMAT = 1


def save(moments: Moments, path: str | Path, done: np.ndarray | None = None) -> None:
    """Write moments as a zarr store at `path`, replacing what is there only once all is written.

    Parameters
    ----------
    moments : Moments
    path : str or Path
        A local folder, by custom ``moments.zarr``.
    done : ndarray of bool, dims (image,), optional
        Rows that the moments cover, so that a later run can go on.
    """
    path = Path(path)
    names = np.repeat(np.array(list(moments.blocks), object), list(moments.blocks.values()))
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
            "blocks": [[name, channels] for name, channels in moments.blocks.items()],
            "manifest": moments.attrs,
        },
    )
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
    plain = {"compressors": None}  # float64 mantissas do not compress
    try:
        data.to_zarr(partial, consolidated=False, encoding={"scatter": plain, "mean": plain})
        if path.exists():
            path.rename(old)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
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
        blocks = {str(name): int(channels) for name, channels in data.attrs["blocks"]}
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} holds no moments ({error}); make them with `workbench reconstruct --moments`"
        ) from error
    if data.attrs["format"] != FORMAT:
        raise InputError(f"{path} has format {data.attrs['format']}; this version reads {FORMAT}")
    images, tokens, mean, scatter = (
        data[name].values for name in ("images", "tokens", "mean", "scatter")
    )
    moments = Moments(blocks, images, tokens, mean, scatter, dict(data.attrs["manifest"]))
    return moments, data["done"].values


def manifest(
    store: Any, sources: Sequence[str], config: MomentsConfig, grid: str = "same"
) -> dict[str, Any]:
    """What decides the moments of a store: dataset, images, identities of the sources, options."""
    return {
        "dataset": store.dataset,
        "image_count": len(store.image_ids),
        "image_ids": ids_sha256(store.image_ids),
        "sources": {name: store.source(name).identity for name in sources},
        "folds": config.folds,
        "precision": config.precision,
        "grid": grid,
        "targets": list(config.targets),
    }


def from_store(
    store: Any,
    sources: Sequence[str],
    path: str | Path,
    config: MomentsConfig | None = None,
    *,
    grid: str = "same",
    read: Callable[[list[str], np.ndarray], Iterable[Any]] | None = None,
    save_every: int = 64,
    engine: Engine | None = None,
) -> Moments:
    """Moments of the named single-scale sources of a store, kept at `path`.

    What `path` holds of the same images and options is not accumulated again: a finished file
    (which may hold more sources than asked for) is read, one that an interruption left half way is
    continued with the shards that it lacks.

    Parameters
    ----------
    store : FeatureStore
    sources : sequence of str
        Full names of single-scale sources.
    path : str or Path
        Where the moments are kept.
    config : MomentsConfig, optional
    grid : {"same", "pool"}
        Whether batches are pooled to a common grid; part of the manifest.
    read : callable, optional
        From source names and the rows already done (bool, dims (image,)) to batches, which may
        leave those rows out; ``store.stream`` by default.
    save_every : int
        Batches between two savings; a killed run loses at most that many, an interrupted one none.
    engine : Engine, optional
        Accumulates what is missing, piece by piece of the store; saved once, at the end.

    Raises
    ------
    InputError
        `path` holds moments of other images, sources or options: the message names what differs.
    """
    config = config or MomentsConfig()
    attrs, names = manifest(store, sources, config, grid), list(sources)
    done = np.zeros(len(store.image_ids), bool)
    kept: Moments | None = None
    if Path(path).exists():
        kept, done = _load(path)
        _refuse_other(kept.attrs, attrs, path)
        if done[store.status == "ok"].all():
            return kept
        attrs, names = kept.attrs, list(kept.blocks)
        config = replace(config, targets=tuple(attrs["targets"]))
    if engine is not None:
        made = _attributed(
            passes.moments(engine, store, names, config, grid=grid, done=done), attrs
        )
        kept = made if kept is None else kept.merge(made)
        save(kept, path, done | (store.status == "ok"))
        return kept
    fresh: Accumulator | None = None
    arriving = iter(read(names, done.copy()) if read else store.stream(names))
    for count in itertools.count(1):
        interrupt: KeyboardInterrupt | None = None
        try:  # an interruption while the next batch is being made finds whole batches only
            batch = next(arriving, None)
        except KeyboardInterrupt as error:
            batch, interrupt = None, error
        if batch is not None and not done[batch.index].all():
            if fresh is None:
                fresh = Accumulator({n: batch.tokens[n].shape[3] for n in names}, config)
            fresh.update(*undone(batch, names, done))
        if batch is not None:
            done[batch.index] = True
        if fresh is not None and (batch is None or count % save_every == 0):
            kept, fresh = _joined(kept, fresh, attrs), None
            save(kept, path, done)
        if interrupt is not None:
            raise interrupt
        if batch is None:
            break
    if kept is None:
        raise InputError(f"no images to accumulate for {', '.join(sources)}")
    return kept


def _joined(kept: Moments | None, fresh: Accumulator, attrs: dict[str, Any]) -> Moments:
    made = _attributed(fresh.result(), attrs)
    return made if kept is None else kept.merge(made)


def _attributed(made: Moments, attrs: dict[str, Any]) -> Moments:
    made.attrs.clear()
    made.attrs.update(attrs)
    return made


def _refuse_other(found: dict[str, Any], wanted: dict[str, Any], path: str | Path) -> None:
    """Kept moments serve if they are of the same images and hold at least what is asked for."""
    differing = [
        f"{name}: {found.get(name)!r} there, {value!r} asked for"
        for name, value in wanted.items()
        if name not in ("sources", "targets") and found.get(name) != value
    ]
    there = found.get("sources", {})
    differing += [
        f"{name}: {'other features' if name in there else 'not'} there"
        for name, identity in wanted["sources"].items()
        if there.get(name) != identity
    ]
    differing += [
        f"{name}: kept as a target only"
        for name in found.get("targets", [])
        if name in wanted["sources"] and name not in wanted["targets"]
    ]
    if differing:
        raise InputError(
            f"{path} holds moments of something else ({'; '.join(differing)}); choose another "
            f"path, or delete it"
        )
