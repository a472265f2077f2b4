"""The code, shipped data and libraries behind a value, as hashes and versions.

Stored features, measured numbers, counted costs and the work of a cluster each depend on a part of
the project. The parts are listed here and nowhere else, as files and folders beside this package.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path

from feature_store import protocol

ROOT = Path(__file__).parents[1]
"""The folder that holds the packages."""
SUFFIXES = (".py", ".csv", ".json", ".gif", ".png")
"""Files of a listed folder that count: code, and data and pictures shipped with it."""

FEATURES = (
    "feature_store/subsample.py",
    "workbench/datasets",
    "workbench/extraction/image_loader.py",
    "workbench/extraction/shard.py",
    "workbench/models",
    "workbench/multiscale",
)
"""Decides the values that an extraction stores."""
SELECTING = (
    "analyses/scale_selection/layout.py",
    "analyses/scale_selection/policies.py",
    "workbench/extraction/selective.py",
)
"""Decides, beside these, which crops a selective extraction runs and what fills the others."""
WORKER = (
    "analyses/reading",
    "analyses/scale_selection",
    "feature_store",
    "workbench/cluster",
    "workbench/code_hash.py",
    "workbench/datasets",
    "workbench/extraction",
    "workbench/interrupts.py",
    "workbench/models",
    "workbench/multiscale",
)
"""Runs in a worker during an extraction. An edit of a command, table or figure in a shared checkout
does not concern the workers of a run."""
ANALYSES = ("analyses",)
"""Runs in a worker during an analysis."""
MEASURING = (
    *ANALYSES,
    "workbench/datasets/pictures.py",
    "workbench/datasets/target_maps.py",
    "workbench/models/text_tower.py",
    "workbench/tables/pipeline/analyses.py",
    "workbench/tables/pipeline/committed.py",
    "workbench/tables/pipeline/decoders.py",
    "workbench/tables/pipeline/laws.py",
)
"""Turns stored features into the numbers of a table."""
DECODERS = (*FEATURES, "workbench/heads", "workbench/training")
"""Trains decoders on crops of images."""
COUNTING = ("workbench/cost", "workbench/models", "workbench/multiscale")
"""Counts parameters and multiply-accumulates."""
TIMING = (*COUNTING, "workbench/extraction/malloc.py", "workbench/extraction/request.py")
"""Runs and times forward passes."""
EXTRA_TABLES = (
    *MEASURING,
    "workbench/tables/render/case_studies.py",
    "workbench/tables/render/dense_tables.py",
    "workbench/tables/render/extra_tables.py",
    "workbench/tables/render/robot_tables.py",
)
"""Makes the further tables beside a table's own."""

FEATURE_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
    "pillow",
    "simplejpeg",
    "numpy",
)
"""Libraries whose arithmetic decides the stored values."""
MODEL_LIBRARIES = ("torch", "torchvision", "timm", "open_clip_torch")
"""Libraries that models come from."""


def files(parts: Iterable[str]) -> list[Path]:
    """The files of listed parts, in order."""
    return sorted(path for part in parts for path in _files_of(ROOT / part))


def _files_of(path: Path) -> list[Path]:
    if path.suffix:
        return [path]
    return [file for suffix in SUFFIXES for file in path.rglob(f"*{suffix}")]


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


@functools.cache
def parts_sha256(parts: tuple[str, ...]) -> str:
    """Hash of listed parts; their files are read at the first call of a process."""
    return files_sha256(files(parts), ROOT)


def code_sha256() -> str:
    """Hash of the code that computes features, and of the version of manifests."""
    return _sha256(f"{protocol.MANIFEST_VERSION} {parts_sha256(FEATURES)}")


def selecting_sha256() -> str:
    """Hash of the code that chooses crops and fills the others."""
    return parts_sha256(SELECTING)


def measuring_sha256() -> str:
    """Hash of the code and data that turn stored features into numbers."""
    return parts_sha256(MEASURING)


def timing_sha256() -> str:
    """Hash of the code that times forward passes, and of what it runs."""
    return parts_sha256(TIMING)


def blocks_sha256(kinds: tuple[str, ...]) -> str:
    """Hash of the code behind further tables of these kinds; empty without any.

    All come from the analyses and their data; ``cost`` also from models, their libraries and the
    code that counts them.
    """
    if "cost" in kinds:
        return _sha256(f"{parts_sha256((*EXTRA_TABLES, *COUNTING))} {model_library_versions()}")
    return parts_sha256(EXTRA_TABLES) if kinds else ""


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries whose arithmetic decides the stored values."""
    return {name: importlib.metadata.version(name) for name in FEATURE_LIBRARIES}


@functools.cache
def model_library_versions() -> dict[str, str]:
    """Versions of the libraries that models come from, and of CUDA (empty without)."""
    import torch  # deferred: a scheduler that compares hashes of code has no use for it

    found = {name: importlib.metadata.version(name) for name in MODEL_LIBRARIES}
    return found | {"cuda": torch.version.cuda or ""}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
