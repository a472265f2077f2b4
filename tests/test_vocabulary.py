"""One vocabulary: a field of one name has one type and one sentence in every config."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = re.compile(r"\w+(Config|Options|Request)")


def fields():
    """(field, its config, type, sentence) of every config of the packages."""
    for package in ("analyses", "workbench"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and CONFIG.fullmatch(node.name):
                    yield from _fields(node)


def _fields(node):
    for item, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            text = after.value.value if isinstance(after, ast.Expr) else ""
            yield item.target.id, node.name, ast.unparse(item.annotation), " ".join(text.split())


def differing():
    """Field to its meanings, each with the configs that have it, where there are several."""
    found = defaultdict(lambda: defaultdict(list))
    for name, config, kind, sentence in fields():
        found[name][kind, sentence].append(config)
    return {name: dict(meanings) for name, meanings in found.items() if len(meanings) > 1}


OTHERWISE = {
    "batch": "images, views or decoded images together: the unit is that of the pass",
    "device": "names the work that runs there",
    "epochs": "passes over images or over their views",
    "folds": "names what is divided and what the folds choose",
    "head": "a kind of head, or how one is trained",
    "l2": "names the head it penalises",
    "learning_rate": "each head has its own optimiser",
    "margin": "nats of an analysis, seconds of a job",
    "max_crops": "halved by an extraction only",
    "precision": "products of tokens, of a block, or of the last passes of a solver",
    "repeats": "names what is drawn or timed",
    "resamples": "names what is resampled",
    "ridge": "one head's, or that of every map with its automatic choice",
    "seed": "names what is drawn",
}
"""Fields whose sentence, or type, differs between configs, and why."""


def test_a_field_of_one_name_means_the_same_in_every_config():
    assert {name: found for name, found in differing().items() if name not in OTHERWISE} == {}


def test_every_exception_is_needed():
    assert set(OTHERWISE) - set(differing()) == set()
