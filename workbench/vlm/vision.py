"""Vision tokens of a source: read from a store by row, or computed from image files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from analyses.reading.labelled_tokens import good_rows
from feature_store import FeatureStore, InputError
from feature_store.errors import some
from workbench.datasets import Dataset
from workbench.datasets.folder import FileReader
from workbench.extraction.request import StreamConfig
from workbench.extraction.streaming import Running, StreamedSplit
from workbench.models.transform import Padded, Transform
from workbench.training.features import recorded, refuse_other_features


class StoredVision:
    """Tokens of a store's images by row.

    Scales with different grids (such as ``.unpooled``) are brought to the largest grid by repeating
    tokens; by default all scales have one grid.
    """

    def __init__(self, store: FeatureStore, source: str) -> None:
        self.store, self.source = store, str(store.resolve(source))
        self._singles = [str(single) for single in store.resolve(source).singles()]
        views = [store.features(single) for single in self._singles]
        if any(view.ndim != 4 for view in views):
            raise InputError(
                f"{source} keeps only some token positions of its maps; extract it without "
                f"--tokens-per-image"
            )
        self.grid: tuple[int, int] = max((int(v.shape[1]), int(v.shape[2])) for v in views)
        self.channels = sum(int(view.shape[-1]) for view in views)

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        """Tokens of these rows: float32, dims (image, row, col, channel)."""
        parts = [
            torch.from_numpy(self.store.features(single).isel(image=rows).values.astype(np.float32))
            for single in self._singles
        ]
        return torch.cat([at_grid(part, self.grid) for part in parts], -1)

    def refuse_unreadable(self, rows: np.ndarray) -> None:
        """Refuse rows whose image could not be read."""
        lost = np.setdiff1d(rows, good_rows(self.store, self.source))
        if len(lost):
            raise InputError(
                f"{len(lost)} of the questions' images could not be read when {self.store.path} "
                f"was made: {some(self.store.image_ids[lost].tolist())}; extract them again with "
                f"--retry-failed, or remove their questions"
            )

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Single-scale source to the fields that a run records and compares."""
        return {single: recorded(self.store.source(single).manifest) for single in self._singles}

    @property
    def cropped(self) -> bool:
        """Whether images were cropped at their centre, as far as the store tells."""
        found = [one["transform"] for one in self.manifests().values() if one["transform"]]
        return any(Transform.stored(one).mode == "centre" for one in found)


def at_grid(tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Tokens on a larger grid, by repeating the nearest; dims (image, row, col, channel)."""
    if tuple(tokens.shape[1:3]) == tuple(grid):
        return tokens
    return interpolate(tokens.permute(0, 3, 1, 2), size=grid).permute(0, 2, 3, 1)


class Tower:
    """Computes tokens of images with the tower, transform and arithmetic of a training.

    `manifests` are :meth:`StoredVision.manifests` of the training store, `grid` that of its tokens.
    """

    def __init__(
        self,
        manifests: Mapping[str, Mapping[str, Any]],
        grid: tuple[int, int],
        log: Callable[[str], None],
    ) -> None:
        self.manifests, self.grid = manifests, grid
        one = next(iter(manifests.values()))
        padded = bool(one["transform"]) and isinstance(Transform.stored(one["transform"]), Padded)
        config = StreamConfig(
            fit="pad" if padded else "model", arithmetic=one["precision"] or StreamConfig.arithmetic
        )
        self._running = Running(config, log)

    def __call__(
        self, names: Sequence[str], read: Callable[[str], bytes] | None = None
    ) -> torch.Tensor:
        """Tokens, float32, dims (image, row, col, channel), of image files, each named once.

        `read` gives the content of a file by its name; by default the name is a path.

        Raises
        ------
        InputError
            Weights, transform or arithmetic of the tower differ from the training; an image cannot
            be read.
        """
        dataset = Dataset(
            name="files", image_ids=list(names), labels=np.full(len(names), -1, np.int32),
            label_names=[], reader=read or FileReader(""),
        )  # fmt: skip
        split, singles = StreamedSplit(dataset, self._running), list(self.manifests)
        live = {single: recorded(split.source(single).manifest) for single in singles}
        refuse_other_features(self.manifests, live, "computed here")
        parts: dict[str, list[torch.Tensor]] = {single: [] for single in singles}
        seen = 0
        for batch in split.stream(singles):
            seen += len(batch.index)
            for single in singles:
                parts[single].append(torch.as_tensor(np.asarray(batch.tokens[single])).float())
        if seen < len(names):
            raise InputError(f"{len(names) - seen} of the images cannot be read: {some(names)}")
        return torch.cat([at_grid(torch.cat(parts[one]), self.grid) for one in singles], -1)
