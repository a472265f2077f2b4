"""``meta/`` of a LeRobotDataset: its description and its list of episodes, read and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.datasets.lerobot.columns import opened
from workbench.results import strict_json

INFO = "meta/info.json"
WANTED = ("codebase_version", "features", "fps", "total_episodes", "data_path")
"""Fields that every version has."""


def read_info(root: Path) -> dict[str, Any]:
    """``meta/info.json``.

    Raises
    ------
    InputError
        No such file; another version; a field that is missing or has another kind of value.
    """
    path = root / INFO
    if not path.exists():
        raise InputError(f"{root} has no {INFO}; expected the folder of a LeRobotDataset")
    info = strict_json.read(path)
    lacking = [key for key in WANTED if not isinstance(info, dict) or key not in info]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}; expected that of a LeRobotDataset")
    if major(info) not in ("2", "3"):
        version = str(info["codebase_version"]).removeprefix("v")
        raise InputError(f"{path}: codebase_version is v{version}, expected v2.x or v3.x")
    _require(path, info, "fps", _positive(info["fps"]), "a positive number")
    _require(path, info, "total_episodes", _counts(info["total_episodes"]), "at least 1")
    _require(path, info, "chunks_size", _counts(info.get("chunks_size", 1)), "at least 1")
    _require(path, info, "data_path", isinstance(info["data_path"], str), "a pattern of paths")
    _require(path, info, "features", isinstance(info["features"], dict), "an object")
    for name, feature in info["features"].items():
        kind = feature.get("dtype") if isinstance(feature, dict) else None
        if not isinstance(kind, str):
            raise InputError(
                f"{path}: feature {name!r} has the dtype {json.dumps(kind)}; expected a name such "
                f"as float32 or video: add it"
            )
    filmed = any(feature["dtype"] == "video" for feature in info["features"].values())
    named = isinstance(info.get("video_path"), str)
    _require(path, info, "video_path", named or not filmed, "a pattern of paths")
    return info


def major(info: Mapping[str, Any]) -> str:
    """Major version of the layout, such as ``3``."""
    return str(info["codebase_version"]).removeprefix("v").partition(".")[0]


def read_episodes(root: Path, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entries of the list of episodes, in order of their index.

    Raises
    ------
    InputError
        The list cannot be read; an entry lacks index or length; episodes are missing.
    """
    where, listed = _listed_v3(root) if major(info) == "3" else _listed_v2(root)
    for number, entry in enumerate(listed):
        for key in ("episode_index", "length"):
            found = entry.get(key) if isinstance(entry, dict) else None
            if not isinstance(found, int):
                raise InputError(
                    f"entry {number} of the episodes in {where} has the {key} {found!r}; "
                    f"expected a whole number: copy the dataset again"
                )
    expected = info["total_episodes"]
    listed.sort(key=lambda entry: entry["episode_index"])
    if [entry["episode_index"] for entry in listed] != list(range(expected)):
        raise InputError(
            f"{root} lists {len(listed)} episodes, expected {expected}, numbered from 0, as "
            f"{INFO} says; copy the dataset again"
        )
    return listed


def _require(path: Path, info: Mapping[str, Any], key: str, good: bool, expected: str) -> None:
    if not good:
        raise InputError(
            f"{path}: {key} is {json.dumps(info.get(key))}, expected {expected}; correct it, or "
            f"copy the dataset again"
        )


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _counts(value: Any) -> bool:
    return isinstance(value, int) and value >= 1


def _listed_v3(root: Path) -> tuple[Path, list[dict[str, Any]]]:
    folder, entries = root / "meta/episodes", []
    for path in sorted(folder.glob("*/*.parquet")):
        with opened(path) as table:
            names = [n for n in table.schema_arrow.names if not n.startswith("stats/")]
            entries += table.read(names).to_pylist()
    return folder, entries


def _listed_v2(root: Path) -> tuple[Path, list[dict[str, Any]]]:
    path = root / "meta/episodes.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return path, [json.loads(line) for line in lines if line]
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the episodes of {root} in {path}: {error}") from None
