"""The three papers' tables as data (see README.md in this folder for sources and conventions)."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

from feature_store.errors import InputError


def names() -> list[str]:
    """Names that :func:`load` accepts, sorted."""
    return sorted(
        p.name.removesuffix(".csv") for p in files(__name__).iterdir() if p.name.endswith(".csv")
    )


def load(name: str, *, text: bool = False) -> pd.DataFrame:
    """One published table (empty cells are NaN).

    Parameters
    ----------
    name : str
        File stem, such as ``"s2_table02_reconstruction"``.
    text : bool
        Cells as printed, trailing zeros included, instead of numbers.

    Raises
    ------
    InputError
        Unknown name; the message lists the known ones.
    """
    if name not in names():
        raise InputError(f"no published table {name!r}; choose from: {', '.join(names())}")
    with files(__name__).joinpath(f"{name}.csv").open(encoding="utf-8") as handle:
        return pd.read_csv(handle, dtype=str if text else None)
