"""React to changes of widgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bokeh.model import Model


def changed(model: Model, name: str, react: Callable[[], object]) -> None:
    """Call `react` whenever a property of a model changes."""

    def reacted(attr: str, old: Any, new: Any) -> None:
        react()

    model.on_change(name, reacted)
