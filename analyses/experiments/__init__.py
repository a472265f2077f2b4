"""Results of this project's own experiments: tables that ``scripts/experiments/`` summarises."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

from feature_store.errors import InputError

FILM, GALLERY = ".gif", "_gallery.png"
"""How names of films and of galleries end."""


def credit(name: str) -> str:
    """To whom the pictures of a gallery are owed, by its file name; perhaps empty."""
    if "_objects-" not in name:
        return ""
    return (
        "Photographs by danielbuechele and vultilion, CC BY 2.0, which come with scikit-learn; "
        "shapes were drawn on them."
    )


def names() -> list[str]:
    """Names that :func:`load` accepts, sorted."""
    return sorted(
        p.name.removesuffix(".csv") for p in files(__name__).iterdir() if p.name.endswith(".csv")
    )


def load(name: str) -> pd.DataFrame:
    """One summary (empty cells are NaN).

    Parameters
    ----------
    name : str
        File stem, such as ``"table10_robotics"``.

    Raises
    ------
    InputError
        Unknown name; the message lists the known ones.
    """
    if name not in names():
        raise InputError(f"no summary {name!r}; choose from: {', '.join(names())}")
    with files(__name__).joinpath(f"{name}.csv").open(encoding="utf-8") as handle:
        return pd.read_csv(handle)


def films(table: str) -> dict[str, bytes]:
    """Films and galleries of the runs behind a table: file name to content; perhaps none.

    Films are named ``TABLE_ROW.gif``, galleries ``TABLE_STUDY_gallery.png``.

    Parameters
    ----------
    table : str
        Name of the table's files, such as ``"table10"``.
    """
    found = (p for p in files(__name__).iterdir() if p.name.endswith((FILM, GALLERY)))
    wanted = sorted((p.name, p) for p in found if p.name.startswith(f"{table}_"))
    return {name: path.read_bytes() for name, path in wanted}
