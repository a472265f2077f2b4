"""What a run records of the frozen features that it is trained on, and refuses to do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.training.run_folder import refuse_changed

RECORDED = ("model", "weights_sha256", "tap", "scale", "transform", "precision", "selection")
"""Fields of a source's manifest that decide what its model saw and returned."""


def recorded(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a manifest that a run records."""
    return {name: manifest.get(name) for name in RECORDED}


def refuse_other_features(
    then: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]], where: str
) -> None:
    """Refuse features that are made in another way than those of the training.

    Parameters
    ----------
    then, now : mapping
        Single-scale source to its fields: as recorded, and as :func:`recorded` gives them.
    where : str
        What makes or holds them now.

    Raises
    ------
    InputError
        The first difference.
    """
    for single, fields in then.items():
        refuse_changed(f"{single} {where}", "features", fields, now.get(single))
