"""Blocks of Tables 6, 7, 11 and 12: dense heads on real images, from committed runs."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from matplotlib.figure import Figure

from analyses import experiments
from analyses.experiments.dense import ADDED, BASE, CONSTANT, SCALED, SUMMARY, WHOLE
from feature_store import Source
from workbench.figures.dense import METRICS, draw_dense
from workbench.results.table_files import to_markdown
from workbench.tables.render.view import signed
from workbench.tables.specs.schema import TableSpec

IMAGES = {
    "camvid": "CamVid",
    "nyu13": "NYUv2, 13 classes",
    "depth_rooms": "two rooms",
    "depth_rooms_cross": "another room and camera",
}
"""Dataset → its name."""
DECIMALS = {"miou": 1, "rmse": 3}
"""Metric → decimals of its scores."""
PARTS = {
    "Seq05VD": ("Seq05VD alone", "Seq05VD"),
    SCALED: ("scaled to the true median", "scaled"),
}
"""Second score → its heading, and a short form."""
ROWS = {"11": (BASE, WHOLE), "12": (BASE, ADDED)}
"""Table → rows it compares; Tables 6 and 7 show the others."""
SETTING = ["data", "head", "iterations", "hidden"]
"""What rows of one table share."""
TITLE = "Real images, measured here"


def block(number: str) -> tuple[str, str, pd.DataFrame]:
    """The committed runs that belong to a table: title, caption, frame."""
    found = rows_of(number)
    return TITLE, caption(found) if len(found) else "No run is committed yet.", shown(found)


def rows_of(number: str) -> pd.DataFrame:
    """Lines of the summary that belong to a table.

    Tables 6 and 7 have one metric each; Tables 11 and 12 the two rows that they compare, wherever
    both were run.
    """
    found = experiments.load(SUMMARY)
    found = found.sort_values("data", key=lambda data: data.map(list(IMAGES).index), kind="stable")
    if number not in ROWS:
        metric = "miou" if number == "6" else "rmse"
        aside = [row for _, row in ROWS.values()]
        return found[(found["metric"] == metric) & ~found["row"].isin(aside)]
    pair = found[found["row"].isin(ROWS[number])]
    both = pair.groupby(SETTING, dropna=False)["row"].transform("nunique") == 2
    return pair[both]


def shown(found: pd.DataFrame) -> pd.DataFrame:
    """Lines for readers, scores and differences as text."""
    headings = [METRICS[metric][0] for metric in dict.fromkeys(found["metric"])]
    columns: dict[str, object] = {
        "images": found["data"].map(IMAGES),
        "head": [_head(row) for row in found.itertuples()],
        "row": found["row"],
        "scales": [_scales(row) for row in found.itertuples()],
        "grid": found["grid"],
        "GMACs": found["gmacs"].astype(float).round(2),
        " or ".join(headings) or "score": _scores(found, ""),
        f"{BASE} minus this": _differences(found, ""),
    }
    for part in found["part"].dropna().unique():
        own = found["part"] == part
        of_part = found.assign(**{k: found[k].where(own) for k in found if k.startswith("part_")})
        name, short = PARTS[part]
        columns[name] = _scores(of_part, "part_")
        columns[f"{short}, {BASE} minus this"] = _differences(of_part, "part_")
    return pd.DataFrame({**columns, "seeds": found["seeds"]}).reset_index(drop=True)


def caption(found: pd.DataFrame) -> str:
    """What was run, what is controlled, and why nothing here compares with the paper's figures."""
    counts = found.drop_duplicates("data")
    data = ", ".join(
        f"{IMAGES[row.data]} ({row.train_images} training and {row.test_images} test images)"
        for row in counts.itertuples()
    )
    decoders = found.dropna(subset="iterations")[["head", "iterations", "hidden"]]
    trained = "".join(
        f", {row.head} ({row.iterations:.0f} steps, {row.hidden:.0f} channels)"
        for row in decoders.drop_duplicates().itertuples()
    )
    return (
        f"Data: {data}. Heads: linear{trained}, on stored tokens of frozen models, without crops "
        "or mirror images. Data and training are small and not the paper's, so no figure here is "
        "comparable with the paper's. A larger grid helps a dense head by itself: compare rows of "
        "the same grid. GMACs: of the frozen model. Intervals: 95 %, over test images, and over "
        "seeds if a row has several; differences are paired over the seeds of both rows. Runs of "
        "scripts/experiments/dense_heads.py."
    )


def figure(spec: TableSpec, _: object = None) -> Figure | None:
    """A table's runs: score against cost, a panel for each dataset; None without a run."""
    return drawn(rows_of(spec.key))


def drawn(found: pd.DataFrame) -> Figure | None:
    """Score against cost of lines of the summary; None without any."""
    if found.empty:
        return None
    lines = found[~found["row"].isin([WHOLE, ADDED, CONSTANT])]
    lines = lines.assign(head=[_head(row) for row in lines.itertuples()])
    there = set(lines["data"])
    return draw_dense(lines, {data: name for data, name in IMAGES.items() if data in there})


def page() -> str:
    """Every table in Markdown, as docs/dense_results.md has them."""
    parts = []
    for number, title in PAGE.items():
        parts.append(f"## {title}")
        found = rows_of(number)
        for _, group in found.groupby(SETTING, dropna=False, sort=False):
            lines = shown(group)
            images, head = lines.loc[0, ["images", "head"]]
            kept = lines.loc[:, (lines != "").any()].drop(columns=["images", "head"])
            parts += [f"**{images}, {head}**", to_markdown(kept, ".2f")]
        if found.empty:
            parts.append("No run is committed yet.")
    return "\n\n".join(parts)


PAGE = {
    "6": "Segmentation (Table 6)",
    "7": "Depth (Table 7)",
    "11": "Split or whole (Table 11)",
    "12": "Concatenate or add (Table 12)",
}


def _head(row: object) -> str:
    head, steps = row.head, row.iterations  # type: ignore[attr-defined]
    return "linear head" if head == "linear" else f"{head}, {steps:.0f} steps"


def _scales(row: object) -> str:
    if row.row == CONSTANT:  # type: ignore[attr-defined]
        return ""
    return "+".join(Source.parse(row.source).scales)  # type: ignore[attr-defined]


def _scores(found: pd.DataFrame, part: str) -> list[str]:
    """Score and interval of each line; empty where a part was not scored."""
    return [
        _text(row, (f"{part}value", f"{part}low", f"{part}high"), "{:.{}f}".format)
        for row in found.to_dict("records")
    ]


def _differences(found: pd.DataFrame, part: str) -> list[str]:
    names = tuple(f"{part}difference{end}" for end in ("", "_low", "_high"))
    return [_text(row, names, signed) for row in found.to_dict("records")]


def _text(row: dict, names: tuple[str, ...], written: Callable[[float, int], str]) -> str:
    factor, digits = METRICS[row["metric"]][1], DECIMALS[row["metric"]]
    value, low, high = (factor * row[name] for name in names)
    if value != value:
        return ""
    return f"{written(value, digits)} [{written(low, digits)}, {written(high, digits)}]"
