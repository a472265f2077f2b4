"""States and actions of demonstrations, read from a LeRobotDataset and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from feature_store import FeatureStore
from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError, some
from feature_store.recorded_images import decoders, recorded_images
from workbench import datasets
from workbench.datasets import Decoding
from workbench.datasets.lerobot.columns import read_columns
from workbench.datasets.lerobot.frames import root_and_camera
from workbench.datasets.lerobot.layout import DatasetLayout, read_layout
from workbench.datasets.lerobot.metadata import INFO
from workbench.extraction.same_images import fingerprints
from workbench.results import strict_json
from workbench.robot.config import ACTION, STATE
from workbench.robot.record import RECORDING

COMPARED = 16
"""Frames whose pixels are compared with those that a store was computed from."""
TOO_FEW = "training needs at least 2 demonstrations, one of them for validation"
"""What is expected of their number."""


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
            raise InputError(f"found {len(episodes)} demonstration(s); {TOO_FEW}")
        count = min(max(round(share * len(episodes)), 1), len(episodes) - 1)
        order = np.random.default_rng(seed).permutation(episodes)
        return np.sort(order[count:]), np.sort(order[:count])

    def take(self, episodes: int | None) -> Demonstrations:
        """The first `episodes` episodes; all for None.

        Raises
        ------
        InputError
            There are fewer episodes, or fewer than the two that training needs.
        """
        there = len(np.unique(self.episode))
        if episodes is None or episodes == there:
            return self
        if min(there, episodes) < 2:
            what = f"episodes is {episodes}" if there > 1 else f"found {there} demonstration(s)"
            raise InputError(f"{what}; {TOO_FEW}")
        if episodes > there:
            raise InputError(f"episodes is {episodes}; expected at most {there}, those recorded")
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
        As :func:`~workbench.datasets.lerobot.layout.read_layout`; a state or action is not a finite
        number, or its size differs from ``meta/info.json``.
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
    """Refuse a store whose images are not the frames of the demonstrations, in order.

    Ids are compared, and the pixels of some frames if the store records those that it was computed
    from; otherwise the folder that it records.

    Raises
    ------
    InputError
        The images differ; the message names the store's dataset and some frames.
    """
    found = store.image_ids.tolist()
    if found != demonstrations.image_ids:
        raise InputError(
            f"{store.path} holds {len(found)} images; expected the {len(demonstrations.image_ids)} "
            f"frames of {root}, in order: workbench extract --dataset lerobot:{root}"
        )
    for decoder in decoders(store):
        _require_same_pixels(store, decoder, root)


def _require_same_pixels(store: FeatureStore, decoder: str, root: Path) -> None:
    """Compare some frames with those that the sources of a decoder were computed from."""
    recorded = recorded_images(store, decoder).fingerprints
    rows, name = np.flatnonzero(recorded), store.located_dataset
    folder, camera = root, ""
    if name.startswith("lerobot:"):
        folder, camera = root_and_camera(DatasetName.parse(name))
    if not len(rows):
        if store.dataset_path and folder.resolve() != root.resolve():
            raise _other_frames(store, root, "does not record their pixels")
        return
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, COMPARED).astype(int))]
    shown = f"lerobot:{root}" + (f"#{camera}" if camera else "")
    frames = datasets.open(shown, decoding=Decoding.recorded(decoder))
    now = np.array(fingerprints(frames, rows.tolist()), np.uint64)
    other = [str(store.image_ids[row]) for row in rows[now != recorded[rows]]]
    if other:
        raise _other_frames(
            store, root, f"{len(other)} of {len(rows)} frames compared differ ({some(other)})"
        )


def _other_frames(store: FeatureStore, root: Path, why: str) -> InputError:
    return InputError(
        f"{store.path} holds features of {store.located_dataset}, expected those of {root}: {why}; "
        f"name its own demonstrations, or workbench extract --dataset lerobot:{root} with another "
        f"--store"
    )


def _numbers(layout: DatasetLayout, name: str) -> np.ndarray:
    """A feature of all frames, float32, dims (frame, value)."""
    if name not in layout.info["features"]:
        raise InputError(
            f"{layout.root} has no feature {name!r}; its features are "
            f"{', '.join(layout.info['features'])}"
        )
    shape = layout.info["features"][name].get("shape")
    if not isinstance(shape, list) or len(shape) != 1 or not isinstance(shape[0], int):
        raise InputError(
            f"{layout.root / INFO}: {name} has the shape {shape}, expected one number of values, "
            f"such as [7]; flatten it"
        )
    (size,) = shape
    parts, tables = [], {}
    for episode in layout.episodes:
        if episode.path not in tables:
            tables = {episode.path: read_columns(episode.path, (name,))[0]}
        rows = tables[episode.path][episode.first_row : episode.first_row + episode.length]
        parts.append(_checked(rows, size, name, episode.index))
    return np.concatenate(parts)


def _checked(rows: list, size: int, name: str, episode: int) -> np.ndarray:
    where = f"{name} of episode {episode}, frame"
    for number, row in enumerate(rows):
        try:
            np.asarray(row, np.float32)
        except (TypeError, ValueError):
            raise InputError(
                f"{where} {number} is {row!r}; expected {size} numbers: repair or remove the "
                f"episode"
            ) from None
    sizes = [np.size(row) for row in rows]
    if wrong := [k for k, found in enumerate(sizes) if found != size]:
        raise InputError(
            f"{where} {wrong[0]} has {sizes[wrong[0]]} values, expected {size} as in meta/info.json"
        )
    values = np.asarray(rows, np.float32).reshape(len(rows), size)
    bad = np.flatnonzero(~np.isfinite(values).all(1))
    if len(bad):
        raise InputError(
            f"{where} {bad[0]} is {values[bad[0]].tolist()}; expected finite numbers: repair or "
            f"remove the episode"
        )
    return values
