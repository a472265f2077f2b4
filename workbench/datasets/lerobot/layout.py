"""Which file holds each frame of a LeRobotDataset, v3.0 or v2.x; everything is checked here.

v3.0 keeps many episodes in a file and lists them in ``meta/episodes/``; v2.x has a file for each
episode and lists them in ``meta/episodes.jsonl``. Both describe themselves in ``meta/info.json``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.datasets.lerobot.columns import rows_of_episodes
from workbench.datasets.lerobot.metadata import INFO, major, read_episodes, read_info

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
        Not such a dataset; another version; metadata that are missing or of another kind; a file,
        an episode or a frame that is missing; time stamps of another frame rate.
    """
    info = read_info(root)
    listed = read_episodes(root, info)
    starts: dict[Path, Rows] = {}
    for path in sorted({_path(root, info, "data_path", "data", e) for e in listed}):
        starts[path] = rows_of_episodes(path, float(info["fps"]))
    return DatasetLayout(root, info, [_episode(root, info, entry, starts) for entry in listed])


def _path(root: Path, info: dict[str, Any], pattern: str, of: str, entry: dict[str, Any]) -> Path:
    """A file by its pattern in the info; `of` is what the columns of v3.0 are named after."""
    index = entry["episode_index"]
    known = {
        "video_key": of.partition("/")[2],
        "episode_index": index,
        "episode_chunk": index // info.get("chunks_size", 1000),
    }
    columns = {name: entry.get(f"{of}/{name}") for name in ("chunk_index", "file_index")}
    known |= {name: value for name, value in columns.items() if isinstance(value, int)}
    try:
        return root / info[pattern].format(**known)
    except KeyError as error:
        name = error.args[0]
        lacking = f"no {of}/{name} in meta/episodes" if name in columns else f"no value for {name}"
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        lacking = f"no path ({error})"
    raise InputError(
        f"{root / INFO}: {pattern} is {info[pattern]!r}, and episode {index} has {lacking}; copy "
        f"the dataset again, or correct the pattern"
    )


def _episode(
    root: Path, info: dict[str, Any], entry: dict[str, Any], starts: dict[Path, Rows]
) -> Episode:
    index, path = entry["episode_index"], _path(root, info, "data_path", "data", entry)
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
            video = _path(root, info, "video_path", f"videos/{camera}", entry)
            if not video.exists():
                raise InputError(f"episode {index} has no video of {camera}: {video} is missing")
            videos[camera] = Video(video, _start(root, info, camera, entry))
    return Episode(index, length, path, first, videos)


def _start(root: Path, info: dict[str, Any], camera: str, entry: dict[str, Any]) -> float:
    """Seconds from the start of the video to the episode; v2.x has a video for each episode."""
    if major(info) == "2":
        return 0.0
    name = f"videos/{camera}/from_timestamp"
    found = entry.get(name)
    if not isinstance(found, int | float) or not 0 <= found < math.inf:
        raise InputError(
            f"{root}: {name} of episode {entry['episode_index']} in meta/episodes is {found}, "
            f"expected seconds: without it the frames cannot be found; copy the dataset again"
        )
    return float(found)
