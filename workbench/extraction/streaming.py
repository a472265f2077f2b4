"""Features straight from running models, for analyses that read every image once.

A :class:`StreamedSplit` answers like a store (names, image ids, batches of tokens in row order) and
computes features when they are requested. Features that a store already holds are read from there.
Values equal the ones that ``workbench extract --dtype float32`` would have stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

import feature_store
from analyses.reading.grids import TokenBatch
from feature_store import FeatureStore, InputError, Source, StoreError, protocol
from feature_store.dataset_name import is_dataset_name
from feature_store.recorded_images import as_numbers, recorded_images
from workbench import datasets
from workbench.datasets import Dataset
from workbench.datasets.pictures import recorded_decoding
from workbench.extraction.image_loader import ImageBatch, Pixels, image_batches
from workbench.extraction.jobs import Job, below_native, manifest, resolve_jobs, transforms
from workbench.extraction.loaded_models import LoadedModel, LoadedModels
from workbench.extraction.request import Fit, ModelOptions, StreamConfig
from workbench.extraction.same_images import compare, fingerprints
from workbench.extraction.shard import forward
from workbench.interrupts import stop_requests

_AFTER_BATCH = "stopping after these images; once more to stop at once"


@dataclass(frozen=True)
class StreamedSource:
    """A single-scale source in a split that computes it."""

    grid: tuple[int, int]
    """(rows, cols) of the token map."""
    describe: Callable[[], dict[str, Any]]
    """Loads the model."""

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Manifest that its stored float32 features would have."""
        return self.describe()

    @property
    def identity(self) -> str:
        """Identity of that manifest."""
        return protocol.identity(self.manifest)


@dataclass
class Running:
    """Loaded models, shared by all splits that are given this object."""

    config: StreamConfig = field(default_factory=StreamConfig)
    log: Callable[[str], None] = print
    loaded: LoadedModels = field(default_factory=LoadedModels)
    _warned: set[str] = field(default_factory=set)

    def warn(self, line: str) -> None:
        """Log a warning, unless it was logged before."""
        if line not in self._warned:
            self._warned.add(line)
            self.log(f"warning: {line}")

    def model(self, job: Job) -> LoadedModel:
        """The job's model with its weights, loaded once."""
        options = ModelOptions(device=self.config.device, arithmetic=self.config.arithmetic)
        return self.loaded.get(job, options, self.log)


