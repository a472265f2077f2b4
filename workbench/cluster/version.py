"""Which version of the project a process runs, so that driver and workers can be told apart."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import analyses
import feature_store
from feature_store.errors import InputError

PARTS = ("allocation.py", "cluster", "datasets", "decode.py", "extraction", "models", "multiscale")
"""What workers run of this package. Commands, tables and figures are left out: an edit of them in
a shared checkout does not concern the workers of a run."""


@dataclass(frozen=True)
class Version:
    """The project as a process has it."""

    number: str
    """Version of the installed package; ``unknown`` where there is only a folder of sources."""
    code: str
    """sha256 over the source files that workers run in an extraction, `feature_store` included."""
    analyses: str
    """sha256 over the source files of the analyses."""
    folder: str
    """Where these files are."""

    def __str__(self) -> str:
        code = f"code {self.code[:12]}, analyses {self.analyses[:12]}"
        return f"{self.number} ({code}, in {self.folder})"


UNKNOWN = Version("unknown", "unknown", "unknown", "an unknown folder")
"""Of a driver that is too old to say what it runs."""


@functools.cache
def own_version() -> Version:
    """The version of this process; the files are read at the first call."""
    try:
        number = importlib.metadata.version("s2-workbench")
    except importlib.metadata.PackageNotFoundError:
        number = "unknown"
    here = Path(__file__).parents[1]
    found = [
        path
        for part in PARTS
        for path in ([here / part] if part.endswith(".py") else (here / part).rglob("*.py"))
    ]
    store, analysing = (Path(package.__path__[0]) for package in (feature_store, analyses))
    return Version(
        number,
        _sha256([(path.relative_to(here), path) for path in found] + _sources(store)),
        _sha256(_sources(analysing)),
        str(here.parent),
    )


def own_name() -> str:
    """This process as claims and commit records name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def require_same(expected: Version, *, analyses: bool = False) -> None:
    """Refuse to work for a process of another version: results of two could not be told apart.

    Parameters
    ----------
    expected : Version
        Of the process that gives the work.
    analyses : bool
        Whether the analyses have to be the same, too.

    Raises
    ------
    InputError
        This process runs other code.
    """
    found = own_version()
    if found.code != expected.code or (analyses and found.analyses != expected.analyses):
        raise InputError(
            f"worker {own_name()} runs another version of the project than this command: found "
            f"{found}, expected {expected}; install the same version on both, start the workers "
            f"again (a running one keeps the code it began with), and repeat the command"
        )


def _sources(package: Path) -> list[tuple[Path, Path]]:
    return [(path.relative_to(package), path) for path in package.rglob("*.py")]


def _sha256(files: list[tuple[Path, Path]]) -> str:
    """Over names and contents, in the order of the names."""
    digest = hashlib.sha256()
    for name, path in sorted(files):
        digest.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
