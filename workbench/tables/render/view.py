"""What readers see of a table: its frames, heading and footnotes, whatever the format."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from workbench.tables.records.content import NOT_COMPARABLE

BLANK = ""


def shown(table: dict) -> pd.DataFrame:
    """The table for readers: two header rows, metric over paper, here and difference.

    ``here`` has its 95 % interval in brackets; ``difference`` is filled if settings are alike,
    and ``n/c`` otherwise. Metrics without measurements have one column.
    """
    columns: dict[tuple[str, str], list[str]] = {
        ("", name.replace("_", " ")): [_label(row["label"][n]) for row in table["rows"]]
        for n, name in enumerate(table["label"])
    }
    for metric in table["metrics"]:
        cells = [row["cells"][metric["column"]] for row in table["rows"]]
        digits = metric["digits"]
        if any(cell["published"] is not None for cell in cells):
            columns[metric["name"], "paper"] = [c.get("printed", BLANK) for c in cells]
        if any("value" in cell for cell in cells):
            columns[metric["name"], "here"] = [with_interval(cell, digits) for cell in cells]
            if any(cell["published"] is not None for cell in cells):
                differences = [_difference(cell, digits) for cell in cells]
                columns[metric["name"], "difference"] = differences
    if any(row["source"] for row in table["rows"]):
        columns["", "run here"] = [short(row["source"]) for row in table["rows"]]
    if any(row["note"] for row in table["rows"]):
        columns["", "note"] = [row["note"] for row in table["rows"]]
    return pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in columns.items()})


def on_page(frame: pd.DataFrame, labels: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """:func:`shown` for a page: unseen images first, training images apart.

    The row's `labels` columns, at the left, become one, and differences that are n/c throughout are
    left out.

    Returns
    -------
    first, training : pandas.DataFrame
        The second has no column but the labels' where no metric is given on both.
    """
    metrics = {metric for metric, _ in frame.columns}
    trained = {m for m in metrics if m.startswith("train ") and f"test {m[6:]}" in metrics}
    kept = [
        column
        for column in frame.columns[labels:]
        if column[1] != "difference" or not set(frame[column]) <= {NOT_COMPARABLE, BLANK}
    ]
    named = frame.iloc[:, :labels]
    name = ("", ", ".join(label for _, label in named.columns))
    labelled = named.agg(lambda row: ", ".join(filter(None, row)), axis=1)
    parts = []
    for columns in ([c for c in kept if c[0] not in trained], [c for c in kept if c[0] in trained]):
        part = frame[columns]
        part.insert(0, name, labelled, allow_duplicates=True)
        parts.append(part)
    return parts[0], parts[1]


def comparisons(table: dict) -> pd.DataFrame:
    """Differences between rows, the paper's beside ours, and whether they point the same way."""
    digits = {metric["column"]: metric["digits"] for metric in table["metrics"]}
    names = {metric["column"]: metric["name"] for metric in table["metrics"]}
    records = []
    for found in table["comparisons"]:
        ratio = found["kind"] == "ratio"
        places = 2 if ratio else digits[found["metric"]]
        texts = [
            number(found[name], places) if ratio else signed(found[name], places)
            for name in ("paper", "here", "low", "high")
        ]
        ends = f" [{texts[2]}, {texts[3]}]" if found["low"] is not None else ""
        records.append(
            {
                "compared": found["question"],
                "in": ("ratio of " if ratio else "difference in ") + names[found["metric"]],
                "better": found["better"],
                "paper": texts[0],
                "here": texts[1] + ends,
                "interval": found["interval"],
                "verdict": found["verdict"],
            }
        )
    return pd.DataFrame(records)


def block_frame(block: dict) -> pd.DataFrame:
    """A block for readers, numbers as text."""
    frame = pd.DataFrame(block["records"], columns=block["columns"])
    return pd.DataFrame(
        {name: [number(value, None) for value in frame[name]] for name in frame}, dtype=object
    )


