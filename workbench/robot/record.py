"""Record expert demonstrations as a LeRobotDataset; a repeated call resumes after the last one."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analyses.reading.progress import shown
from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.results.files import require_folder
from workbench.robot.config import DemoConfig
from workbench.robot.lerobot_files import (
    RecordedEpisode,
    recorded_episode,
    write_episode,
    write_meta,
)
from workbench.robot.simulation import FPS, Simulation, versions

RECORDING = "meta/recording.json"
"""Config and simulator of the recording; written first."""
EXPERT_STEPS = 300
"""Steps after which a demonstration counts as failed."""


def record(
    config: DemoConfig, out: Path, log: Callable[[str], None], *, progress: bool = False
) -> dict[str, Any]:
    """Record the missing episodes; returns numbers of episodes, frames and successes.

    An episode ends when the object is placed. The dataset is complete once ``meta/info.json``
    exists, which is written last.

    Parameters
    ----------
    out : Path
        Folder; the episodes of an interrupted recording stay there.

    Raises
    ------
    InputError
        The folder is a file or has other content; a package is missing; the machine cannot render.
    """
    require_folder(out, "--out")
    facts = {**asdict(config), "versions": versions()}
    _claim(out, facts)
    simulation = None
    episodes: list[RecordedEpisode] = []
    with shown("record", total=config.episodes, unit="episode", wanted=progress) as bar:
        for index in range(config.episodes):
            found = recorded_episode(out, index)
            if found is None:
                simulation = simulation or Simulation(config.task, config.size)
                steps, frames = demonstrate(simulation, config.seed, index)
                first = sum(episode.length for episode in episodes)
                found = write_episode(out, index, steps, frames, first=first, fps=FPS)
            episodes.append(found)
            bar.update()
    if simulation is not None:
        simulation.close()
    write_meta(out, episodes, task=config.task, size=config.size, fps=FPS)
    failed = [episode.index for episode in episodes if not episode.success]
    if failed:
        log(f"{len(failed)} demonstrations failed, such as {failed[0]}; they are recorded as well")
    return {
        "out": str(out),
        "episodes": len(episodes),
        "frames": sum(episode.length for episode in episodes),
        "successes": len(episodes) - len(failed),
    }


def demonstrate(simulation: Simulation, seed: int, position: int) -> tuple[dict, list[bytes]]:
    """One demonstration: states, actions and success of each step, and frames as PNG."""
    state = simulation.reset(seed, position)
    rows: dict[str, list] = {"state": [], "action": [], "grasped": [], "placed": []}
    frames = []
    for _ in range(EXPERT_STEPS):
        frames.append(_png(simulation.frame()))
        action = simulation.expert()
        step = simulation.act(action)
        for name, value in zip(rows, (state, action, step.grasped, step.placed), strict=True):
            rows[name].append(value)
        state = step.state
        if step.placed:
            break
    return {name: np.stack(values) for name, values in rows.items()}, frames


def _png(frame: np.ndarray) -> bytes:
    """A frame as PNG: lossless, so that live and recorded frames have the same features."""
    encoded = io.BytesIO()
    Image.fromarray(frame).save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()


def _claim(out: Path, facts: dict[str, Any]) -> None:
    path = out / RECORDING
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{out} is not empty and holds no recording; name another --out")
        strict_json.write(facts, path)
        return
    stored = strict_json.read(path)
    differing = [name for name in facts if stored.get(name) != facts[name]]
    if differing:
        name = differing[0]
        raise InputError(
            f"{out} holds another recording: {name} was {stored.get(name)} there and is "
            f"{facts[name]} now; name another --out, or repeat the recorded options"
        )
