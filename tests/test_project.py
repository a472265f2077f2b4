"""The project's own promises: layering, consistent environments, no host names, sizes."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGES = ("feature_store", "analyses", "workbench")
FORBIDDEN = {
    "feature_store": {
        "torch",
        "timm",
        "open_clip",
        "sklearn",
        "pandas",
        "analyses",
        "workbench",
        "dask",
        "matplotlib",
    },
    "analyses": {"timm", "open_clip", "workbench", "dask", "matplotlib", "seaborn"},
    "workbench": {"scripts", "notebooks", "tests"},
}
CONDA_NAMES = {
    "torch": "pytorch-gpu",
    "open_clip_torch": "open-clip-torch",
    "matplotlib": "matplotlib-base",
    "xxhash": "python-xxhash",
}
CONDA_EXTRAS = ("bundled", "cluster", "explore", "vlm", "notebooks", "docs")


def imported(path):
    """Top-level names that a module imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package):
    wrong = {
        str(path.relative_to(ROOT)): sorted(set(imported(path)) & FORBIDDEN[package])
        for path in (ROOT / package).rglob("*.py")
    }
    assert {path: names for path, names in wrong.items() if names} == {}


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
}


def modules_imported(name):
    """Our modules that one of ours imports: anywhere in it, for type checkers only, or by string.

    ``from package import name`` imports ``package.name`` where that is a module, else the
    package's ``__init__``. That Python runs the ``__init__`` of a module's packages first does not
    count: a facade imports its room, and the room must not import its facade.
    """
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    lazy = any(isinstance(node, ast.Name) and node.id == "import_module" for node in ast.walk(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports by a relative name"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in MODULES else node.module
        elif lazy and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (node.value, f"{name}.{node.value}")


def import_graph():
    """Module to the other modules of ours that it imports.

    A function that travels to a worker by value may import its own module there.
    """
    return {
        name: {m for m in modules_imported(name) if m in MODULES and m != name} for name in MODULES
    }


def circles(graph):
    """Groups of two or more nodes that reach each other."""
    reach = {name: set(found) for name, found in graph.items()}
    for middle in graph:
        for found in reach.values():
            if middle in found:
                found |= reach[middle]
    return {
        frozenset(other for other in reach[name] if name in reach[other])
        for name in graph
        if name in reach[name]
    }


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}, "e": {"e"}}) == {
        frozenset("bc"),
        frozenset("e"),
    }


def test_no_modules_import_each_other_in_a_circle():
    graph = import_graph()
    assert "workbench.cost.counting" in graph["workbench.cost"]  # loaded on first use, by string
    assert "workbench.models.registry" in graph["workbench.cost.counting"]
    assert circles(graph) == set()


def test_no_module_imports_the_facade_of_its_own_package():
    """A facade is an ``__init__`` that imports its room; one that imports nothing is no facade."""
    graph = import_graph()
    facades = {
        name: [module for module in modules if name.startswith(f"{module}.") and graph[module]]
        for name, modules in graph.items()
    }
    assert {name for name, found in facades.items() if found} == set()


def bounds(requirement):
    """Name and specifier of ``name>=1.0``."""
    match = re.match(r"([A-Za-z0-9_.-]+)\s*(.*)", requirement)
    return match.group(1), match.group(2)


def test_conda_environment_agrees_with_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = dict(map(bounds, project["dependencies"]))
    for extra in CONDA_EXTRAS:
        wanted |= dict(map(bounds, project["optional-dependencies"][extra]))
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    found = dict(map(bounds, [e for e in [*listed, *pip] if isinstance(e, str)]))
    assert found["python"] == project["requires-python"]
    for name, bound in wanted.items():
        assert found.get(CONDA_NAMES.get(name, name)) == bound, name
    assert "faiss-gpu" in found


def test_constraints_pin_every_dependency():
    pins = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *(r for e in extras if e != "faiss-gpu" for r in extras[e])]
    missing = [
        r
        for r in named
        if bounds(r)[0].lower().replace("_", "-") not in {p.replace("_", "-") for p in pins}
    ]
    assert missing == []


def tracked_text_files():
    """Files under version control whose content is text; fails without git or a repository."""
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in listing.stdout.splitlines()]
    return [p for p in paths if p.is_file() and p.suffix not in {".png", ".svg", ".npz", ".gz"}]


def test_no_file_names_a_registry_host_or_a_path_of_one_machine():
    pattern = re.compile(
        r"pypi\.org|pythonhosted|files\.python|registry\.npmjs|deb\.debian|"
        r"/work/(main|shared)|/root/"
    )
    paths = tracked_text_files()
    assert Path(__file__) in paths, "the listing is not that of this repository"
    hits = [
        str(path.relative_to(ROOT))
        for path in paths
        if path != Path(__file__)
        and pattern.search(path.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert hits == []


def test_both_commands_are_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert "bash scripts/demo.sh" in readme
    assert "bash scripts/test.sh" in readme
