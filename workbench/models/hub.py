"""Weights on hubs: the commit of cached ones, and whether others can be fetched at all."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from feature_store.errors import InputError

WEIGHT_FILES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
"""Names under which timm and open_clip repositories keep their weights."""


def revision(repository: str | None) -> str | None:
    """Commit of a repository's cached weight file; None if there is none. Nothing is fetched."""
    if not repository:
        return None
    from huggingface_hub import try_to_load_from_cache

    for name in WEIGHT_FILES:
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found).parent.name  # snapshots/COMMIT/FILE
    return None


SECONDS = 3.0
"""What a host is given to answer before weights are asked of it."""


def require_reachable(name: str, repository: str | None, url: str | None = None) -> None:
    """Refuse weights that have to be fetched and cannot be, before minutes of retries.

    Raises
    ------
    InputError
        They are not cached, and their host cannot be reached within :data:`SECONDS`.
    """
    import torch
    from huggingface_hub import constants

    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url or "").path).name
    if revision(repository) is not None or (url and file.is_file()):
        return
    parts = urlsplit(constants.ENDPOINT if repository else url or "")
    if not parts.hostname or getproxies() or constants.HF_HUB_OFFLINE:
        return
    problem = unreachable(parts.hostname, parts.port or (80 if parts.scheme == "http" else 443))
    if problem is not None:
        raise InputError(
            f"the weights of {name} are not on this machine, and {parts.hostname} cannot be "
            f"reached ({problem});\ncopy the hub's cache from a machine that has them, or the "
            f"checkpoint, and name it as file:TIMM_NAME:PATH"
        )


def unreachable(host: str, port: int) -> str | None:
    """Why no connection could be made; None if one was. Looking a name up may hang: a thread."""
    found: list[str | None] = [f"no answer within {SECONDS:g} s"]

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=SECONDS).close()
            found.append(None)
        except OSError as error:
            found.append(error.strerror or str(error) or type(error).__name__)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(2 * SECONDS)
    return found[-1]
