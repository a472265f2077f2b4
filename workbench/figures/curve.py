"""Any metric of any analysis against cost, where the costs of its sources can be counted."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from feature_store import InputError, Source
from workbench.figures.probe import draw_curve
from workbench.results.messages import note


def with_cost(table: pd.DataFrame) -> pd.DataFrame:
    """The table with ``gmacs`` per image and ``params`` (millions) of each source.

    Parameters
    ----------
    table : pandas.DataFrame
        Has a column ``source``.

    Raises
    ------
    InputError
        A source whose model is not known here.
    """
    from workbench.cost import cost

    counted = []
    for source in map(Source.parse, table["source"]):
        # A scale of which only some tokens are kept costs what the whole scale does.
        scales = [scale.partition(".t")[0] for scale in source.scales]
        counted.append(cost(source.model, scales, tap=source.tap))
    return table.assign(gmacs=[c.gmacs for c in counted], params=[c.params / 1e6 for c in counted])


def write_curve(table: pd.DataFrame, stem: Path, *, metric: str, label: str) -> list[Path]:
    """Draw the metric against GMACs and parameters (Figure 2) and write PNG and SVG; their paths.

    If a source's model is unknown here, nothing is written but a line on standard error.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns ``source``, the metric, and optionally ``low`` and ``high``.
    stem : Path
        File name without suffix.
    metric, label : str
        Column that is drawn, and what the axis calls it.
    """
    try:
        costs = with_cost(table)
    except InputError as error:
        note(f"no figure of {metric} against cost: {error}")
        return []
    return [*draw_curve(costs, stem, metric=metric, label=label)]
