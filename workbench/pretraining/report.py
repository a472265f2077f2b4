"""Reports of a run: its figure, its log for TensorBoard, and the result of the command."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from feature_store.errors import InputError
from workbench.models.run_names import WEIGHTS
from workbench.pretraining.config import PretrainConfig
from workbench.training.files import EVALUATION, METRICS

AVERAGED = 10
"""Rows of metrics.csv behind the training loss of the result."""


def recorder(folder: Path) -> Callable[[int, Mapping[str, float]], None]:
    """A function that writes rows for TensorBoard.

    Raises
    ------
    InputError
        The package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "--tensorboard needs the package tensorboard; pip install tensorboard"
        ) from error
    writers: list[Any] = []

    def record(step: int, row: Mapping[str, float]) -> None:
        if not writers:  # at the first row: until then the folder may prove to be another run's
            writers.append(SummaryWriter(str(folder)))  # type: ignore[no-untyped-call]
        (writer,) = writers
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(name, value, step)
        writer.flush()

    return record


def draw(folder: Path, batch: int) -> None:
    """Draw the figure of a finished run."""
    # Deferred: matplotlib takes 1 s to import.
    from workbench.figures import style
    from workbench.figures.training import draw_training

    table = folder / EVALUATION
    evaluation = pd.read_csv(table) if table.exists() else None
    drawn = draw_training(pd.read_csv(folder / METRICS), evaluation, batch=batch)
    style.save(drawn, folder / "training")


def report(folder: Path, steps: int, config: PretrainConfig) -> dict[str, Any]:
    """The result of :func:`workbench.pretraining.run.pretrain`."""
    losses = pd.read_csv(folder / METRICS)["loss"]
    accuracy = math.nan
    if (folder / EVALUATION).exists():
        last = pd.read_csv(folder / EVALUATION).iloc[-1]
        column = "val_accuracy" if config.objective == "supervised" else "knn_accuracy"
        accuracy = float(last[column])
    return {
        "run": str(folder),
        "steps": steps,
        "images": steps * config.batch,
        "train_loss": float(losses.tail(AVERAGED).mean()),
        "val_accuracy": None if math.isnan(accuracy) else accuracy,
        "checkpoint": str(folder / WEIGHTS),
    }
