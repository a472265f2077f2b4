"""Which code and shipped data stand behind a number, as hashes: of measurements, blocks, speeds."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

import analyses
import workbench

COUNTING = ("cost", "models", "multiscale")
"""Parts of ``workbench`` that count and time models."""
TIMING = ("extraction/malloc.py", "extraction/request.py")
"""What else decides how fast a forward pass runs."""
MODELS_FROM = ("torch", "torchvision", "timm", "open_clip_torch")
"""Libraries that models come from."""


def files_sha256(files: Iterable[Path], root: Path) -> str:
    """sha256 over files with their names relative to a folder; the order given does not matter.

    Examples
    --------
    >>> files_sha256([], Path("."))[:8]
    'e3b0c442'
    """
    digest = hashlib.sha256()
    for path in sorted(set(files)):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def measuring_files() -> list[Path]:
    """What turns stored features into numbers: analyses, the data they ship, their use here."""
    here = _workbench()
    return [
        *_under(_analyses(), ".py", ".csv"),
        *(here / "tables" / "pipeline" / name for name in ("analyses.py", "laws.py")),
        *(here / "datasets" / name for name in ("target_maps.py", "pictures.py")),
    ]


def counting_files() -> list[Path]:
    """What counts parameters and multiply-accumulates of models."""
    return [path for part in COUNTING for path in _under(_workbench() / part, ".py")]


@functools.cache
def measuring_sha256() -> str:
    """Hash of :func:`measuring_files`."""
    return files_sha256(measuring_files(), _root())


@functools.cache
def blocks_sha256(kinds: tuple[str, ...]) -> str:
    """Hash of what makes blocks of these kinds; empty without any.

    All come from the analyses and their data; ``cost`` also from models, their libraries and the
    code that counts them.
    """
    if not kinds:
        return ""
    files = [*measuring_files(), _workbench() / "tables" / "render" / "extra_tables.py"]
    if "cost" not in kinds:
        return files_sha256(files, _root())
    files += counting_files()
    return hashlib.sha256(f"{files_sha256(files, _root())} {versions()}".encode()).hexdigest()


@functools.cache
def timing_sha256() -> str:
    """Hash of the code that times forward passes, and of what it runs."""
    more = [_workbench() / name for name in TIMING]
    return files_sha256([*counting_files(), *more], _root())


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the libraries that models come from, and of CUDA (empty without)."""
    import torch

    found = {name: importlib.metadata.version(name) for name in MODELS_FROM}
    return found | {"cuda": torch.version.cuda or ""}


def _under(folder: Path, *suffixes: str) -> list[Path]:
    return [path for suffix in suffixes for path in folder.rglob(f"*{suffix}")]


def _analyses() -> Path:
    return Path(analyses.__file__).parent


def _workbench() -> Path:
    return Path(workbench.__file__).parent


def _root() -> Path:
    """The folder that holds the packages."""
    return _workbench().parent
