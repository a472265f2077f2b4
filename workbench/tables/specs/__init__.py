"""One module per table, each with a :class:`~.schema.TableSpec` named ``TABLE``."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Sequence

from feature_store.errors import InputError
from workbench.tables.specs.schema import TableSpec

_PAPERS = ("s2", "sovit", "vlm")


@functools.cache
def tables() -> dict[str, TableSpec]:
    """Key → table, in the order of the papers."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    declaring = [name for name in names if name != "schema" and not name.endswith("common")]
    found = [importlib.import_module(f"{__name__}.{name}").TABLE for name in declaring]
    return {table.key: table for table in sorted(found, key=_order)}


def select(keys: Sequence[str] = ()) -> list[TableSpec]:
    """The named tables and the tables that their figures draw; without names, all tables.

    Raises
    ------
    InputError
        Unknown key; the message lists the keys there are.
    """
    known = tables()
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise InputError(f"no table {unknown[0]!r}; choose from {', '.join(known)}")
    wanted = set(keys) or set(known)
    wanted |= {used for key in wanted for used in known[key].uses}
    return [table for key, table in known.items() if key in wanted]


def _order(table: TableSpec) -> tuple:
    number = "".join(c for c in table.key if c.isdigit())
    return (_PAPERS.index(table.paper), "figure" in table.key, int(number or 99), table.key)
