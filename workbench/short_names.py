"""Short names of stored models, such as ``efficientnet_lite0``, written out for a command."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import feature_store
from feature_store import FeatureStore, Source
from feature_store.errors import InputError
from workbench.results.messages import note

FIELDS = ("source", "target", "reference")
"""Fields of commands that name sources of a store."""


def with_full_names(command: Any) -> Any:
    """The command with models as its store lists them; says in a line what a short name means.

    Names with a kind stay, and so does whatever the command itself will refuse.
    """
    given = {name: getattr(command, name, None) for name in FIELDS}
    path = getattr(command, "store", None) or getattr(command, "train", None)
    short = {name: value for name, value in given.items() if value and _has_short(value)}
    if not short or not isinstance(path, str):
        return command
    try:
        store = feature_store.open(path)
        return replace(command, **{name: _full(store, value) for name, value in short.items()})
    except (InputError, OSError):
        return command


def _has_short(value: str | tuple[str, ...]) -> bool:
    names = (value,) if isinstance(value, str) else value
    return any(":" not in name for name in names)


def _full(store: FeatureStore, value: Any) -> Any:
    if not isinstance(value, str):
        return tuple(_full(store, name) for name in value)
    if ":" in value:
        return value
    found = Source.parse(value)
    full = str(replace(found, model=store.resolve(found).model))
    note(f"source {value} is {full}")
    return full
