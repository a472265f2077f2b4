"""Loss and accuracy of a training run over the images it has seen."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from workbench.figures import style

ACCURACIES = {"val_accuracy": "head", "knn_accuracy": "nearest neighbours"}


@style.styled
def draw_training(metrics: pd.DataFrame, evaluation: pd.DataFrame | None, *, batch: int) -> Figure:
    """The training loss, and beside it the accuracy on held-out images where it was measured.

    The tables are those of ``metrics.csv`` (``step``, ``loss``) and ``evaluation.csv`` (``images``,
    ``val_accuracy``, ``knn_accuracy``); a step has `batch` images.
    """
    drawn, (left, right) = style.figure(9.0, 3.2, columns=2)
    left.plot(metrics["step"] * batch, metrics["loss"], color=style.GREY, lw=1)
    left.set(xlabel="images seen", ylabel="training loss (nats)")
    right.set(xlabel="images seen", ylabel="accuracy on held-out images")
    if evaluation is not None:
        for (column, label), look in zip(ACCURACIES.items(), style.S2_CURVES, strict=False):
            colour, marker, line = look
            if evaluation[column].notna().any():
                right.plot(
                    evaluation["images"], evaluation[column], color=colour, marker=marker, ls=line,
                    label=label,
                )  # fmt: skip
        right.legend()
    return drawn
