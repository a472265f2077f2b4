"""Version of the project that a process runs, to detect workers that differ from the driver."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from feature_store.errors import InputError
from workbench import code_hash


@dataclass(frozen=True)
class Version:
    """The project as a process has it."""

    number: str
    """Version of the installed package; ``unknown`` if there is only a folder of sources."""
    code: str
    """sha256 over the source files that workers run in an extraction, `feature_store` included."""
    analyses: str
    """sha256 over the source files of the analyses."""
    folder: str
    """Folder of these files."""

    def __str__(self) -> str:
        code = f"code {self.code[:12]}, analyses {self.analyses[:12]}"
        return f"{self.number} ({code}, in {self.folder})"


UNKNOWN = Version("unknown", "unknown", "unknown", "an unknown folder")
"""Version of a driver that is too old to report its own."""


@functools.cache
def own_version() -> Version:
    """The version of this process; the files are read at the first call."""
    try:
        number = importlib.metadata.version("s2-workbench")
    except importlib.metadata.PackageNotFoundError:
        number = "unknown"
    return Version(
        number,
        code_hash.parts_sha256(code_hash.WORKER),
        code_hash.parts_sha256(code_hash.ANALYSES),
        str(code_hash.ROOT),
    )


def own_name() -> str:
    """This process as claims and commit records name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def require_same(expected: Version, *, analyses: bool = False) -> None:
    """Refuse to work for a process of another version: results of two could not be told apart.

    `expected` is the version of the process that submits the work; `analyses` says whether the
    analyses must be the same, too.

    Raises
    ------
    InputError
        This process runs other code.
    """
    found = own_version()
    if found.code != expected.code or (analyses and found.analyses != expected.analyses):
        raise InputError(refusal(own_name(), str(found), expected))


def reported_version() -> Callable[[], tuple[str, str, str]]:
    """A function that a worker runs even without this project: its name, hash of code, version."""

    def report() -> tuple[str, str, str]:  # a local function travels by value
        import os
        import socket

        name = f"{socket.gethostname()}:{os.getpid()}"
        try:
            from workbench.cluster.version import own_version
        except ImportError as error:
            return name, "", f"none or an old one ({error})"
        return name, own_version().code, str(own_version())

    return report


def refuse_reported(answers: Iterable[object]) -> None:
    """Refuse (InputError) workers that answered :func:`reported_version` with other code."""
    expected = own_version()
    for answer in answers:
        if isinstance(answer, tuple) and answer[1] != expected.code:
            raise InputError(refusal(answer[0], answer[2], expected))


def refusal(worker: str, found: str, expected: Version) -> str:
    """Message about a worker of another version."""
    return (
        f"worker {worker} runs another version of the project than this command: found {found}, "
        f"expected {expected}; install the same version on both, start the workers again (a "
        f"running one keeps the code it began with), and repeat the command"
    )
