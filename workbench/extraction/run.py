"""One extraction: shard after shard through its loaded models, into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import numpy as np
import torch
from tqdm.auto import tqdm

from analyses.reading.progress import shown
from feature_store import FeatureStore, Source, protocol
from feature_store.casting import CastStatistics
from feature_store.claims import Claim
from feature_store.writer import SourceWriter
from workbench.datasets import Dataset
from workbench.extraction import selective
from workbench.extraction.accept_code import accept_code
from workbench.extraction.image_loader import (
    Decoders,
    ImageBatch,
    Pixels,
    batches_of,
    image_batches,
)
from workbench.extraction.jobs import Job, manifest, transforms
from workbench.extraction.loaded_models import LoadedModel, LoadedModels
from workbench.extraction.request import ExtractReport, ExtractRequest
from workbench.extraction.selective import Selector
from workbench.extraction.shard import ShardBuffers, forward, start_copy
from workbench.interrupts import stop_requests
from workbench.models import Tokens
from workbench.multiscale import ScalePlan


class Extraction:
    """Loaded models, the store they write to, and what the current pass has done so far.

    Loading takes long and a pass over some shards does not: a process keeps its extraction and
    computes shard after shard.
    """

    def __init__(
        self,
        request: ExtractRequest,
        store: FeatureStore,
        dataset: Dataset,
        loaded: LoadedModels,
        log: Callable[[str], None],
    ) -> None:
        self.loaded = loaded
        self.request = request
        self.store = store
        self.dataset = dataset
        self.log = log
        self.selector = Selector.of(request)
        self.jobs: list[Job] = []
        self.models: list[LoadedModel] = []
        """Models with sources that miss shards."""
        self.writers: dict[Source, SourceWriter] = {}
        """Writers of the sources that miss shards."""
        self.report = ExtractReport(store=store.path, images=len(store))
        self.busy: dict[int, str] = {}
        """Shards of this pass that another process holds, and which (``host:pid``)."""
        self.committed: set[int] = set()
        """Shards that this pass has committed for some source."""

    def prepare(self, job: Job) -> None:
        """Create or check the sources of a job, and keep the sources that lack shards."""
        self.jobs.append(job)
        model = self.loaded.get(job, self.request.model_options, self.log)
        manifests = {
            source: manifest(job, plan, model.backbone, self.request.dtype, self.dataset.decoding)
            for source, plan in job.plans.items()
        }
        if self.selector:
            sha256 = model.backbone.weights_sha256
            for source, plan in job.plans.items():
                manifests[source] |= self.selector.manifest(plan, sha256)
        if self.request.accept_code:
            pixels, batch = self._pixels_for([job]), self.request.batch or 1
            for line in accept_code(self.store, model, manifests, pixels, batch):
                self.log(line)
        for source, plan in job.plans.items():
            writer = self.store.add_source(
                source,
                manifest=manifests[source],
                grid=plan.grid,
                channels=job.info.channels,
                prefix=job.info.prefix,
                dtype=self.request.dtype,
                layout=self.request.layout,
                keep=self.request.tokens_per_image,
            )
            if writer.missing():
                self.writers[source] = writer
        if job.plans.keys() & self.writers.keys():
            self.models.append(model)

    @property
    def shard_count(self) -> int:
        """Shards of every source of the store."""
        return -(-len(self.store) // self.store.shard_images)

    def missing(self, shards: Collection[int] | None = None) -> dict[int, range]:
        """Shard (of the given ones, or of all) to the rows that some source misses, in order."""
        rows: dict[int, range] = {}
        for writer in self.writers.values():
            absent = (
                writer.missing()
                if shards is None
                else [shard for shard in shards if not writer.is_done(shard)]
            )
            for shard in absent:
                part = writer.todo(shard)
                first = min(part.start, rows[shard].start) if shard in rows else part.start
                rows[shard] = range(first, part.stop)
        return dict(sorted(rows.items()))

    def execute(
        self, shards: Collection[int] | None = None, *, progress: bool = True
    ) -> ExtractReport:
        """Run every missing shard (of the given ones) once through all models that miss it."""
        self.report = ExtractReport(store=self.store.path, images=len(self.store))
        self.busy, self.committed = {}, set()
        todo = self.missing(shards)
        if not todo:
            return self.report
        images = sum(len(rows) for rows in todo.values())
        self.log(f"{len(todo)} shard(s), {images} image(s) to compute on {self._where()}")
        plan = batches_of(todo, self.request.batch or 1)
        batches = (
            self._decoders.batches(plan)
            if self.request.workers
            else image_batches(self._pixels, plan, workers=0, gpu=self._device() != "cpu")
        )
        start = time.perf_counter()
        with (
            shown("extract", total=images, unit="image", wanted=progress) as bar,
            ThreadPoolExecutor(max_workers=1) as disk,
            stop_requests(self.log) as stopping,
        ):
            self._loop(batches, todo, bar, disk, stopping)
            self.report.interrupted = stopping()
        self.report.seconds = time.perf_counter() - start
        return self.report

    @cached_property
    def _pixels(self) -> Pixels:
        """Decoded pixels for all models."""
        return self._pixels_for([model.job for model in self.models])

    def _pixels_for(self, jobs: Sequence[Job]) -> Pixels:
        """Store row to decoded pixels; the store may list the images in another order."""
        place = self.dataset.places()
        index = np.array([place[i] for i in self.store.image_ids])
        return Pixels(self.dataset, index, transforms(jobs))

    @cached_property
    def _decoders(self) -> Decoders:
        """Decoding processes of all passes of this run."""
        return Decoders(self._pixels, self.request.workers, gpu=self._device() != "cpu")

    def _loop(
        self,
        batches: Iterator[ImageBatch],
        todo: dict[int, range],
        bar: tqdm,
        disk: ThreadPoolExecutor,
        stopping: Callable[[], bool],
    ) -> None:
        """Fill one shard's buffers at a time; hand full ones to the disk, at most two waiting."""
        writes: list[Future] = []
        buffers: ShardBuffers | None = None
        try:
            for batch in batches:
                if buffers is None or buffers.shard != batch.shard:
                    if stopping():
                        self.report.stopped = True
                        break
                    buffers = ShardBuffers(batch.shard, todo[batch.shard])
                    self._claim(buffers)
                self._compute(batch, buffers)
                bar.update(len(batch.rows) + len(batch.failed))
                last = max([*batch.rows, *batch.failed])
                if last == buffers.todo.stop - 1:
                    if buffers.writers:
                        self.report.computed += len(buffers.todo)
                    writes.append(disk.submit(self._commit, buffers))
                    buffers = None
                    while len(writes) > 2 or (writes and writes[0].done()):
                        writes.pop(0).result()
            for write in writes:
                write.result()
        finally:
            if buffers is not None:
                buffers.release()

    def _claim(self, buffers: ShardBuffers) -> None:
        """Claim the shard for every source that misses it still, and make room for it."""
        shard, todo = buffers.shard, buffers.todo
        for source, writer in self.writers.items():
            claim = Claim(self.store.objects, protocol.claim_key(writer.stored.group, shard))
            claim.__enter__()
            if not claim.held:
                self.report.busy += 1
                self.busy[shard] = claim.holder
                self.log(f"{source} shard {shard} is being computed by {claim.holder}")
                continue
            buffers.claims.append(claim)
            if writer.is_done(shard):  # by another process meanwhile
                continue
            buffers.writers[source] = writer
            stored, size = writer.stored, len(todo)
            # The writer casts and counts if it stores less than the models compute here.
            exact = bool(stored.kept) or writer.todo(shard) != todo
            dtype = "float32" if exact else self.request.dtype
            buffers.statistics[source] = None if exact else CastStatistics()
            maps = (size, *stored.grid, stored.channels)
            buffers.tokens[source] = np.full(maps, np.nan, dtype)
            if "prefix" in stored.arrays:
                shape = (size, *stored.arrays["prefix"].shape[1:])
                buffers.prefix[source] = np.full(shape, np.nan, dtype)

    def _compute(self, batch: ImageBatch, buffers: ShardBuffers) -> None:
        """Run the batch through all models and scales that the shard misses."""
        buffers.failed |= batch.failed
        buffers.seen |= batch.seen
        for claim in buffers.claims:
            claim.renew()
        if not batch.rows:
            return
        places = np.array(batch.rows, dtype=int) - buffers.todo.start
        before = len(buffers.copies)
        for model in self.models:
            wanted = {s: plan for s, plan in model.job.plans.items() if s in buffers.writers}
            for source, (prefix, maps) in self._forward(model, wanted, batch).items():
                counted = buffers.statistics[source]
                parts = [(maps, buffers.tokens[source])]
                if source in buffers.prefix:
                    parts.append((prefix, buffers.prefix[source]))
                buffers.copies += [start_copy(x, into, places, counted) for x, into in parts]
        # The batch before has arrived by now; a GPU computes this one meanwhile.
        buffers.finish_copies(keep=len(buffers.copies) - before)

    def _forward(
        self, model: LoadedModel, wanted: dict[Source, ScalePlan], batch: ImageBatch
    ) -> dict[Source, Tokens]:
        """Features of a batch at the scales that the shard misses."""
        if self.selector is None:
            return forward(model, wanted, batch)
        ids = self.store.image_ids[batch.rows].tolist()
        found, crops = selective.forward(model, self.selector, batch, ids)
        self.report.crops += crops
        return {source: found[source] for source in wanted}

    def _commit(self, buffers: ShardBuffers) -> None:
        """Write all sources of one shard and release its claims."""
        try:
            buffers.finish_copies()
            for source, writer in buffers.writers.items():
                todo = writer.todo(buffers.shard)  # a grown source needs only the tail of the rows
                tail = slice(todo.start - buffers.todo.start, None)
                prefix = buffers.prefix.get(source)
                writer.commit(
                    buffers.shard,
                    buffers.tokens[source][tail],
                    None if prefix is None else prefix[tail],
                    {row: why for row, why in buffers.failed.items() if row in todo},
                    buffers.statistics[source],
                    buffers.images(todo),
                )
                self.report.shards += 1
                self.committed.add(buffers.shard)
        finally:
            buffers.release()

    def _where(self) -> str:
        device = self._device()
        return f"{device}, {torch.get_num_threads()} thread(s)" if device == "cpu" else device

    def _device(self) -> str:
        return str(self.models[0].backbone.device)
