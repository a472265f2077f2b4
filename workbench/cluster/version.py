"""Which version of the project a process runs, so that driver and workers can be told apart."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import feature_store

PARTS = ("allocation.py", "cluster", "datasets", "decode.py", "extraction", "models", "multiscale")
"""What workers run of this package; all of `feature_store`, too. Commands, tables and figures are
left out: an edit of them in a shared checkout does not concern the workers of a run."""


@dataclass(frozen=True)
class Version:
    """The project as a process has it."""

    number: str
    """Version of the installed package; ``unknown`` where there is only a folder of sources."""
    code: str
    """sha256 over the source files that workers run."""
    folder: str
    """Where these files are."""

    def __str__(self) -> str:
        return f"{self.number} (code {self.code[:12]}, in {self.folder})"


NONE = Version("unknown", "unknown", "unknown")
"""Of a driver that is too old to say what it runs."""


@functools.cache
def own_version() -> Version:
    """The version of this process; the files are read at the first call."""
    try:
        number = importlib.metadata.version("s2-workbench")
    except importlib.metadata.PackageNotFoundError:
        number = "unknown"
    package = Path(__file__).parents[1]
    return Version(number, code_sha256(package), str(package.parent))


def code_sha256(package: Path) -> str:
    """sha256 over names and contents of the files that workers run, where `package` is
    ``workbench`` and `feature_store` is the one that this process uses."""
    store = Path(feature_store.__file__).parent
    files = [(path.relative_to(store), path) for path in store.rglob("*.py")]
    for part in PARTS:
        here = package / part
        found = [here] if here.suffix == ".py" else here.rglob("*.py")
        files += [(path.relative_to(package), path) for path in found]
    digest = hashlib.sha256()
    for name, path in sorted(files):
        digest.update(name.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
