"""One vocabulary: a field of one name has one type and one sentence in configs and commands."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from workbench.cli import COMMANDS, form_of

ROOT = Path(__file__).parents[1]
CONFIG = re.compile(r"\w+(Config|Options|Request)")


def fields():
    """(field, its class, type, sentence) of every config and command of the packages."""
    commands = {f"{form.__module__}.{form.__name__}" for form in map(form_of, COMMANDS)}
    for package in ("analyses", "workbench"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and (
                    CONFIG.fullmatch(node.name) or f"{module}.{node.name}" in commands
                ):
                    yield from _fields(node)


def _fields(node):
    for item, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            kind = ast.unparse(item.annotation)
            if "options_of(" in kind or "name=''" in kind:
                continue  # an embedded config: its fields are the options
            text = after.value.value if isinstance(after, ast.Expr) else ""
            yield item.target.id, node.name, kind, " ".join(text.split())


def differing():
    """Field to its meanings, each with the configs that have it, where there are several."""
    found = defaultdict(lambda: defaultdict(list))
    for name, config, kind, sentence in fields():
        found[name][kind, sentence].append(config)
    return {name: dict(meanings) for name, meanings in found.items() if len(meanings) > 1}


OTHERWISE = {
    "arithmetic": "the default of a language model follows its device",
    "batch": "images, views or decoded images together: the unit is that of the pass",
    "blind": "without images, or without visual features",
    "budget": "a share of crops, or training compute",
    "checkpoint_every": "a probe leaves it to a published recipe",
    "depth_unit": "names the option that it depends on",
    "device": "names the work that runs there",
    "dry_run": "names what is printed instead",
    "dtype": "what is stored, or what would be",
    "episodes": "recorded, or the first of those recorded",
    "epochs": "passes over images or over their views",
    "fit": "a store's images were fitted when they were extracted",
    "folds": "names what is divided and what the folds choose",
    "head": "a kind of head, or how one is trained",
    "image": "of a store, or a file",
    "images": "a number, or files to look at",
    "init": "weights of a model, or how a projector starts",
    "iterations": "a probe leaves them to a published recipe",
    "json": "explore prints an address",
    "l2": "names the head it penalises",
    "layers": "names what consists of them",
    "learning_rate": "each head has its own optimiser",
    "limit": "names the option that it depends on",
    "margin": "nats of an analysis, seconds of a job",
    "max_crops": "halved by an extraction only",
    "model": "one or several, with what they run on",
    "out": "names the files that the command writes",
    "patience": "seconds of a queue, validations of a run",
    "policy": "which crops are run, or what acts",
    "pooling": "an export may also leave tokens as they are",
    "precision": "products of tokens, of a block, or of the last passes of a solver",
    "recipe": "each head has its own",
    "repeats": "names what is drawn or timed",
    "resamples": "names what is resampled",
    "ridge": "one head's, or that of every map with its automatic choice",
    "runs": "names the columns of the file",
    "scales": "a command parses tuples, a request takes any sequence",
    "seed": "names what is drawn",
    "source": "names the part that a source plays",
    "store": "positional where it is the only input; names what it is read for",
    "target": "names the part that the source plays",
    "task": "what a map shows, what a head predicts, or what a robot does",
    "test": "names what is evaluated on these images",
    "train": "names what is trained on these images",
    "views": "made by one command, read by another",
    "workers": "an extraction without any decodes in threads",
}
"""Fields whose sentence, or type, differs between configs, and why."""


def test_a_field_of_one_name_means_the_same_in_every_config():
    assert {name: found for name, found in differing().items() if name not in OTHERWISE} == {}


def test_every_exception_is_needed():
    assert set(OTHERWISE) - set(differing()) == set()
