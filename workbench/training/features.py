"""Record how the frozen features of a training were made, and refuse features made differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.training.run_folder import refuse_changed

RECORDED = ("model", "weights_sha256", "tap", "scale", "transform", "precision", "selection")
"""Manifest fields that decide the input and output of a source's model."""


def recorded(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a manifest that a run records."""
    return {name: manifest.get(name) for name in RECORDED}


def refuse_other_features(
    then: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]], where: str
) -> None:
    """Refuse features that were made differently from the training features.

    Parameters
    ----------
    then, now : mapping
        Single-scale source to its fields: as a run recorded them, and from :func:`recorded` now.
    where : str
        Where the present features come from, for the message.

    Raises
    ------
    InputError
        The first difference.
    """
    for single, fields in then.items():
        refuse_changed(f"{single} {where}", "features", fields, now.get(single))
