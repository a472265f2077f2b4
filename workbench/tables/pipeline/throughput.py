"""Table 13's images per second, measured on this machine beside the printed ones."""

from __future__ import annotations

import pandas as pd

from workbench.tables.pipeline.analyses import ANALYSES
from workbench.tables.records.measurement import Context
from workbench.tables.specs.s2_table13 import TABLE

COLUMN = "images_per_s"
ANY_SPEED = "another device: only ratios between rows compare"
NOT_RUN = "takes up to half a minute per image on a CPU: run with --profile paper"


def with_throughput(table: pd.DataFrame, *, profile: str, device: str) -> pd.DataFrame:
    """The cost columns of Table 13, :func:`workbench.cost.published_cost_columns`, measured here.

    Under ``bundled`` rows at 224 pixels are run, one image per pass, under ``paper`` all rows, with
    untrained weights on a torch device.

    Returns
    -------
    pandas.DataFrame
        Further columns ``images_per_s_here`` (median of the passes), ``images_per_s_low`` and
        ``images_per_s_high`` (slowest, fastest), ``images_per_s_deviation``, (here - printed) /
        printed, and ``images_per_s_explanation``; NaN for rows that are not run.
    """
    found: list[dict[str, float | str | None]] = []
    run = TABLE.setups[profile].quantities[COLUMN]
    for row in table.to_dict("records"):
        quantity = run.get((row["family"], row["size"], row["scales"]))
        if quantity is None:
            found.append({"images_per_s_explanation": NOT_RUN})
            continue
        context = Context(stores={}, device=device)
        measured = ANALYSES["throughput"].run(context, [quantity.source], dict(quantity.options))
        here, low, high = measured.values[quantity.source][COLUMN]
        found.append(
            {
                "images_per_s_here": here,
                "images_per_s_low": low,
                "images_per_s_high": high,
                "images_per_s_deviation": here / row[COLUMN] - 1,
                "images_per_s_explanation": "; ".join([ANY_SPEED, *measured.notes]),
            }
        )
    return pd.concat([table, pd.DataFrame(found)], axis=1)
