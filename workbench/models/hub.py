"""Which commit of a hub repository the cached weights belong to."""

from __future__ import annotations

from pathlib import Path

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
