"""Instance loss over the epochs of the budget, and random labels fitted: curves per source."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd

from feature_store import Source
from workbench.figures import style
from workbench.figures.probe import short


@style.styled
def draw_loss(table: pd.DataFrame, stem: Path) -> tuple[Path, Path]:
    """Draw ``loss_curve`` of :func:`analyses.memorization.compute`; written as PNG and SVG.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``source``, ``loss_curve``, ``chance_loss``.
    stem : Path
        File name without suffix.
    """
    drawn, (axes,) = style.figure(6.4, 4.0)
    colours = _colours(list(table["source"]))
    for n, row in enumerate(table.to_dict("records")):
        epochs = range(1, len(row["loss_curve"]) + 1)
        axes.plot(
            epochs, row["loss_curve"], label=short(row["source"]),
            color=colours[n],
            marker=style.MARKERS[n % len(style.MARKERS)], markevery=max(1, len(epochs) // 6),
        )  # fmt: skip
    axes.axhline(table["chance_loss"].iloc[0], color="#bbbbbb", ls="--", lw=1)
    axes.annotate(
        "chance", (1, table["chance_loss"].iloc[0]), (0, -3), ha="right", va="top", fontsize=8,
        xycoords=("axes fraction", "data"), textcoords="offset points", color="#777777",
    )  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_ylabel("instance loss (nats)")
    axes.legend()
    return style.save(drawn, stem)


@style.styled
def draw_capacity(table: pd.DataFrame, stem: Path) -> tuple[Path, Path]:
    """Training accuracy on random labels against their number; written as PNG and SVG.

    Parameters
    ----------
    table : pandas.DataFrame
        As :func:`analyses.random_labels.compute` returns it.
    stem : Path
        File name without suffix.
    """
    drawn, (axes,) = style.figure(6.4, 4.0)
    colours = _colours(list(table["source"]))
    for n, row in enumerate(table.to_dict("records")):
        more = " or more" if row["censored"] else ""
        axes.plot(
            row["counts"], row["accuracies"],
            label=f"{short(row['source'])}: {row['capacity']}{more}",
            color=colours[n],
            marker=style.MARKERS[n % len(style.MARKERS)],
        )  # fmt: skip
    axes.axhline(0.99, color="#bbbbbb", ls="--", lw=1)
    axes.set_xlabel("images with random labels")
    axes.set_ylabel("training accuracy of a linear head")
    axes.legend(title="labels fitted to 99 %")
    return style.save(drawn, stem)


def _colours(sources: list[str]) -> list[str]:
    """Greens for S2 sources, grey and then other hues for single-scale ones."""
    greens = itertools.cycle((style.GREEN, style.LIGHT_GREEN))
    others = itertools.cycle(style.PALETTE[1:])
    several = [len(Source.parse(name).scales) > 1 for name in sources]
    return [next(greens if s2 else others) for s2 in several]
