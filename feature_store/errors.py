"""Errors that a user or a file can cause. Messages give: value found, value expected, remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints


class InputError(ValueError):
    """An invalid request; the command line prints the message and exits with 2."""


class StoreError(InputError):
    """The store does not contain the requested data: missing, damaged, or of another kind."""


class UnreadableError(StoreError):
    """The disk or the object store failed, which does not prove that data are damaged."""


class NewerVersionError(StoreError):
    """The store was written by a later version of this program."""


class NotStoredError(StoreError):
    """The store lacks a source; who knows the models may give a better remedy than extracting.

    `found` tells what is missing and what is stored, `remedy` how to extract it if `model` exists.
    """

    def __init__(self, found: str, model: str, remedy: str) -> None:
        super().__init__(f"{found}. {remedy}")
        self.found, self.model, self.remedy = found, model, remedy


def some(names: Sequence[str], count: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(str, names[:count])) + more


def require_choices(config: Any) -> None:
    """Refuse a config in which a field of a Literal type has none of its values."""
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal and getattr(config, name) not in get_args(kind):
            choices = " or ".join(map(str, get_args(kind)))
            raise InputError(f"{name} is {getattr(config, name)!r}; choose {choices}")


def require_at_least(config: Any, **least: float) -> None:
    """Refuse a config with a field below its least value, NaN or infinite; None is not a value."""
    for name, value in least.items():
        found = getattr(config, name)
        if found is not None and not value <= found < math.inf:
            wanted = "at least" if math.isfinite(found) else "a finite number of at least"
            raise InputError(f"{name} is {found}; expected {wanted} {value}")


def require_positive(config: Any, *names: str) -> None:
    """Refuse a config with a field that is not above 0 and finite; None is not a value."""
    for name in names:
        found = getattr(config, name)
        if found is not None and not 0 < found < math.inf:
            raise InputError(f"{name} is {found}; expected a positive, finite number")
