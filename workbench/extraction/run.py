"""One extraction in hand: loaded models, and shard after shard through them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

import numpy as np
from tqdm.auto import tqdm

from feature_store import FeatureStore, protocol
from feature_store.casting import CastStatistics
from feature_store.claims import Claim
from workbench.datasets import Dataset
from workbench.extraction.accept_code import accept_code
from workbench.extraction.image_loader import (
    Decoders,
    ImageBatch,
    Pixels,
    batches_of,
    image_batches,
)
from workbench.extraction.jobs import (
    Job,
    Kept,
    backbone_key,
    manifest,
    transforms,
)
from workbench.extraction.request import ExtractReport, ExtractRequest, usual_crops
from workbench.extraction.shard import LoadedModel, ShardInHand, forward, release, start_copy
from workbench.interrupts import stop_requests
from workbench.multiscale import CropLimit


class Run:
    """Loaded models, the store they write to, and what the pass under way has done so far.

    Loading is dear and a pass over some shards is not: a process keeps its run and is given shard
    after shard.
    """

    def __init__(
        self,
        request: ExtractRequest,
        store: FeatureStore,
        dataset: Dataset,
        say: Callable[[str], None],
        kept: Kept,
    ) -> None:
        self.kept = kept
        """Models with their weights, of this run and of those that shared the dict before."""
        self.request = request
        self.store = store
        self.dataset = dataset
        self.say = say
        self.jobs: list[Job] = []
        self.models: list[LoadedModel] = []
        self.report = ExtractReport(store=store.path, images=len(store))
        self.busy: dict[int, str] = {}
        """Shards of this pass that another process holds, and which (``host:pid``)."""
        self.committed: set[int] = set()
        """Shards that this pass has committed for some source."""

    def prepare(self, job: Job) -> None:
        """Create or check the sources of a loaded model, and keep those that miss shards."""
        self.jobs.append(job)
        backbone = self.kept[backbone_key(job, self.request)]
        if not job.info.pretrained:
            self.say(f"{job.info.name} has random weights: its features mean nothing")
        crops = usual_crops(backbone.device.type, convnet=job.info.convnet)
        limit = CropLimit(self.request.max_crops or crops, log=self.say)
        manifests = {
            source: manifest(job, plan, backbone, self.request.dtype)
            for source, plan in job.plans.items()
        }
        if self.request.accept_code:
            model, pixels = LoadedModel(job, backbone, {}, limit), self._pixels_for([job])
            batch = self.request.batch or 1
            for line in accept_code(self.store, model, manifests, pixels, batch):
                self.say(line)
        writers = {}
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
                writers[source] = writer
        if writers:
            self.models.append(LoadedModel(job, backbone, writers, limit))

    @property
    def shard_count(self) -> int:
        """Shards of every source of the store."""
        return -(-len(self.store) // self.store.shard_images)

    def missing(self, shards: Collection[int] | None = None) -> dict[int, range]:
        """Shard (of the given ones, or of all) to the rows that some source misses, in order."""
        rows: dict[int, range] = {}
        for model in self.models:
            for writer in model.writers.values():
                for shard in range(writer.stored.shard_count) if shards is None else shards:
                    if writer.is_done(shard):
                        continue
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
        self.say(f"{len(todo)} shard(s), {images} image(s) to compute on {self._device()}")
        plan = batches_of(todo, self.request.batch or 1)
        batches = (
            self._decoders.batches(plan)
            if self.request.workers
            else image_batches(self._pixels, plan, workers=0, gpu=self._device() != "cpu")
        )
        start = time.perf_counter()
        with (
            tqdm(
                total=images,
                unit="image",
                desc="extract",
                disable=not progress,
                # A log file wants few lines; a terminal or a notebook is watched.
                mininterval=0.2 if sys.stderr.isatty() or "ipykernel" in sys.modules else 20,
            ) as bar,
            ThreadPoolExecutor(max_workers=1) as disk,
            stop_requests(self.say) as stopping,
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
        place = {image_id: k for k, image_id in enumerate(self.dataset.image_ids)}
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
        held: ShardInHand | None = None
        try:
            for batch in batches:
                if held is None or held.shard != batch.shard:
                    if stopping():
                        self.report.stopped = True
                        break
                    held = ShardInHand(batch.shard, todo[batch.shard])
                    self._claim(held)
                self._compute(batch, held)
                bar.update(len(batch.rows) + len(batch.failed))
                last = max([*batch.rows, *batch.failed])
                if last == held.todo.stop - 1:
                    if held.writers:
                        self.report.computed += len(held.todo)
                    writes.append(disk.submit(self._commit, held))
                    held = None
                    while len(writes) > 2 or (writes and writes[0].done()):
                        writes.pop(0).result()
            for write in writes:
                write.result()
        finally:
            if held is not None:
                release(held)

    def _claim(self, held: ShardInHand) -> None:
        """Claim the shard for every source that misses it still, and make room for it."""
        shard, todo = held.shard, held.todo
        for model in self.models:
            for source, writer in model.writers.items():
                claim = Claim(self.store.objects, protocol.claim_key(source.group, shard))
                claim.__enter__()
                if not claim.held:
                    self.report.busy += 1
                    self.busy[shard] = claim.holder
                    self.say(f"{source} shard {shard} is in the hands of {claim.holder}")
                    continue
                held.claims.append(claim)
                if writer.is_done(shard):  # by another process meanwhile
                    continue
                held.writers[source] = writer
                scale, size = writer.stored, len(todo)
                # The writer casts and counts where it stores less than the models compute here.
                exact = bool(scale.kept) or writer.todo(shard) != todo
                dtype = "float32" if exact else self.request.dtype
                held.statistics[source] = None if exact else CastStatistics()
                maps = (size, *scale.grid, scale.channels)
                held.tokens[source] = np.full(maps, np.nan, dtype)
                if "prefix" in scale.arrays:
                    shape = (size, *scale.arrays["prefix"].shape[1:])
                    held.prefix[source] = np.full(shape, np.nan, dtype)

    def _compute(self, batch: ImageBatch, held: ShardInHand) -> None:
        """Run the batch through all models and scales that the shard misses."""
        held.failed |= batch.failed
        for claim in held.claims:
            claim.renew()
        if not batch.rows:
            return
        places = np.array(batch.rows, dtype=int) - held.todo.start
        before = len(held.copies)
        for model in self.models:
            wanted = {s: plan for s, plan in model.job.plans.items() if s in held.writers}
            for source, (prefix, maps) in forward(model, wanted, batch).items():
                counted = held.statistics[source]
                parts = [(maps, held.tokens[source])]
                if source in held.prefix:
                    parts.append((prefix, held.prefix[source]))
                held.copies += [start_copy(x, into, places, counted) for x, into in parts]
        # The batch before has arrived by now; a GPU goes on with this one meanwhile.
        held.finish_copies(keep=len(held.copies) - before)

    def _commit(self, held: ShardInHand) -> None:
        """Write all sources of one shard and let go of it."""
        try:
            held.finish_copies()
            for source, writer in held.writers.items():
                todo = writer.todo(held.shard)  # a grown source needs only the tail of the rows
                tail = slice(todo.start - held.todo.start, None)
                prefix = held.prefix.get(source)
                writer.commit(
                    held.shard,
                    held.tokens[source][tail],
                    None if prefix is None else prefix[tail],
                    {row: why for row, why in held.failed.items() if row in todo},
                    held.statistics[source],
                )
                self.report.shards += 1
                self.committed.add(held.shard)
        finally:
            release(held)

    def _device(self) -> str:
        return str(self.models[0].backbone.device)
