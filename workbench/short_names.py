"""Names of stored models, written out for a command: ``efficientnet_lite0``, ``run:FOLDER``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import feature_store
from feature_store import FeatureStore, Source
from feature_store.errors import InputError
from feature_store.source import names_of
from workbench.models.run_names import IS_RUN, run_name
from workbench.results.messages import note

FIELDS = ("source", "target", "reference")
"""Fields of commands that name sources of a store."""


def with_full_names(command: Any) -> Any:
    """The command with models as its store lists them; says in a line what a short name means.

    Runs get the name of their weights, other names with a kind stay, and so does whatever the
    command itself will refuse.
    """
    given = {name: getattr(command, name, None) for name in FIELDS}
    runs = {name: _of_runs(value) for name, value in given.items() if value}
    changed = {name: value for name, value in runs.items() if value != given[name]}
    if changed:
        command, given = replace(command, **changed), given | changed
    path = getattr(command, "store", None) or getattr(command, "train", None)
    short = {
        name: value
        for name, value in given.items()
        if value and not all(":" in name for name in names_of(value))
    }
    if not short or not isinstance(path, str):
        return command
    try:
        store = feature_store.open(path)
        return replace(command, **{name: _full(store, value) for name, value in short.items()})
    except (InputError, OSError):
        return command


def _of_runs(value: Any) -> Any:
    """Sources with runs under the names of their weights."""
    if isinstance(value, tuple):
        return tuple(map(_of_runs, value))
    if not (isinstance(value, str) and value.startswith(IS_RUN)):
        return value
    source = Source.parse(value)
    return str(replace(source, model=run_name(source.model)))


def _full(store: FeatureStore, value: Any) -> Any:
    if not isinstance(value, str):
        return tuple(_full(store, name) for name in value)
    if ":" in value:
        return value
    found = Source.parse(value)
    full = str(replace(found, model=store.resolve(found).model))
    note(f"source {value} is {full}")
    return full
