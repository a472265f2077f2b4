"""Record how the frozen features of a training were made, and refuse features made differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feature_store.errors import InputError
from workbench.training.run_folder import refuse_changed

RECORDED = ("model", "weights_sha256", "tap", "scale", "transform", "precision", "selection")
"""Manifest fields that decide the input and output of a source's model."""
USUAL = {"orientation": "ignore"}
"""Further fields, which are recorded if they have another value, so that older records stay."""


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
        Single-scale source to its fields: as a run recorded them, and as they are now.
    where : str
        Where the present features come from, for the message.

    Raises
    ------
    InputError
        The first difference.
    """
    for single, fields in then.items():
        found = now.get(single)
        if found is None:
            raise InputError(
                f"{single} {where}: it is missing, and there are {', '.join(now)}; use the "
                f"sources of the training, or train again"
            )
        modes = [{"mode": (side.get("transform") or {}).get("mode")} for side in (fields, found)]
        refuse_changed(f"{single} {where}", "features.transform", *modes)  # it explains the rest
        refuse_changed(f"{single} {where}", "features", {**USUAL, **fields}, {**USUAL, **found})
