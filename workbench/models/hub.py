"""Weights on hubs: the commit of cached ones, and whether others can be fetched at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import urlsplit

from feature_store.errors import InputError

WEIGHT_FILES = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
"""Names under which timm and open_clip repositories keep their weights."""
SECONDS = 5.0
"""Seconds within which a host must answer: half of the limit in the hub's library."""


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


def require_reachable(name: str, repository: str | None, url: str | None = None) -> None:
    """Refuse weights that have to be fetched and cannot be, before minutes of retries.

    Their host is given :data:`SECONDS`, or what ``HF_HUB_ETAG_TIMEOUT`` says, through the proxies
    of the hub's library; a host that answers anything but a failure will do.

    Raises
    ------
    InputError
        They are not cached, and their host cannot be reached; a note of it gives the remedy.
    """
    import torch
    from huggingface_hub import constants

    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url or "").path).name
    if revision(repository) is not None or (url and file.is_file()):
        return
    address = constants.ENDPOINT if repository else url
    if not address or constants.HF_HUB_OFFLINE:  # which its library refuses at once
        return
    said = "HF_HUB_ETAG_TIMEOUT" in os.environ
    problem = unreachable(address, constants.HF_HUB_ETAG_TIMEOUT if said else SECONDS)
    if problem is not None:
        error = InputError(
            f"the weights of {name} are not on this machine, and {urlsplit(address).hostname} "
            f"cannot be reached ({problem})"
        )
        error.add_note(
            "Copy the hub's cache from a machine that has them, or name a checkpoint: "
            "file:TIMM_NAME:PATH"
        )
        raise error


def unreachable(address: str, seconds: float) -> str | None:
    """Why a URL gives no answer; None if it does. Looking a name up may hang: a thread."""
    from huggingface_hub import get_session

    found: list[str | None] = [f"no answer within {seconds:g} s"]

    def ask() -> None:
        try:
            status = get_session().head(address, timeout=seconds).status_code
            found.append(f"it answers {status}" if status >= 500 else None)
        except Exception as error:  # whatever the client of this version of the library raises
            found.append(" ".join(str(error).split())[:120] or type(error).__name__)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds + 1)
    return found[-1]
