"""Which file holds each frame of a LeRobotDataset, v3.0 or v2.x; everything is checked here.

v3.0 keeps many episodes in a file and lists them in ``meta/episodes/``; v2.x has a file for each
episode and lists them in ``meta/episodes.jsonl``. Both describe themselves in ``meta/info.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.datasets.lerobot.columns import rows_of_episodes
from workbench.datasets.optional import library
from workbench.results import strict_json

INFO = "meta/info.json"
Rows = dict[int, tuple[int, int]]
"""Episode to its first row and number of rows in a table."""
CAMERAS = ("image", "video")
"""Kinds of features that are pictures."""


@dataclass(frozen=True)
class Video:
    """Position of an episode's frames in a video.

    Attributes
    ----------
    path : Path
    start : float
        Seconds from the start of the file to the first frame.
    """

    path: Path
    start: float


@dataclass(frozen=True)
class Episode:
    """One demonstration, whole.

    Attributes
    ----------
    index : int
    length : int
        Frames.
    path : Path
        Table with a row for each frame.
    first_row : int
        Row of the first frame; the others follow.
    videos : mapping
        Camera to its video, of cameras that are videos.
    """

    index: int
    length: int
    path: Path
    first_row: int
    videos: Mapping[str, Video] = field(default_factory=dict)

    def frame_ids(self) -> list[str]:
        """Image ids of the frames, in order: stable, whatever the version of the layout."""
        return [f"episode_{self.index:06d}/frame_{frame:06d}" for frame in range(self.length)]


@dataclass(frozen=True)
class DatasetLayout:
    """A dataset whose tables hold every frame of every listed episode.

    Attributes
    ----------
    root : Path
    info : dict
        ``meta/info.json``.
    episodes : list of Episode
        Episodes in order of their index.
    """

    root: Path
    info: dict[str, Any]
    episodes: list[Episode]

    @property
    def fps(self) -> float:
        """Frames per second."""
        return float(self.info["fps"])

    @property
    def cameras(self) -> list[str]:
        """Names of the features that are pictures."""
        return [n for n, f in self.info["features"].items() if f["dtype"] in CAMERAS]

    def camera(self, name: str = "") -> str:
        """A camera by name, or the only one.

        Raises
        ------
        InputError
            No camera of that name, or several and none is named.
        """
        if name in self.cameras or (not name and len(self.cameras) == 1):
            return name or self.cameras[0]
        found = f"no camera {name!r}" if name else f"{len(self.cameras)} cameras, and none is named"
        raise InputError(
            f"{self.root} has {found}; write lerobot:{self.root}#CAMERA with one of: "
            f"{', '.join(self.cameras) or '(there are none)'}"
        )


def read_layout(root: Path) -> DatasetLayout:
    """Find and check all episodes; no picture is read.

    Raises
    ------
    InputError
        Not such a dataset; another version; a file, an episode or a frame that is missing; time
        stamps of another frame rate.
    """
    info = _info(root)
    version = str(info["codebase_version"]).removeprefix("v")
    if version.partition(".")[0] not in ("2", "3"):
        raise InputError(f"{root / INFO}: codebase_version is v{version}, expected v2.x or v3.x")
    listed = _listed_v3(root) if version.startswith("3") else _listed_v2(root)
    expected = int(info["total_episodes"])
    if sorted(e["episode_index"] for e in listed) != list(range(expected)):
        raise InputError(
            f"{root} lists {len(listed)} episodes, expected {expected}, numbered from 0, as "
            f"{INFO} says; copy the dataset again"
        )
    starts: dict[Path, Rows] = {}
    for path in sorted({root / _path(info, "data_path", "data", e) for e in listed}):
        starts[path] = rows_of_episodes(path, float(info["fps"]))
    episodes = [_episode(root, info, entry, starts) for entry in sorted(listed, key=_index_of)]
    return DatasetLayout(root, info, episodes)


def _index_of(entry: dict[str, Any]) -> int:
    return entry["episode_index"]


def _info(root: Path) -> dict[str, Any]:
    path = root / INFO
    if not path.exists():
        raise InputError(f"{root} has no {INFO}; expected the folder of a LeRobotDataset")
    info = strict_json.read(path)
    wanted = {"codebase_version", "features", "fps", "total_episodes", "data_path"}
    if not isinstance(info, dict) or wanted - set(info):
        lacking = sorted(wanted - set(info)) if isinstance(info, dict) else sorted(wanted)
        raise InputError(f"{path} lacks {', '.join(lacking)}; expected that of a LeRobotDataset")
    return info


def _listed_v3(root: Path) -> list[dict[str, Any]]:
    parquet = library("pyarrow.parquet", f"lerobot:{root}")
    entries: list[dict[str, Any]] = []
    for path in sorted((root / "meta/episodes").glob("*/*.parquet")):
        with parquet.ParquetFile(path) as opened:
            names = [n for n in opened.schema_arrow.names if not n.startswith("stats/")]
            entries += opened.read(names).to_pylist()
    return entries


def _listed_v2(root: Path) -> list[dict[str, Any]]:
    path = root / "meta/episodes.jsonl"
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the episodes of {root} in {path}: {error}") from None


def _path(info: dict[str, Any], pattern: str, of: str, entry: dict[str, Any]) -> str:
    """A file by its pattern in the info; `of` is what the columns of v3.0 are named after."""
    index = entry["episode_index"]
    return str(info[pattern]).format(
        video_key=of.partition("/")[2],
        episode_index=index,
        episode_chunk=index // int(info.get("chunks_size", 1000)),
        chunk_index=entry.get(f"{of}/chunk_index", 0),
        file_index=entry.get(f"{of}/file_index", 0),
    )


def _episode(
    root: Path, info: dict[str, Any], entry: dict[str, Any], starts: dict[Path, Rows]
) -> Episode:
    index, path = entry["episode_index"], root / _path(info, "data_path", "data", entry)
    rows = starts[path].get(index)
    if rows is None:
        raise InputError(f"{path} holds no frame of episode {index}; copy the dataset again")
    first, length = rows
    if length != entry["length"]:
        raise InputError(
            f"episode {index} has {length} frames in {path}, expected {entry['length']}; frames "
            f"are missing"
        )
    videos = {}
    for camera, feature in info["features"].items():
        if feature["dtype"] == "video":
            video = root / _path(info, "video_path", f"videos/{camera}", entry)
            if not video.exists():
                raise InputError(f"episode {index} has no video of {camera}: {video} is missing")
            videos[camera] = Video(video, entry.get(f"videos/{camera}/from_timestamp", 0.0))
    return Episode(index, length, path, first, videos)
