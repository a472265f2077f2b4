"""Errors that a user or a file can cause. Messages say: found, expected, do this."""

from __future__ import annotations


class InputError(ValueError):
    """A request that cannot be served as made; the command line prints it and exits with 2."""


class StoreError(InputError):
    """The store on disk does not hold what was asked of it (missing, damaged, of another kind)."""
