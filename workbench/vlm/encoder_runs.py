"""Trained projectors as lines of the table that ``workbench encoder-law --runs`` reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from analyses.scaling_laws.runs import read_runs
from feature_store import Source
from feature_store.errors import InputError
from workbench.cost import cost
from workbench.results.files import require_writable, write_csv
from workbench.training.features import refuse_other_features
from workbench.vlm.config import VlmConfig
from workbench.vlm.layout import IGNORED, Writer, conversations, padded
from workbench.vlm.matching import rows_of
from workbench.vlm.model import VisionLanguageModel
from workbench.vlm.question import Question
from workbench.vlm.run import Run
from workbench.vlm.vision import Images, Vision, open_vision

KEYS = ("run", "dataset")
"""Columns that identify a line: a repeated run replaces its own line."""
_REPEATABLE = ("code", "features", "training")
"""Parts of a run's identity that change when the same run is repeated: the program, the extraction
of the same features, and the interval of checkpoints; the other options decide its steps."""
COLUMNS = (
    "llm", "dataset", "vit_params", "image_text_pairs", "eval_loss", "llm_params", "image_tokens",
    "source", "seed", "run",
)  # fmt: skip
"""Columns of the table, those of :func:`line`."""
BATCH = 16


@torch.inference_mode()
def held_out_loss(
    model: VisionLanguageModel,
    writer: Writer,
    vision: Vision,
    questions: Sequence[Question],
    length: int,
) -> float:
    """Mean loss per answer token in nats, with each question asked alone.

    `vision` has tokens of images that were not trained on; `length` is the largest number of tokens
    in a question with its image and answer.
    """
    rows = rows_of(questions, vision.images.image_ids, vision.images.path)
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
    images: Images,
    questions: Sequence[Question],
    device: str,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """The line that a finished run adds to the table of the encoder law.

    `images` are held-out ones, which the questions are about, and name the dataset. The language
    model runs on `device`.

    Returns
    -------
    dict
        ``llm``, ``dataset``, ``vit_params``, ``image_text_pairs`` (trained on, each pass counted),
        ``eval_loss`` (nats a token), ``llm_params``, ``image_tokens``, ``source``, ``seed``,
        ``run`` (see :func:`run_hash`).

    Raises
    ------
    InputError
        A run of another stage than ``projector``, or a blind one; features or images that do not
        match the run.
    """
    run = Run.open(folder)
    require_fit(run.config, str(folder))
    vision = open_vision(images, run.identity["source"])
    refuse_other_features(run.identity["vision"], vision.manifests(), f"in {images.path}")
    model, writer = run.model(device, log)
    source = Source.parse(vision.source)
    counted = cost(source.model, source.scales, tap=source.tap)
    return {
        "llm": run.config.llm,
        "dataset": images.dataset,
        "vit_params": counted.params,
        "image_text_pairs": round(run.config.epochs * run.identity["questions"]["count"]),
        "eval_loss": held_out_loss(model, writer, vision, questions, run.config.length),
        "llm_params": sum(p.numel() for p in model.language.parameters()),
        "image_tokens": writer.image_tokens,
        "source": vision.source,
        "seed": run.identity["seed"],
        "run": run_hash(run.identity),
    }


def require_fit(config: VlmConfig, where: str) -> None:
    """Refuse (InputError) runs that do not belong in the table; `where` names the run."""
    if config.stage != "projector":
        raise InputError(
            f"{where}: --stage is {config.stage}; the table of the encoder law takes runs of "
            f"--stage projector"
        )
    if config.blind:
        raise InputError(
            f"{where}: a --blind run does not see its images, so its loss tells nothing about the "
            f"encoder; leave out --blind or --encoder-runs"
        )


def run_hash(identity: Mapping[str, Any]) -> str:
    """Hash of all that makes a run different: options, models, data and seed.

    A run that is repeated, for example with another version of this program, has the same.
    """
    kept = {name: value for name, value in identity.items() if name not in _REPEATABLE}
    text = json.dumps(kept, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def check(
    path: Path,
    train: Images,
    source: str,
    images: Images,
    questions: Sequence[Question],
) -> None:
    """Refuse (InputError), before a training, what :func:`line` and :func:`add` would refuse.

    Held-out questions that are too long are refused by :func:`~workbench.vlm.fit.fit`, which knows
    the language model.

    `train` are the images to train on, `images` the held-out ones.
    """
    require_writable(path)
    if path.exists():
        _require_columns(path, read_runs(path), COLUMNS)
    vision = open_vision(images, source)
    ours = open_vision(train, source).manifests()
    refuse_other_features(ours, vision.manifests(), f"in {images.path}")
    vision.refuse_unreadable(rows_of(questions, images.image_ids, images.path))


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
        _require_columns(path, before, tuple(record))
        same = (before[list(KEYS)] == table.loc[0, list(KEYS)]).all(axis=1)
        table = pd.concat([before[~same], table], ignore_index=True)
    write_csv(table, path)


def _require_columns(path: Path, table: pd.DataFrame, names: Sequence[str]) -> None:
    if missing := [name for name in names if name not in table]:
        raise InputError(f"{path} lacks {', '.join(missing)}; name another file")