def tidy(table: dict) -> pd.DataFrame:
    """One line per number, at full precision, with the measurement it comes from."""
    records = []
    for row in table["rows"]:
        label = dict(zip(table["label"], row["label"], strict=True))
        for metric in table["metrics"]:
            cell = row["cells"][metric["column"]]
            records.append(
                {
                    "table": table["key"],
                    **{f"row_{name}": value for name, value in label.items()},
                    "metric": metric["column"],
                    "published": cell["published"],
                    "here": cell.get("value"),
                    "low": cell.get("low"),
                    "high": cell.get("high"),
                    "comparable": cell.get("comparable"),
                    "difference": cell.get("difference"),
                    "source": cell.get("source", ""),
                    "analysis": cell.get("analysis", ""),
                    "data": cell.get("data", ""),
                    "gmacs": row.get("gmacs"),
                    "params_m": row.get("params_m"),
                    "measurement": cell.get("measurement", ""),
                }
            )
    return pd.DataFrame(records)


def number(value: Any, digits: int | None) -> str:
    """A number as text: so many decimals, or as printed; words stay; nothing is blank."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return BLANK
    if isinstance(value, str):
        return value
    if digits is None:
        return f"{value:.10g}"
    return f"{value:.{digits}f}"


def _label(text: str) -> str:
    """A row's label; round counts from a million up in millions."""
    if text.isdecimal() and text.endswith("0000") and int(text) >= 10**6:
        return f"{int(text) / 1e6:.10g}M"
    return text


def signed(value: Any, digits: int) -> str:
    """A difference with its sign; a true minus."""
    return BLANK if value is None else f"{value:+.{digits}f}".replace("-", "−")


def paired(difference: float, low: float, high: float, p: float) -> str:
    """A paired difference in points with its interval and p; NaN for what there is not.

    Examples
    --------
    >>> paired(10.0, 2.0, 18.0, 0.0123)
    '+10.0 [+2.0, +18.0], p 0.012'
    """
    if math.isnan(difference):
        return BLANK
    value, *ends = (signed(one, 1) for one in (difference, low, high))
    text = f"{value} [{', '.join(ends)}]"
    return text if math.isnan(p) else f"{text}, p {p:.2g}"


def short(source: str) -> str:
    """Sources without the loader in front."""
    if "@" not in source:
        return source
    return ", ".join(name.partition(":")[2] or name for name in source.split())


def with_interval(cell: dict, digits: int) -> str:
    """Text of a measured ``value`` with ``low`` and ``high``; of what is missing, why."""
    if "value" not in cell:
        return BLANK
    if cell["value"] is None and cell["low"] is None:
        return "not determined"
    value = "not determined" if cell["value"] is None else number(cell["value"], digits)
    if cell["low"] is None:
        return value
    return f"{value} [{number(cell['low'], digits)}, {number(cell['high'], digits)}]"


def _difference(cell: dict, digits: int) -> str:
    if cell.get("value") is None or not isinstance(cell["published"], float | int):
        return BLANK
    return signed(cell["difference"], digits) if "difference" in cell else NOT_COMPARABLE


def notes(table: dict) -> list[str]:
    """Footnotes in order: what is missing, what n/c means, every deviation."""
    found = [table["missing"]] if table["missing"] else []
    cells = [cell for row in table["rows"] for cell in row["cells"].values()]
    measured = any("value" in cell for cell in cells)
    printed = any(cell["published"] is not None for cell in cells)
    if measured and printed and not table["comparable"]:
        found.append(
            f"{NOT_COMPARABLE}: not comparable. The settings differ as listed here, so the number "
            "here may not be subtracted from the paper's; only directions between rows compare."
        )
    unpaired = [c for c in table["comparisons"] if c["interval"] == "unpaired"]
    if unpaired:
        reason = (
            "here rows are points of one fitted law, whose errors mostly go together, so these "
            "intervals are likely too wide."
            if any(c["one_law"] for c in unpaired)
            else "the rows share their test images, so these intervals are too wide rather than "
            "too narrow."
        )
        found.append(f"Unpaired intervals of differences treat rows as independent; {reason}")
    return [*found, *table["footnotes"]]


def grouped(lines: list[str]) -> dict[str, list[str]]:
    """Footnotes by the word before their colon, such as *Models* or *Fit*; the rest first."""
    found: dict[str, list[str]] = {"Notes": []}
    for line in lines:
        group, colon, text = line.partition(": ")
        if colon and group.isalpha() and group.istitle():
            found.setdefault(group, []).append(text)
        else:
            found["Notes"].append(line)
    return {group: texts for group, texts in found.items() if texts}


def heading(table: dict) -> str:
    """Title with the paper's short name and own number."""
    return f"{table['title']} ({table['paper_name']}, {table['reference']})"
