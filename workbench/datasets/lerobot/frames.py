"""``lerobot:DIR[#CAMERA]``: the frames of a LeRobotDataset, episode after episode."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from feature_store.dataset_name import DatasetName
from workbench.datasets.archives.location import Archive, located
from workbench.datasets.archives.parquet import Table, cell_bytes, read_table
from workbench.datasets.base import UNLABELLED, Dataset
from workbench.datasets.decode import DecodeError
from workbench.datasets.lerobot.layout import DatasetLayout, Episode, read_layout
from workbench.datasets.lerobot.video import frame_at


@dataclass(frozen=True)
class FrameReader:
    """Image id, ``episode_EEEEEE/frame_FFFFFF`` -> encoded bytes, or the frame of a video."""

    root: Path
    episodes: dict[int, Episode] = field(repr=False)
    tables: dict[Path, Table] = field(repr=False)
    camera: str
    fps: float

    def __call__(self, image_id: str) -> bytes | Image.Image:
        episode, frame = self._of(image_id)
        if video := episode.videos.get(self.camera):
            return frame_at(str(video.path), video.start + frame / self.fps, self.fps)
        table = self.tables[episode.path]
        data, path = cell_bytes(table, episode.first_row + frame, self.camera)
        if data is None and path:
            return (self.root / path).read_bytes()
        if data is None:
            raise DecodeError("no picture in this row")
        return data

    def state(self, image_id: str) -> list[int]:
        """[bytes, modification time in ns] of the table when it was listed, or of the video."""
        episode, _ = self._of(image_id)
        if video := episode.videos.get(self.camera):
            found = video.path.stat()
            return [found.st_size, found.st_mtime_ns]
        return self.tables[episode.path].archive.state

    def _of(self, image_id: str) -> tuple[Episode, int]:
        episode, _, frame = image_id.partition("/")
        return self.episodes[int(episode.removeprefix("episode_"))], int(
            frame.removeprefix("frame_")
        )


def open_lerobot(name: DatasetName) -> Dataset:
    """Frames in the order of their episodes, without labels; ids name episode and frame.

    Raises
    ------
    InputError
        As :func:`~workbench.datasets.lerobot.layout.read_layout`; a camera that is absent, or
        several cameras and none is named.
    """
    root, camera = root_and_camera(name)
    layout = read_layout(root)
    camera = layout.camera(camera)
    tables = _tables(layout, str(name))
    reader = FrameReader(
        root, {e.index: e for e in layout.episodes}, tables, camera, layout.fps
    )  # fmt: skip
    ids = [image_id for episode in layout.episodes for image_id in episode.frame_ids()]
    return Dataset(
        name=str(name),
        image_ids=ids,
        labels=np.full(len(ids), UNLABELLED, np.int32),
        label_names=[],
        reader=reader,
        state_of=reader.state,
    )


def root_and_camera(name: DatasetName) -> tuple[Path, str]:
    """The folder of a name, and its camera; empty if none is named."""
    whole = Path(name.path).expanduser()
    if whole.exists() or "#" not in name.path:
        return whole, ""
    folder, _, camera = name.path.rpartition("#")
    return Path(folder).expanduser(), camera


def _tables(layout: DatasetLayout, what: str) -> dict[Path, Table]:
    paths = sorted({episode.path for episode in layout.episodes})
    archives: list[Archive] = located([str(path) for path in paths], what)
    return {path: read_table(one, what) for path, one in zip(paths, archives, strict=True)}
