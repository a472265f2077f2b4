"""Reactions to what a visitor changes."""

from __future__ import annotations

from collections.abc import Callable

from bokeh.model import Model


def changed(model: Model, name: str, react: Callable[[], object]) -> None:
    """Call `react` whenever a property of a model changes."""
    model.on_change(name, lambda attr, old, new: react())
