"""Datasets by name: ordered image ids, labels and a reader for one image."""

from workbench.datasets.base import Dataset
from workbench.datasets.decode import DecodeError, Decoding
from workbench.datasets.registry import open, open_of

__all__ = ["Dataset", "DecodeError", "Decoding", "open", "open_of"]
