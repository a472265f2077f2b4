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


class NotStoredError(StoreError):
    """The store lacks a source; who knows the models may give a better remedy than extracting.

    Attributes
    ----------
    found : str
        What is missing and what is stored.
    model : str
        The model asked for.
    remedy : str
        How to extract it, if the model exists.
    """

    def __init__(self, found: str, model: str, remedy: str) -> None:
        super().__init__(f"{found}. {remedy}")
        self.found, self.model, self.remedy = found, model, remedy
