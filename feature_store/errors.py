"""Errors that a user or a file can cause. Messages give: value found, value expected, remedy."""

from __future__ import annotations


class InputError(ValueError):
    """An invalid request; the command line prints the message and exits with 2."""


class StoreError(InputError):
    """The store does not contain the requested data: missing, damaged, or of another kind."""
