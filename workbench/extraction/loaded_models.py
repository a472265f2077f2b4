"""Models with their weights, each loaded once for the extractions or passes that share them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from workbench.extraction.jobs import Job
from workbench.extraction.malloc import keep_blocks
from workbench.extraction.request import ModelOptions, usual_crops
from workbench.models import Backbone, load
from workbench.models.compiling import compiled
from workbench.multiscale import CropLimit
from workbench.multiscale.streams import one_core_threads


@dataclass(frozen=True)
class LoadedModel:
    """A job's model with its weights, and how much of it fits into memory."""

    job: Job
    backbone: Backbone
    limit: CropLimit


class LoadedModels:
    """Loads a model when it is first asked for."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str, ModelOptions], tuple[Backbone, CropLimit]] = {}

    def get(self, job: Job, options: ModelOptions, log: Callable[[str], None]) -> LoadedModel:
        """The job's model with its weights."""
        info = job.info
        key = (info.name, info.tap, options)
        if key not in self._loaded:
            if options.device == "cpu":
                keep_blocks()
            backbone = load(
                info.name, device=options.device, tap=info.tap, arithmetic=options.arithmetic
            )
            if options.compile:
                backbone = compiled(backbone, log)
            if not info.pretrained:
                log(f"{info.name} has random weights: its features mean nothing")
            if info.name.startswith("file:") and backbone.info.revision:
                log(f"{info.name}: {backbone.info.revision}")
            crops = usual_crops(backbone.device.type, convnet=info.convnet)
            threads = torch.get_num_threads()
            alone = backbone.device.type != "cpu" or backbone.compiled or threads == 1
            streams = None if alone else one_core_threads(threads)
            limit = CropLimit(options.max_crops or crops, log=log, streams=streams)
            self._loaded[key] = backbone, limit
        return LoadedModel(job, *self._loaded[key])

    def keep_only(self, jobs: Iterable[Job], options: ModelOptions) -> None:
        """Let go of the models that these jobs do not need."""
        needed = {(job.info.name, job.info.tap, options) for job in jobs}
        for key in self._loaded.keys() - needed:
            del self._loaded[key]
