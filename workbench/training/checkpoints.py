"""Checkpoints of a run: written whole or not at all, the latest few kept."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from feature_store.objects import sync_folder

_NAME = re.compile(r"step_(\d{10})\.([0-9a-f]{16})\.pt")
"""Step, and checksum (xxh3-64) of the file."""
_BLOCK_BYTES = 1 << 24


def save(state: dict[str, Any], folder: Path, *, keep: int) -> Path:
    """Write a state, then remove all but the latest checkpoints.

    The file is on disk before it gets its name, which contains its checksum. A failed write leaves
    the earlier checkpoints.

    Parameters
    ----------
    state : dict
        Tensors, numbers, strings, lists and dicts; ``step`` is its step.

    Raises
    ------
    OSError
        As :func:`writing`.
    """
    import torch

    partial = folder / ".checkpoint.partial"
    with writing("a checkpoint", folder):
        try:
            with partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            path = folder / f"step_{state['step']:010d}.{_checksum(partial)}.pt"
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(folder)
    remove_old(folder, keep=keep)
    return path


def remove_old(folder: Path, *, keep: int) -> None:
    """Remove all but the latest checkpoints."""
    for old in existing(folder)[keep:]:
        old.unlink()


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Explain in one line why the block could not write to the folder of a run.

    Raises
    ------
    OSError
        The disk is full or not writable: what could not be written, what is whole, and the remedy.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        free, saved = shutil.disk_usage(folder).free, existing(folder)
        last = f"step {step(saved[0])}" if saved else "none"
        oldest = f" ({saved[-1].name} may be deleted)" if len(saved) > 1 else ""
        raise OSError(
            f"cannot write {what} in {folder}, whose disk has {free / 1e6:,.0f} MB free ({why}); "
            f"last whole checkpoint: {last}; free some space{oldest} and repeat the command"
        ) from error


def load(folder: Path, log: Callable[[str], None]) -> dict[str, Any] | None:
    """Load the latest undamaged checkpoint of a run that resumes; None if there is none.

    Its tensors are in CPU memory. Damaged files are logged and removed, so that they do not count
    as kept checkpoints.
    """
    import torch

    found = latest(folder, log)
    for path in existing(folder):
        if path == found:
            return torch.load(path, map_location="cpu", weights_only=True)
        path.unlink()
        log(f"removed {path}")
    return None


def latest(folder: Path, log: Callable[[str], None]) -> Path | None:
    """The latest undamaged checkpoint; None if there is none. Damaged ones are logged and stay."""
    for path in existing(folder):
        if _NAME.fullmatch(path.name)[2] == _checksum(path):  # type: ignore[index]
            return path
        log(f"{path} is damaged: its checksum differs")
    return None


def existing(folder: Path) -> list[Path]:
    """Checkpoint files, the latest first; none if the folder does not exist."""
    return sorted((p for p in folder.glob("step_*.pt") if _NAME.fullmatch(p.name)), reverse=True)


def step(checkpoint: Path) -> int:
    """The step after which a checkpoint was written, which its name tells."""
    return int(_NAME.fullmatch(checkpoint.name)[1])  # type: ignore[index]


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_64()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
