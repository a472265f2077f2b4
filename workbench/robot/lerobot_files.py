"""Write the files of a LeRobotDataset v3.0: a table per episode, and their metadata.

Source: the layout of github.com/huggingface/lerobot, ``codebase_version`` v3.0. Its tables may hold
many episodes. With one table per episode memory stays flat, and an interrupted recording keeps its
finished episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.datasets.decode import decode
from workbench.datasets.lerobot.columns import read_columns
from workbench.datasets.lerobot.metadata import INFO
from workbench.datasets.optional import library
from workbench.results import strict_json
from workbench.results.files import written_whole
from workbench.robot.config import ACTION, CAMERA, STATE

CHUNK = 1000
"""Files in a folder."""
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"
HAND = ["hand_x", "hand_y", "hand_z", "gripper"]
INDICES = ("frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True)
class RecordedEpisode:
    """An episode whose table has been written."""

    index: int
    length: int
    success: bool


def write_episode(
    out: Path,
    index: int,
    steps: dict[str, np.ndarray],
    frames: Sequence[bytes],
    *,
    first: int,
    fps: int,
) -> RecordedEpisode:
    """Write an episode's table, whole or not at all.

    Parameters
    ----------
    out : Path
        Folder of the dataset.
    steps : dict
        ``state`` and ``action``, float32, dims (step, value); ``grasped`` and ``placed``, bool.
    frames : sequence of bytes
        Encoded pictures.
    first : int
        Number of frames in earlier episodes.
    """
    arrow, parquet = library("pyarrow", "a recording"), library("pyarrow.parquet", "a recording")
    number = np.arange(len(frames))
    pictures = [{"bytes": data, "path": f"frame-{k:06d}.png"} for k, data in enumerate(frames)]
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    columns: dict[str, Any] = {CAMERA: arrow.array(pictures, kind)}
    for name, values in ((STATE, steps["state"]), (ACTION, steps["action"])):
        flat = arrow.array(np.asarray(values, np.float32).ravel())
        columns[name] = arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
    columns |= {
        "next.grasped": arrow.array(steps["grasped"]),
        "next.success": arrow.array(steps["placed"]),
        "timestamp": arrow.array((number / fps).astype(np.float32)),
    }
    indices = (number, number * 0 + index, number + first, number * 0)
    columns |= {name: arrow.array(v) for name, v in zip(INDICES, indices, strict=True)}
    with written_whole(out / _path(index)) as partial:
        parquet.write_table(arrow.table(columns), partial)
    return RecordedEpisode(index, len(frames), bool(steps["placed"][-1]))


def recorded_episode(out: Path, index: int) -> RecordedEpisode | None:
    """An episode whose table exists (tables are written whole); otherwise None."""
    path = out / _path(index)
    if not path.exists():
        return None
    (placed,) = read_columns(path, ("next.success",))
    return RecordedEpisode(index, len(placed), placed[-1])


def write_meta(
    out: Path, episodes: Sequence[RecordedEpisode], *, task: str, size: int, fps: int
) -> None:
    """Write the metadata of a dataset; ``meta/info.json`` comes last."""
    pandas = library("pandas", "a recording")
    first = np.cumsum([0, *(episode.length for episode in episodes)]).tolist()
    listed = [
        {
            "episode_index": episode.index,
            "tasks": [task],
            "length": episode.length,
            "data/chunk_index": episode.index // CHUNK,
            "data/file_index": episode.index % CHUNK,
            "dataset_from_index": first[k],
            "dataset_to_index": first[k + 1],
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for k, episode in enumerate(episodes)
    ]
    tasks = pandas.DataFrame({"task_index": [0]}, index=pandas.Index([task], name="task"))
    for table, name in ((pandas.DataFrame(listed), EPISODES), (tasks, TASKS)):
        with written_whole(out / name) as partial:
            table.to_parquet(partial)
    strict_json.write(_stats(out, episodes), out / "meta/stats.json")
    strict_json.write(_info(len(episodes), first[-1], size, fps), out / INFO)


def _info(episodes: int, frames: int, size: int, fps: int) -> dict[str, Any]:
    numbers = dict.fromkeys(INDICES, "int64") | {"timestamp": "float32"}
    numbers |= {"next.grasped": "bool", "next.success": "bool"}
    features: dict[str, Any] = {
        CAMERA: _feature("image", [size, size, 3], ["height", "width", "channels"]),
        STATE: _feature("float32", [len(HAND)], HAND),
        ACTION: _feature("float32", [len(HAND)], HAND),
    }
    features |= {name: _feature(kind, [1], None) for name, kind in numbers.items()}
    return {
        "codebase_version": "v3.0",
        "robot_type": "sawyer",
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": 1,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA,
        "video_path": None,
        "features": features,
    }


def _feature(kind: str, shape: list[int], names: list[str] | None) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "names": names}


def _stats(out: Path, episodes: Sequence[RecordedEpisode]) -> dict[str, Any]:
    """Statistics for LeRobot's normalisation: of all states and actions, and of pixels.

    Pixels are every eighth of each eighth row of the middle frame of each episode, between 0 and 1;
    their statistics have dims (channel, 1, 1).
    """
    names = (STATE, ACTION, CAMERA)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for episode in episodes:
        found = dict(zip(names, read_columns(out / _path(episode.index), names), strict=True))
        columns[STATE].append(np.asarray(found[STATE], np.float64))
        columns[ACTION].append(np.asarray(found[ACTION], np.float64))
        middle = found[CAMERA][episode.length // 2]["bytes"]
        columns[CAMERA].append(decode(middle)[None, ::8, ::8] / 255.0)
    stats = {name: _of(np.concatenate(parts)) for name, parts in columns.items()}
    for name, values in stats[CAMERA].items():
        if name != "count":
            stats[CAMERA][name] = values.reshape(-1, 1, 1)
    return stats


def _of(values: np.ndarray) -> dict[str, Any]:
    """Statistics of values over all dims but the last."""
    over = tuple(range(values.ndim - 1))
    return {
        "min": values.min(over), "max": values.max(over), "mean": values.mean(over),
        "std": values.std(over), "count": [len(values)],
    }  # fmt: skip


def _path(index: int) -> str:
    return DATA.format(chunk_index=index // CHUNK, file_index=index % CHUNK)
