"""Instance loss over the epochs of the budget, and random labels fitted: curves per source."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from workbench.figures import style
from workbench.figures.sources import looks, short


@style.styled
def draw_loss(table: pd.DataFrame) -> Figure:
    """Draw ``loss_curve`` and ``chance_loss`` of :func:`analyses.memorization.compute`."""
    drawn, (axes,) = style.figure(6.4, 4.0)
    for look, row in zip(looks(list(table["source"])), table.to_dict("records"), strict=True):
        epochs = range(1, len(row["loss_curve"]) + 1)
        every = max(1, len(epochs) // 6)
        style.curve(axes, epochs, row["loss_curve"], look, short(row["source"]), markevery=every)
    _level(axes, table["chance_loss"].iloc[0], "chance")
    axes.set(xlabel="epoch", ylabel="instance loss (nats)")
    axes.legend(handlelength=3.5)
    return drawn


@style.styled
def draw_capacity(table: pd.DataFrame) -> Figure:
    """Training accuracy on random labels by number, of :func:`analyses.random_labels.compute`."""
    drawn, (axes,) = style.figure(6.4, 4.0)
    for look, row in zip(looks(list(table["source"])), table.to_dict("records"), strict=True):
        more = " or more" if row["censored"] else ""
        name = f"{short(row['source'])}: {row['capacity']}{more}"
        style.curve(axes, row["counts"], row["accuracies"], look, name)
    _level(axes, 0.99, "99 %")
    axes.set(xlabel="images with random labels", ylabel="training accuracy of a linear head")
    axes.legend(title="labels fitted to 99 %", handlelength=3.5)
    return drawn


def _level(axes: Axes, value: float, name: str) -> None:
    axes.axhline(value, color=style.GREY, ls="--", lw=1)
    axes.annotate(
        name, (1, value), (0, -3), ha="right", va="top", fontsize=8,
        xycoords=("axes fraction", "data"), textcoords="offset points", color=style.GREY,
    )  # fmt: skip
