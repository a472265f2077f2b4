"""States and actions of demonstrations, read from a LeRobotDataset and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_store import FeatureStore
from feature_store.errors import InputError
from workbench.datasets.lerobot.columns import read_columns
from workbench.datasets.lerobot.layout import DatasetLayout, read_layout
from workbench.results import strict_json
from workbench.robot.config import ACTION, STATE
from workbench.robot.record import RECORDING


@dataclass(frozen=True)
class Demonstrations:
    """Frames of all episodes, one after the other."""

    state: np.ndarray
    """float32, dims (frame, value)."""
    action: np.ndarray
    """float32, dims (frame, value)."""
    start: np.ndarray
    """int64, dims (frame,): first frame of the frame's episode."""
    stop: np.ndarray
    """int64, dims (frame,): the frame after the last of its episode."""
    episode: np.ndarray
    """int64, dims (frame,)."""
    image_ids: list[str]
    """Ids of the frames, as in ``lerobot:DIR``."""
    fps: float
    recording: dict[str, Any]
    """Task and versions of the simulator; empty for demonstrations of another origin."""

    def frames_of(self, episodes: np.ndarray) -> np.ndarray:
        """Frames of some episodes, in order: int64, dims (frame,)."""
        return np.flatnonzero(np.isin(self.episode, episodes))

    def split(self, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Divide the episodes into training and validation; at least one each.

        Raises
        ------
        InputError
            Fewer than two episodes.
        """
        episodes = np.unique(self.episode)
        if len(episodes) < 2:
            raise InputError(f"found {len(episodes)} demonstration; training needs at least 2")
        count = min(max(round(share * len(episodes)), 1), len(episodes) - 1)
        order = np.random.default_rng(seed).permutation(episodes)
        return np.sort(order[count:]), np.sort(order[:count])

    def take(self, episodes: int | None) -> Demonstrations:
        """The first `episodes` episodes; all for None.

        Raises
        ------
        InputError
            There are fewer episodes.
        """
        there = len(np.unique(self.episode))
        if episodes is None or episodes == there:
            return self
        if not 2 <= episodes < there:
            raise InputError(f"episodes is {episodes}; expected 2 to {there}, the number recorded")
        kept = self.episode < episodes
        arrays = {
            name: getattr(self, name)[kept]
            for name in ("state", "action", "start", "stop", "episode")
        }
        return Demonstrations(
            **arrays, image_ids=self.image_ids[: kept.sum()], fps=self.fps,
            recording=self.recording,
        )  # fmt: skip


def load(root: Path) -> Demonstrations:
    """Read and check the numbers of a LeRobotDataset.

    Raises
    ------
    InputError
        As :func:`~workbench.datasets.lerobot.layout.read_layout`; a state or action is not finite,
        or its size differs from ``meta/info.json``.
    """
    layout = read_layout(root)
    lengths = np.array([episode.length for episode in layout.episodes])
    stops = np.cumsum(lengths)
    path = root / RECORDING
    return Demonstrations(
        state=_numbers(layout, STATE),
        action=_numbers(layout, ACTION),
        start=np.repeat(stops - lengths, lengths),
        stop=np.repeat(stops, lengths),
        episode=np.repeat([episode.index for episode in layout.episodes], lengths),
        image_ids=[image_id for episode in layout.episodes for image_id in episode.frame_ids()],
        fps=layout.fps,
        recording=strict_json.read(path) if path.exists() else {},
    )


def require_same_frames(store: FeatureStore, demonstrations: Demonstrations, root: Path) -> None:
    """Refuse a store whose images are not the frames of the demonstrations, in order."""
    found = store.image_ids.tolist()
    if found != demonstrations.image_ids:
        raise InputError(
            f"{store.path} holds {len(found)} images; expected the {len(demonstrations.image_ids)} "
            f"frames of {root}, in order: workbench extract --dataset lerobot:{root}"
        )


def _numbers(layout: DatasetLayout, name: str) -> np.ndarray:
    """A feature of all frames, float32, dims (frame, value)."""
    if name not in layout.info["features"]:
        raise InputError(
            f"{layout.root} has no feature {name!r}; its features are "
            f"{', '.join(layout.info['features'])}"
        )
    (size,) = layout.info["features"][name]["shape"]
    parts, tables = [], {}
    for episode in layout.episodes:
        if episode.path not in tables:
            tables = {episode.path: read_columns(episode.path, (name,))[0]}
        rows = tables[episode.path][episode.first_row : episode.first_row + episode.length]
        parts.append(_checked(rows, size, name, episode.index))
    return np.concatenate(parts)


def _checked(rows: list, size: int, name: str, episode: int) -> np.ndarray:
    sizes = [np.size(row) for row in rows]
    if wrong := [k for k, found in enumerate(sizes) if found != size]:
        raise InputError(
            f"{name} of episode {episode}, frame {wrong[0]} has {sizes[wrong[0]]} values, expected "
            f"{size} as in meta/info.json"
        )
    values = np.asarray(rows, np.float32).reshape(len(rows), size)
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise InputError(
            f"{name} of episode {episode}, frame {bad[0]} is {values[bad[0]].tolist()}; expected "
            f"finite numbers: repair or remove the episode"
        )
    return values
