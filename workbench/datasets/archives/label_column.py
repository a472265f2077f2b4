"""Classes in a column of a table: texts, numbers, or numbers of named classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from workbench.datasets.base import UNLABELLED
from workbench.datasets.table_rows import numbered_labels


def names_classes(kind: Any) -> bool:
    """Whether values of an Arrow type are texts or numbers, rather than lists or bytes."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    text = types.is_string(kind) or types.is_large_string(kind)
    return text or types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def class_name(value: Any, classes: list[str]) -> str:
    """Empty without a class; pandas makes floats of whole numbers where some are missing."""
    if isinstance(value, float):
        value = None if math.isnan(value) else int(value) if value.is_integer() else value
    if value is None or (classes and value == UNLABELLED):
        return ""
    return classes[value] if classes and 0 <= value < len(classes) else str(value)


def classes_and_labels(
    path: str, names: list[str], classes: list[str]
) -> tuple[list[str], np.ndarray]:
    """Class names, in the order of the metadata or else as in a table, and (image,) int32."""
    number = {c: n for n, c in enumerate(classes)}
    if classes and set(names) <= {*number, ""}:
        return classes, np.array([number.get(n, UNLABELLED) for n in names], np.int32)
    return numbered_labels(path, names)
