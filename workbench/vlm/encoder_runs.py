"""Trained projectors as lines of the table that ``workbench encoder-law --runs`` reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from analyses.scaling_laws.runs import read_runs
from feature_store import FeatureStore, Source
from feature_store.errors import InputError
from workbench.cost import cost
from workbench.results.files import write_csv
from workbench.training.features import refuse_other_features
from workbench.vlm.layout import IGNORED, Writer, conversations, padded
from workbench.vlm.matching import rows_of
from workbench.vlm.model import VisionLanguageModel
from workbench.vlm.questions import Question
from workbench.vlm.run import Run
from workbench.vlm.vision import StoredVision

KEYS = ("source", "llm", "dataset", "image_text_pairs", "seed")
"""Columns that identify a line: a repeated run replaces its own line."""
BATCH = 16


@torch.inference_mode()
def held_out_loss(
    model: VisionLanguageModel,
    writer: Writer,
    vision: StoredVision,
    questions: Sequence[Question],
    length: int,
) -> float:
    """Mean loss per answer token in nats, with each question asked alone.

    `vision` has tokens of images that were not trained on; `length` is the largest number of tokens
    in a question with its image and answer.
    """
    rows = rows_of(questions, vision.store.image_ids, vision.store.path)
    vision.refuse_unreadable(rows)
    conversations(questions, writer, length=length, turns=1)  # refuses long conversations
    device = next(model.parameters()).device
    total, count = 0.0, 0
    for start in range(0, len(questions), BATCH):
        part = slice(start, start + BATCH)
        batch = padded([writer.conversation([question]) for question in questions[part]])
        batch["tokens"] = vision(rows[part])
        found = {name: value.to(device) for name, value in batch.items()}
        total += float(model.losses(found).sum())
        count += int((batch["labels"][:, 1:] != IGNORED).sum())
    return total / count


def line(
    folder: Path,
    store: FeatureStore,
    questions: Sequence[Question],
    device: str,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """The line that a finished run adds to the table of the encoder law.

    `store` holds the run's source for held-out images, which the questions are about, and names the
    data set. The language model runs on `device`.

    Returns
    -------
    dict
        ``llm``, ``dataset``, ``vit_params``, ``image_text_pairs`` (trained on, each pass counted),
        ``eval_loss`` (nats a token), ``llm_params``, ``image_tokens``, ``source``, ``seed``.

    Raises
    ------
    InputError
        A run of another stage than ``projector``; features or images that do not match the run.
    """
    run = Run.open(folder)
    if run.config.stage != "projector":
        raise InputError(f"{folder} trained --stage {run.config.stage}; expected --stage projector")
    vision = StoredVision(store, run.identity["source"])
    refuse_other_features(run.identity["vision"], vision.manifests(), f"in {store.path}")
    model, writer = run.model(device, log)
    source = Source.parse(vision.source)
    counted = cost(source.model, source.scales, tap=source.tap)
    return {
        "llm": run.config.llm,
        "dataset": store.dataset,
        "vit_params": counted.params,
        "image_text_pairs": round(run.config.epochs * run.identity["questions"]["count"]),
        "eval_loss": held_out_loss(model, writer, vision, questions, run.config.length),
        "llm_params": sum(p.numel() for p in model.language.parameters()),
        "image_tokens": writer.image_tokens,
        "source": vision.source,
        "seed": run.identity["seed"],
    }


def add(record: dict[str, Any], path: Path) -> None:
    """Add a line to a table, which is created if it does not exist.

    Raises
    ------
    InputError
        The file is a table with other columns.
    """
    table = pd.DataFrame([record])
    if path.exists():
        before = read_runs(path)
        if missing := [name for name in record if name not in before]:
            raise InputError(f"{path} lacks {', '.join(missing)}; name another file")
        same = (before[list(KEYS)] == table.loc[0, list(KEYS)]).all(axis=1)
        table = pd.concat([before[~same], table], ignore_index=True)
    write_csv(table, path)
