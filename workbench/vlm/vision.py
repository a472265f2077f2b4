"""Vision tokens of a source: read from a store by row, or computed from image files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xxhash
from torch.nn.functional import interpolate

import feature_store
from analyses.reading.labelled_tokens import good_rows
from feature_store import FeatureStore, InputError, Source, protocol
from feature_store.dataset_name import is_dataset_name
from feature_store.errors import some
from workbench import datasets
from workbench.datasets import Dataset, DecodeError, Decoding
from workbench.datasets.folder import FileReader
from workbench.extraction.request import StreamConfig
from workbench.extraction.same_images import sampled_rows
from workbench.extraction.streaming import Running, StreamedSplit
from workbench.models import resolve
from workbench.models.transform import Padded, Transform
from workbench.training.features import USUAL, recorded, refuse_other_features

Images = FeatureStore | StreamedSplit
"""Images with features: stored, or computed whenever they are asked for."""


def open_images(name: str, running: Running, decoding: Decoding | None = None) -> Images:
    """A store by its path, or a dataset by its name, whose features `running` computes.

    `decoding` is how files of a dataset become pixels.
    """
    if is_dataset_name(name):
        return StreamedSplit(datasets.open(name, decoding=decoding), running)
    return feature_store.open(name)


def open_vision(images: Images, source: str) -> Vision:
    """The tokens of a source, read from a store or computed."""
    if isinstance(images, StreamedSplit):
        return ComputedVision(images, source)
    return StoredVision(images, source)


class Vision:
    """Tokens of images by row.

    Scales with different grids (such as ``.unpooled``) are brought to the largest grid by repeating
    tokens; by default all scales have one grid.
    """

    grid: tuple[int, int]
    """Rows and columns of a token map."""
    channels: int
    """Channels of a token, of all scales together."""

    def __init__(self, images: Images, source: str) -> None:
        self.images, self.source = images, str(images.resolve(source))
        self.singles = [str(single) for single in images.resolve(source).singles()]

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        """Tokens of these rows: float32, dims (image, row, col, channel), on any device."""
        raise NotImplementedError

    def refuse_unreadable(self, rows: np.ndarray) -> None:
        """Refuse rows whose image is known to be unreadable."""

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Single-scale source to the fields that a run records and compares.

        Beside those of :func:`recorded` this is ``orientation``, if it is not the usual one.
        """
        return {single: _fields(self.images.source(single).manifest) for single in self.singles}

    def identity(self) -> dict[str, Any]:
        """Hashes of the images' names and of how the features were made."""
        return {
            "images": protocol.ids_sha256(self.images.image_ids),
            "features": {one: self.images.source(one).identity for one in self.singles},
        }

    @property
    def cropped(self) -> bool:
        """Whether images were cropped at their centre, as far as the manifests tell."""
        found = [one["transform"] for one in self.manifests().values() if one["transform"]]
        return any(Transform.stored(one).mode == "centre" for one in found)


class StoredVision(Vision):
    """Tokens that a store holds."""

    images: FeatureStore

    def __init__(self, store: FeatureStore, source: str) -> None:
        super().__init__(store, source)
        views = [store.features(single) for single in self.singles]
        if any(view.ndim != 4 for view in views):
            raise InputError(
                f"{source} keeps only some token positions of its maps; extract it without "
                f"--tokens-per-image"
            )
        self.grid = max((int(v.shape[1]), int(v.shape[2])) for v in views)
        self.channels = sum(int(view.shape[-1]) for view in views)

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        """As :meth:`Vision.__call__`."""
        views = (self.images.features(single) for single in self.singles)
        parts = (torch.from_numpy(v.isel(image=rows).values.astype(np.float32)) for v in views)
        return torch.cat([at_grid(part, self.grid) for part in parts], -1)

    def refuse_unreadable(self, rows: np.ndarray) -> None:
        """As :meth:`Vision.refuse_unreadable`."""
        lost = np.setdiff1d(rows, good_rows(self.images, self.source))
        if len(lost):
            raise InputError(
                f"{len(lost)} of the questions' images could not be read when {self.images.path} "
                f"was made: {some(self.images.image_ids[lost].tolist())}; extract them again with "
                f"--retry-failed, or remove their questions"
            )


