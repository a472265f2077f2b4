"""Checkpoints of a run: written whole or not at all, the latest few kept."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import xxhash

from feature_store.objects import sync_folder

_NAME = re.compile(r"step_(\d{10})\.([0-9a-f]{16})\.pt")
"""Step, and checksum (xxh3-64) of the file."""
_BLOCK_BYTES = 1 << 24


def save(state: dict[str, Any], folder: Path, *, keep: int) -> Path:
    """Write a state, then remove all but the latest checkpoints.

    The file is on the disk before it gets its name, which holds its checksum.

    Parameters
    ----------
    state : dict
        Tensors, numbers, strings, lists and dicts; ``step`` is the step it belongs to.
    folder : Path
    keep : int
        Checkpoints that stay.

    Raises
    ------
    OSError
        The disk is full or not writable; the checkpoints that were there stay.
    """
    partial = folder / ".checkpoint.partial"
    try:
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        path = folder / f"step_{state['step']:010d}.{_checksum(partial)}.pt"
        os.replace(partial, path)
    except RuntimeError as error:  # torch's wording of a failed write
        raise OSError(f"cannot write a checkpoint in {folder}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(folder)
    for old in existing(folder)[keep:]:
        old.unlink()
    return path


def load(folder: Path, log: Callable[[str], None]) -> dict[str, Any] | None:
    """The latest checkpoint that is undamaged, its tensors in CPU memory; None without any.

    Damaged files are named in a line each and removed, so that they do not count as kept ones.
    """
    for path in existing(folder):
        if _NAME.fullmatch(path.name)[2] == _checksum(path):  # type: ignore[index]
            return torch.load(path, map_location="cpu", weights_only=True)
        log(f"{path} is damaged (its checksum differs): removed; an earlier checkpoint is used")
        path.unlink()
    return None


def existing(folder: Path) -> list[Path]:
    """Files of checkpoints, the latest first."""
    return sorted((p for p in folder.iterdir() if _NAME.fullmatch(p.name)), reverse=True)


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
