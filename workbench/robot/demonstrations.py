"""What a policy learns from beside pictures: states and actions of whole episodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_store import FeatureStore
from feature_store.errors import InputError
from workbench.datasets.lerobot.columns import read_columns
from workbench.datasets.lerobot.layout import Layout, read_layout
from workbench.results import strict_json
from workbench.robot.config import ACTION, STATE
from workbench.robot.record import RECORDING


@dataclass(frozen=True)
class Demonstrations:
    """Frames of all episodes, one after the other.

    Attributes
    ----------
    state : float32 array, dims (frame, value)
    action : float32 array, dims (frame, value)
    start, stop : int64 arrays, dims (frame,)
        First frame of the frame's episode, and the frame after its last.
    episode : int64 array, dims (frame,)
    image_ids : list of str
        As of ``lerobot:DIR``.
    fps : float
    recording : dict
        Task and versions of the simulator; empty for demonstrations of another origin.
    """

    state: np.ndarray
    action: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    episode: np.ndarray
    image_ids: list[str]
    fps: float
    recording: dict[str, Any]

    def frames_of(self, episodes: np.ndarray) -> np.ndarray:
        """Frames of some episodes, in order: int64, dims (frame,)."""
        return np.flatnonzero(np.isin(self.episode, episodes))

    def split(self, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Episodes that train and that validate; at least one of each, none in both.

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
        """The first so many episodes; all of them for None.

        Raises
        ------
        InputError
            There are fewer.
        """
        there = len(np.unique(self.episode))
        if episodes is None or episodes == there:
            return self
        if not 2 <= episodes < there:
            raise InputError(f"episodes is {episodes}; expected 2 to {there}, which there are")
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
        As :func:`~workbench.datasets.lerobot.layout.read_layout`; a state or an action of another
        size than ``meta/info.json`` gives, or that is not finite.
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
    """Refuse a store of other frames than those of the demonstrations.

    Raises
    ------
    InputError
    """
    found = store.image_ids.tolist()
    if found != demonstrations.image_ids:
        raise InputError(
            f"{store.path} holds {len(found)} images that are not the "
            f"{len(demonstrations.image_ids)} frames of {root}; make it of them: workbench extract "
            f"--dataset lerobot:{root}"
        )


def _numbers(layout: Layout, name: str) -> np.ndarray:
    """A feature of all frames, float32, dims (frame, value)."""
    if name not in layout.info["features"]:
        raise InputError(
            f"{layout.root} has no feature {name!r}; there are: "
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
            f"finite numbers: remove the episode, or mend it"
        )
    return values