class StreamedSplit:
    """The reading side of a store, computed on demand.

    Parameters
    ----------
    dataset : Dataset
        Images in row order.
    running : Running
        Models and how they run; may be shared with other splits.
    store : FeatureStore, optional
        A store of the same images; sources that it holds completely are read from it.

    Raises
    ------
    InputError
        The store's images are not all in the dataset.
    """

    def __init__(
        self, dataset: Dataset, running: Running, store: FeatureStore | None = None
    ) -> None:
        if store is not None:
            dataset = dataset.ordered_as(store.image_ids, store.path)
        self._dataset, self._running, self._store = dataset, running, store
        self.dataset = dataset.name
        self.path = dataset.name if store is None else store.path
        self.image_ids = np.array(dataset.image_ids, dtype=str)
        self._fingerprints = np.zeros(len(self.image_ids), np.uint64)
        if store is not None:
            self._fingerprints = recorded_images(store).fingerprints
        self._looked_at = self._fingerprints > 0

    @property
    def fingerprints(self) -> np.ndarray:
        """uint64, dims (image,): of the decoded pixels, 0 where they cannot be read.

        Images that no pass has read yet are decoded.
        """
        return self.fingerprints_of(np.arange(len(self.image_ids)))

    def fingerprints_of(self, rows: np.ndarray) -> np.ndarray:
        """:attr:`fingerprints` of these rows alone."""
        new = rows[~self._looked_at[rows]]
        self._fingerprints[new] = fingerprints(self._dataset, new.tolist())
        self._looked_at[new] = True
        return self._fingerprints[rows]

    @property
    def status(self) -> np.ndarray:
        """(image,) str: ``ok`` for every image, as none has been looked at yet."""
        return np.full(len(self.image_ids), "ok")

    def resolve(self, source: str | Source) -> Source:
        """Fill in the tap (the model's default one) and write scales in pixels.

        Raises
        ------
        InputError
            An unknown model or tap, or a scale that the model cannot run at.
        """
        wanted = Source.parse(source) if isinstance(source, str) else source
        if self._store is not None:
            try:
                return self._store.resolve(wanted)
            except StoreError:
                pass  # then it is computed, all of it or in part
        job = _job(wanted, self._running.config.fit)
        scales = tuple(single.scales[0] for single in job.plans)
        return Source(job.info.name, job.info.tap, scales)

    def source(self, source: str | Source) -> StreamedSource:
        """Grid and manifest of a single-scale source."""
        (single,) = self.resolve(source).singles()
        if self._is_stored(single):
            stored = self._store.source(single)  # type: ignore[union-attr]
            return StreamedSource(stored.grid, lambda: stored.manifest)
        job = _job(single, self._running.config.fit)
        plan, decoding = job.plans[single], self._dataset.decoding

        def describe() -> dict[str, Any]:
            backbone = self._running.model(job).backbone
            return manifest(job, plan, backbone, "float32", decoding)

        return StreamedSource(plan.grid, describe)

    def stream(
        self, sources: Sequence[str], *, done: np.ndarray | None = None
    ) -> Iterator[TokenBatch]:
        """Tokens of several sources, batch after batch; single-scale sources only.

        Computed ones are float32 tensors on the model's device, stored ones arrays. Images that
        cannot be read are left out.

        Parameters
        ----------
        sources : sequence of str
            Full names ``MODEL#TAP@SCALE``.
        done : bool array, dims (image,), optional
            Rows to leave out.

        Raises
        ------
        KeyboardInterrupt
            After the current batch, on the first Ctrl-C or SIGTERM.
        """
        with stop_requests(self._running.log, _AFTER_BATCH) as stopping:
            for batch in self.batches(sources, done=done):
                yield batch
                if stopping():
                    raise KeyboardInterrupt

    def batches(
        self, sources: Sequence[str], *, done: np.ndarray | None = None
    ) -> Iterator[TokenBatch]:
        """As :meth:`stream`, but signals are left to the caller."""
        singles = [self.resolve(name) for name in sources]
        stored = [single for single in singles if self._is_stored(single)]
        fit = self._running.config.fit
        jobs = _jobs([single for single in singles if single not in stored], fit)
        if self._store is not None and not jobs:
            yield from self._store.stream(sources)  # type: ignore[misc]  # batches alike
            return
        for line in below_native(jobs, [single.scales[0] for single in singles]):
            self._running.warn(line)
        models = [self._running.model(job) for job in jobs]
        rows = np.arange(len(self.image_ids)) if done is None else np.flatnonzero(~done)
        for single in stored:
            rows = np.setdiff1d(rows, list(self._store.source(single).failed_rows()))  # type: ignore[union-attr]
        size = self._running.config.batch
        plan = [(0, [int(r) for r in rows[k : k + size]]) for k in range(0, len(rows), size)]
        batches = image_batches(
            Pixels(self._dataset, np.arange(len(self.image_ids)), transforms(jobs)),
            plan,
            workers=self._running.config.workers,
            gpu=self._running.config.device != "cpu",
        )
        for batch in batches:
            self._note(batch)
            if not batch.rows:
                continue
            index = np.array(batch.rows, dtype=np.int64)
            tokens: dict[str, Any] = {
                str(single): self._store.features(single).isel(image=index).values  # type: ignore[union-attr]
                for single in stored
            }
            for model in models:
                found = forward(model, model.job.plans, batch)
                tokens |= {str(single): of.map for single, of in found.items()}
            yield TokenBatch(index, tokens)

    def _note(self, batch: ImageBatch) -> None:
        """Keep the fingerprints of the images that were decoded."""
        rows = list(batch.seen)
        self._fingerprints[rows] = as_numbers([seen.fingerprint for seen in batch.seen.values()])
        self._looked_at[rows] = True

    def _is_stored(self, single: Source) -> bool:
        held = self._store is not None and str(single) in self._store.sources()
        return held and not self._store.source(single).missing()  # type: ignore[union-attr]


def open_split(name: str, running: Running, limit: int | None = None) -> StreamedSplit:
    """A split by dataset name, or by the path of a store, whose missing sources are computed.

    `limit` is the number of images of a dataset to use, from the first; a store has its own images.
    """
    if is_dataset_name(name):
        return StreamedSplit(datasets.open(name, limit=limit), running)
    store = feature_store.open(name)
    dataset = datasets.open_of(store, decoding=recorded_decoding(store))
    if changed := compare(store, dataset, running.log).changed:
        raise InputError(
            f"{len(changed)} of the images in {store.path} have changed, such as "
            f"{store.image_ids[changed[0]]}; `workbench extract --redo-changed` computes them again"
        )
    return StreamedSplit(dataset, running, store)


def _job(source: Source, fit: Fit) -> Job:
    (job,) = resolve_jobs([source.model_and_tap], source.scales, fit=fit)
    return job


def _jobs(singles: Iterable[Source], fit: Fit) -> list[Job]:
    """One job per model and tap, with all the scales asked for."""
    scales: dict[str, list[str]] = {}
    for single in singles:
        scales.setdefault(single.model_and_tap, []).extend(single.scales)
    return [resolve_jobs([model], wanted, fit=fit)[0] for model, wanted in scales.items()]
