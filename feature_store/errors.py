"""Errors that a user or a file can cause. Messages give: value found, value expected, remedy."""

from __future__ import annotations


class InputError(ValueError):
    """An invalid request; the command line prints the message and exits with 2."""


class StoreError(InputError):
    """The store does not contain the requested data: missing, damaged, or of another kind."""


class UnreadableError(StoreError):
    """The disk or the object store failed, which does not prove that data are damaged."""


class NewerVersionError(StoreError):
    """The store was written by a later version of this program."""
