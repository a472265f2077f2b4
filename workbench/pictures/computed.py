"""Token maps of image files, computed on the spot and not stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from analyses.token_maps import Basis, basis_of_tokens
from feature_store import InputError, Source
from feature_store.source import names_of
from workbench.datasets import Dataset, DecodeError
from workbench.datasets.folder import FileReader
from workbench.extraction.jobs import resolve_jobs
from workbench.extraction.streaming import Running, StreamConfig, StreamedSplit
from workbench.models import Transform
from workbench.pictures.maps import with_parts


class ComputedMaps:
    """Maps of a few image files under one or more models, all kept in memory.

    Models are ``MODEL`` or ``MODEL#TAP``, scales pixels or multiples of each model's native size,
    such as ``1x 2x``.

    Raises
    ------
    InputError
        A file or model is missing; a file cannot be read; a model is unknown or cannot run at a
        scale.
    """

    def __init__(
        self, paths: str | Sequence[str], models: str | Sequence[str], scales: str | Sequence[str]
    ) -> None:
        if not paths or not models:
            raise InputError("name at least one image file and one model, as in --model MODEL")
        self.image_ids = list(names_of(paths))
        unlabelled = np.full(len(self.image_ids), -1, np.int32)
        dataset = Dataset(
            name="files", image_ids=self.image_ids, labels=unlabelled, label_names=[],
            reader=FileReader(""),
        )  # fmt: skip
        self._pictures = [_picture(dataset, row) for row in range(len(dataset))]
        self.sources: list[str] = []
        self._transforms: dict[str, Transform] = {}
        self._native: dict[str, int] = {}
        jobs = resolve_jobs(models, scales)
        for job in jobs:
            names = tuple(single.scales[0] for single in job.plans)
            found = with_parts(Source(job.info.name, job.info.tap, names))
            alike = len({plan.grid for plan in job.plans.values()}) == 1
            self.sources += found if alike else found[1:]
            self._native[job.info.name] = job.info.native
            self._transforms |= {str(s): job.transform(plan) for s, plan in job.plans.items()}
        self.default = self.sources
        singles = list(self._transforms)
        split = StreamedSplit(dataset, Running(StreamConfig(), lambda line: None))
        maps: dict[str, list[np.ndarray]] = {name: [] for name in singles}
        for batch in split.stream(singles):
            for name in singles:
                maps[name].append(np.asarray(batch.tokens[name]))
        self._maps = {name: np.concatenate(found) for name, found in maps.items()}

    def parts(self, source: str) -> list[str]:
        """The source itself and, if it has several scales, each single scale."""
        return with_parts(self._known(source))

    def tokens(self, source: str, row: int) -> np.ndarray:
        """float32, dims (row, col, channel)."""
        return self._whole(source)[row]

    def basis(self, source: str) -> Basis:
        """The principal basis of the source over these images."""
        tokens = self._whole(source)
        return basis_of_tokens(tokens.reshape(-1, tokens.shape[-1]))

    def photograph(self, row: int, source: str) -> np.ndarray | str:
        """RGB uint8 as the source's model saw the image."""
        first = self._known(source).singles()[0]
        return self._transforms[str(first)](Image.fromarray(self._pictures[row]))

    def _whole(self, source: str) -> np.ndarray:
        parts = [self._maps[str(single)] for single in self._known(source).singles()]
        if len({part.shape[1:3] for part in parts}) > 1:
            raise InputError(f"{source}: the scales have different token grids; name one of them")
        return np.concatenate(parts, axis=-1)

    def _known(self, source: str) -> Source:
        """Fill in the tap of a source; refuse scales that were not computed."""
        wanted = Source.parse(source)
        for name in map(Source.parse, self._maps):
            if wanted.tap is None and name.model == wanted.model:
                wanted = wanted.with_tap(str(name.tap))
        if wanted.model in self._native:
            wanted = wanted.at_native(self._native[wanted.model])
        if any(str(single) not in self._maps for single in wanted.singles()):
            raise InputError(f"{source} is not computed here; computed: {', '.join(self._maps)}")
        return wanted


def _picture(dataset: Dataset, row: int) -> np.ndarray:
    try:
        return dataset.image(row)
    except DecodeError as error:
        raise InputError(f"{dataset.image_ids[row]}: {error.reason}") from error
