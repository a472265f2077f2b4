"""A table's content as Markdown, CSV, LaTeX (booktabs) and HTML."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.figures.html_page import page
from workbench.tables.records import provenance
from workbench.tables.records.content import NOT_COMPARABLE

BLANK = ""


def shown(table: dict) -> pd.DataFrame:
    """The table for readers: two header rows, metric over paper, here and difference.

    ``here`` has its 95 % interval in brackets; ``difference`` is filled where settings are alike,
    and says ``n/c`` where they are not. Metrics that nothing was measured for have one column.
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
            columns[metric["name"], "here"] = [_with_interval(cell, digits) for cell in cells]
            if any(cell["published"] is not None for cell in cells):
                differences = [_difference(cell, digits) for cell in cells]
                columns[metric["name"], "difference"] = differences
    if any(row["source"] for row in table["rows"]):
        columns["", "run here"] = [short(row["source"]) for row in table["rows"]]
    if any(row["note"] for row in table["rows"]):
        columns["", "note"] = [row["note"] for row in table["rows"]]
    return pd.DataFrame({k: pd.Series(v, dtype=object) for k, v in columns.items()})


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


def short(source: str) -> str:
    """Sources without the loader in front."""
    if "@" not in source:
        return source
    return ", ".join(name.partition(":")[2] or name for name in source.split())


def _with_interval(cell: dict, digits: int) -> str:
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
    measured = any("value" in c for row in table["rows"] for c in row["cells"].values())
    if measured and not table["comparable"] and any(_printed(table)):
        found.append(
            f"{NOT_COMPARABLE}: not comparable. The settings differ as listed here, so the number "
            "here may not be subtracted from the paper's; only directions between rows compare."
        )
    if any(c["interval"] == "unpaired" for c in table["comparisons"]):
        found.append(
            "Unpaired intervals of differences treat rows as independent; "
            + (
                "here rows are points of one fitted law, whose errors mostly go together, so these "
                "intervals are likely too wide."
                if "encoder_law" in {m["analysis"] for m in table["measurements"].values()}
                else "the rows share their test images, so these intervals are too wide rather "
                "than too narrow."
            )
        )
    return [*found, *table["footnotes"]]


def _printed(table: dict) -> list[bool]:
    return [c["published"] is not None for row in table["rows"] for c in row["cells"].values()]


def write(table: dict, blocks: list[dict], stem: Path) -> list[Path]:
    """Write ``stem`` as .md, .csv, .tex and .html; their paths.

    Figures follow their table in .md, .tex and .html, and a line of provenance ends them. Lines of
    the CSV name their measurement; further tables have a CSV each, with no measurement behind it.

    Parameters
    ----------
    table : dict
        Content, with the names of its `pictures`, which lie beside `stem` already.
    blocks : list of dict
        Further tables.
    stem : Path
        File name without suffix.
    """
    from workbench.tables.render import html, latex  # both read this module

    line = provenance.line(table)
    body = f'{html.section(table, blocks, stem.parent)}\n<p class="made">{escape(line)}</p>'
    texts = {
        ".md": f"{markdown(table, blocks)}\n{line}\n",
        ".tex": f"{latex.document(table, blocks)}% {line}\n",
        ".html": page(table["title"], body, html.CSS),
    }
    paths = []
    for suffix, text in texts.items():
        paths.append(stem.with_name(stem.name + suffix))
        paths[-1].write_text(text, encoding="utf-8")
    if table["rows"]:
        paths.append(stem.with_name(f"{stem.name}.csv"))
        tidy(table).to_csv(paths[-1], index=False)
    for block in blocks:
        paths.append(stem.with_name(f"{stem.name}_{block['kind']}.csv"))
        pd.DataFrame(block["records"], columns=block["columns"]).to_csv(paths[-1], index=False)
    return paths


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame with one header row: metric and column joined by a colon."""
    if isinstance(frame.columns, pd.MultiIndex):
        names = [": ".join(filter(None, pair)) for pair in frame.columns]
        return frame.set_axis(names, axis=1)
    return frame


def heading(table: dict) -> str:
    """Title with the paper's short name and own number."""
    return f"{table['title']} ({table['paper_name']}, {table['reference']})"


def markdown(table: dict, blocks: list[dict]) -> str:
    """A section in Markdown."""
    parts = [f"# {heading(table)}", table["question"], f"Paper: {table['paper']}."]
    if table["rows"]:
        parts.append(_md(flat(shown(table))))
    if table["comparisons"]:
        parts += ["**Directions**", _md(comparisons(table))]
    for block in blocks:
        parts += [f"**{block['title']}**", block["caption"], _md(block_frame(block))]
    if found := notes(table):
        parts.append("\n".join(f"{n}. {line}" for n, line in enumerate(found, 1)))
    drawings = [name for name in table["pictures"] if name.endswith(".png")]
    parts += [f"![{_alt(table['title'])}]({name})" for name in drawings]
    return "\n\n".join(filter(None, parts)) + "\n"


def _alt(text: str) -> str:
    return text.replace("[", "(").replace("]", ")")


def _md(frame: pd.DataFrame) -> str:
    safe = frame.map(lambda cell: str(cell).replace("|", "\\|"))
    return safe.to_markdown(index=False, disable_numparse=True)
