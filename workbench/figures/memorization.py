"""Loss of instance classification over the epochs of the budget, one curve per source."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from workbench import style
from workbench.figures.probe import short


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
    for n, row in enumerate(table.to_dict("records")):
        epochs = range(1, len(row["loss_curve"]) + 1)
        axes.plot(
            epochs, row["loss_curve"], label=short(row["source"]),
            color=style.PALETTE[n % len(style.PALETTE)],
            marker=style.MARKERS[n % len(style.MARKERS)], markevery=max(1, len(epochs) // 6),
        )  # fmt: skip
    axes.axhline(table["chance_loss"].iloc[0], color="#bbbbbb", ls="--", lw=1)
    axes.annotate(
        "chance", (1, table["chance_loss"].iloc[0]), (0, -10), textcoords="offset points",
        fontsize=8, color="#777777",
    )  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_ylabel("instance loss (nats)")
    axes.legend()
    return style.save(drawn, stem)
