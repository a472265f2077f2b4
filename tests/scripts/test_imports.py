"""Scripts name what the packages have: most of them are run once a year, and break unnoticed."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from feature_store.errors import InputError

SCRIPTS = Path(__file__).parents[2] / "scripts"
PACKAGES = ("analyses", "feature_store", "workbench")


def imported(text: str) -> list[tuple[str, str]]:
    """Modules of the packages and the names taken from them, wherever a script imports them."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in PACKAGES:
            found += [(str(node.module), alias.name) for alias in node.names]
    return found


def has(module: str, name: str) -> bool:
    try:
        if hasattr(importlib.import_module(module), name):
            return True
        importlib.import_module(f"{module}.{name}")
    except InputError as absent:  # an extra
        pytest.skip(str(absent))
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] not in PACKAGES:
            pytest.skip(f"{error.name} is not installed")
        return False
    return True


@pytest.mark.parametrize("script", sorted(SCRIPTS.rglob("*.py")), ids=lambda path: path.stem)
def test_every_import_from_the_packages_exists(script):
    assert [one for one in imported(script.read_text("utf-8")) if not has(*one)] == []


def test_a_name_that_is_gone_is_found():
    assert imported("def f():\n    from workbench.cluster.options import THREADS") == [
        ("workbench.cluster.options", "THREADS")
    ]
    assert not has("workbench.cluster.options", "THREADS")
    assert not has("workbench.clusters", "EngineOptions")
