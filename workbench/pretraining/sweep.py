"""A sweep over shapes of a vision transformer: the runs of a plan, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.scaling_laws.runs import positive, read_runs
from feature_store.errors import InputError
from workbench import datasets
from workbench.models.registry import build
from workbench.pretraining.backbone import describe
from workbench.pretraining.evaluation import matched
from workbench.pretraining.run import Pretraining, pretrain
from workbench.pretraining.supervised import require_labels
from workbench.results.files import write_csv
from workbench.training import ranks
from workbench.training.files import EVALUATION

SHAPE = ("width", "depth", "mlp", "images")
TABLE = "sweep.csv"


def sweep(
    asked: Pretraining,
    plan: Path,
    folder: Path,
    log: Callable[[str], None],
    *,
    progress: bool = False,
) -> Path | None:
    """Train every row of a plan. A repeated call resumes.

    Parameters
    ----------
    asked : Pretraining
        Options that all runs share; the architecture decides patch size and number of heads.
    plan : Path
        CSV file from ``workbench shape-law --plan star``: ``width``, ``depth``, ``mlp``,
        ``images`` (seen in training; more than there are make several passes).
    folder : Path
        Contains a folder for each run.

    Returns
    -------
    Path or None
        The table that ``workbench shape-law --runs`` reads: the plan with ``seed``, ``metric``
        (cross-entropy on validation images, nats) and ``error``; ``images``, and ``compute`` in
        proportion, are those of whole batches, as seen. None if a run was stopped.

    Raises
    ------
    InputError
        The plan lacks a column, a width is not a multiple of the number of heads, so few images
        lack a class, validation images are missing, or the objective is not supervised.
    """
    if asked.config.val is None:
        raise InputError("--sweep evaluates each run on validation images; name them with --val")
    if asked.config.objective != "supervised":
        raise InputError(
            f"--sweep compares the runs by the cross-entropy of their heads, which --objective "
            f"{asked.config.objective} does not have; use --objective supervised"
        )
    table = read_runs(plan)
    shapes = positive(table, SHAPE)
    heads = _heads(asked)
    wrong = [int(width) for width in shapes["width"] if width % heads]
    if wrong:
        raise InputError(
            f"{plan} has width {wrong[0]}, and {asked.config.model} has {heads} heads; expected "
            f"multiples of {heads}"
        )
    images = datasets.open(asked.config.dataset).take(asked.config.limit)
    val_images = datasets.open(asked.config.val)
    for limit in sorted({min(int(count), len(images)) for count in shapes["images"]}):
        require_labels(images.take(limit))
        matched(images.take(limit), val_images)
    rows = []
    for line, row in shapes.iterrows():
        given = {name: int(row[name]) for name in SHAPE}
        name = "-".join(f"{key}{value}" for key, value in given.items())
        found = _run(asked, given, heads, len(images), folder / name, log, progress)
        if found is None:
            return None
        planned = table.loc[line].to_dict()
        if "compute" in planned:
            found["compute"] = planned["compute"] * found["images"] / given["images"]
        rows.append(planned | {"seed": asked.config.seed} | found)
    if ranks.rank() == 0:
        write_csv(pd.DataFrame(rows), folder / TABLE)
    return folder / TABLE


def _heads(asked: Pretraining) -> int:
    blocks = getattr(build(describe(asked.config).name).module, "blocks", None)
    if not blocks:
        raise InputError(
            f"{asked.config.model} is not a vision transformer, whose shape --sweep could vary"
        )
    return blocks[0].attn.num_heads


def _run(
    asked: Pretraining, shape: dict[str, int], heads: int, available: int, folder: Path,
    log: Callable[[str], None], progress: bool,
) -> dict[str, Any] | None:  # fmt: skip
    """Images seen, metric and error of one shape; None if its run was stopped."""
    options = {
        "embed_dim": shape["width"], "depth": shape["depth"], "num_heads": heads,
        "mlp_ratio": (shape["mlp"] + 0.5) / shape["width"],  # timm rounds the product down
    }  # fmt: skip
    images = shape["images"]
    limit = min(images, available)
    config = replace(asked.config, limit=limit, epochs=images / limit)
    found = pretrain(replace(asked, config=config, options=options), folder, log, progress=progress)
    if found is None:
        return None
    last = pd.read_csv(folder / EVALUATION).iloc[-1]
    return {
        "images": found["images"],
        "metric": float(last["val_loss"]),
        "error": 1 - float(last["val_accuracy"]),
    }
