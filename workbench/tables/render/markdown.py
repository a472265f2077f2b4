"""A table's section in Markdown."""

from __future__ import annotations

import pandas as pd

from workbench.results.table_files import to_markdown
from workbench.tables.render import films, view


def section(table: dict, blocks: list[dict]) -> str:
    """A section in Markdown."""
    parts = [f"# {view.heading(table)}", table["question"], f"Paper: {table['paper']}."]
    if table["rows"]:
        parts.append(to_markdown(_flat(view.shown(table))))
    if table["comparisons"]:
        parts += ["**Directions**", to_markdown(view.comparisons(table))]
    for block in blocks:
        parts += [f"**{block['title']}**", block["caption"], to_markdown(view.block_frame(block))]
    if found := view.notes(table):
        parts.append("\n".join(f"{n}. {line}" for n, line in enumerate(found, 1)))
    made = films.of(table)
    drawings = [n for n in table["pictures"] if n.endswith(".png") and n not in made]
    title = table["title"].replace("[", "(").replace("]", ")")
    parts += [f"![{title}]({name})" for name in drawings]
    parts += [f"![{films.caption(name)}]({name})" for name in made]
    return "\n\n".join(filter(None, parts)) + "\n"


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The same frame with one header row: metric and column joined by a colon."""
    if isinstance(frame.columns, pd.MultiIndex):
        names = [": ".join(filter(None, pair)) for pair in frame.columns]
        return frame.set_axis(names, axis=1)
    return frame