class ComputedVision(Vision):
    """Tokens of a dataset's images, computed anew in every step."""

    images: StreamedSplit

    def __init__(self, split: StreamedSplit, source: str) -> None:
        super().__init__(split, source)
        self.grid = max(split.source(single).grid for single in self.singles)
        model = Source.parse(self.source)
        self.channels = len(self.singles) * resolve(model.model, model.tap).channels

    def identity(self) -> dict[str, Any]:
        """As :meth:`Vision.identity`, and a hash of the pixels of :func:`sampled_rows`."""
        rows = sampled_rows(len(self.images.image_ids))
        pixels = xxhash.xxh3_128(self.images.fingerprints_of(rows).tobytes()).hexdigest()
        return super().identity() | {"pixels": pixels}

    def __call__(self, rows: np.ndarray) -> torch.Tensor:
        """As :meth:`Vision.__call__`, on the encoder's device.

        Raises
        ------
        InputError
            An image cannot be read.
        """
        wanted, places = np.unique(rows, return_inverse=True)
        done = np.ones(len(self.images.image_ids), bool)
        done[wanted] = False
        parts: dict[str, list[torch.Tensor]] = {single: [] for single in self.singles}
        seen: list[int] = []
        for batch in self.images.batches(self.singles, done=done):
            seen.extend(batch.index.tolist())
            for single in self.singles:
                parts[single].append(torch.as_tensor(batch.tokens[single]).float())
        if len(lost := np.setdiff1d(wanted, seen)):
            raise self.unreadable(lost)
        whole = (at_grid(torch.cat(parts[single]), self.grid) for single in self.singles)
        return torch.cat(list(whole), -1)[torch.from_numpy(places)]

    def unreadable(self, rows: np.ndarray) -> InputError:
        """The refusal of rows whose image cannot be read."""
        names = some(self.images.image_ids[rows].tolist())
        return InputError(
            f"{len(rows)} of the images cannot be read: {names}; mend the files or remove their "
            f"questions, and repeat the command"
        )


class FileVision(ComputedVision):
    """Tokens of image files that were named one by one."""

    def __init__(self, dataset: Dataset, running: Running, source: str) -> None:
        super().__init__(StreamedSplit(dataset, running), source)
        self._dataset = dataset

    def unreadable(self, rows: np.ndarray) -> InputError:
        """As :meth:`ComputedVision.unreadable`, with the reason for the first."""
        first, reason = int(rows[0]), "cannot be read"
        try:
            self._dataset.image(first)
        except DecodeError as error:
            reason = error.reason
        return InputError(
            f"image {self._dataset.image_ids[first]}: {reason}; name an image that can be read"
        )


def at_grid(tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Tokens on a larger grid, by repeating the nearest; dims (image, row, col, channel)."""
    if tuple(tokens.shape[1:3]) == tuple(grid):
        return tokens
    return interpolate(tokens.permute(0, 3, 1, 2), size=grid).permute(0, 2, 3, 1)


def _fields(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a manifest that a run records."""
    found = Decoding.recorded(manifest.get("decoder") or "").orientation
    return recorded(manifest) | ({} if found == USUAL["orientation"] else {"orientation": found})


def decoding_as(manifests: Mapping[str, Mapping[str, Any]]) -> Decoding:
    """How the images behind these :meth:`Vision.manifests` became pixels.

    A damaged image is refused, also where the store kept it.
    """
    return Decoding(orientation={**USUAL, **next(iter(manifests.values()))}["orientation"])


def running_as(
    manifests: Mapping[str, Mapping[str, Any]], log: Callable[[str], None], device: str = "cpu"
) -> Running:
    """An encoder that runs as the one behind these :meth:`Vision.manifests`."""
    one = next(iter(manifests.values()))
    padded = bool(one["transform"]) and isinstance(Transform.stored(one["transform"]), Padded)
    config = StreamConfig(
        device=device,
        fit="pad" if padded else "model",
        arithmetic=one["precision"] or StreamConfig.arithmetic,
    )
    return Running(config, log)


class Encoder:
    """Computes tokens of image files with the encoder of a training, run and decoded as there.

    `manifests` are :meth:`Vision.manifests` of the training images, of one `source`.
    """

    def __init__(
        self,
        manifests: Mapping[str, Mapping[str, Any]],
        source: str,
        log: Callable[[str], None],
        device: str = "cpu",
    ) -> None:
        self.manifests, self.source = manifests, source
        self._running, self._decoding = running_as(manifests, log, device), decoding_as(manifests)

    def __call__(
        self, names: Sequence[str], read: Callable[[str], bytes] | None = None
    ) -> torch.Tensor:
        """Tokens, float32, dims (image, row, col, channel), of image files, each named once.

        `read` gives the content of a file by its name; by default the name is a path.

        Raises
        ------
        InputError
            Weights, transform or arithmetic of the encoder differ from the training; an image
            cannot be read.
        """
        dataset = Dataset(
            name="files", image_ids=list(names), labels=np.full(len(names), -1, np.int32),
            label_names=[], reader=read or FileReader(""), decoding=self._decoding,
        )  # fmt: skip
        vision = FileVision(dataset, self._running, self.source)
        refuse_other_features(self.manifests, vision.manifests(), "computed here")
        return vision(np.arange(len(names)))
