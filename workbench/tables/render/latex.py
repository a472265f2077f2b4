"""Tables for LaTeX: booktabs rules, captions, footnotes, special characters escaped."""

from __future__ import annotations

from typing import Any

import pandas as pd

from workbench.tables.render import view


def document(table: dict, blocks: list[dict]) -> str:
    """Tables for LaTeX with booktabs rules, captions and footnotes."""
    parts = []
    if table["rows"]:
        parts.append(_tex(view.shown(table), view.heading(table)))
    if table["comparisons"]:
        parts.append(_tex(view.comparisons(table), f"{table['title']}: directions"))
    parts += [_tex(view.block_frame(b), f"{table['title']}: {b['title'].lower()}") for b in blocks]
    if found := view.notes(table):
        items = "\n".join(f"\\item {escaped(line)}" for line in found)
        parts.append(f"\\begin{{enumerate}}\n{items}\n\\end{{enumerate}}")
    for name in table["pictures"]:
        if name.endswith(".png"):
            graphics = f"\\includegraphics[width=\\linewidth]{{{name}}}"
            caption = f"\\caption{{{escaped(view.heading(table))}}}"
            parts.append(f"\\begin{{figure}}\n{graphics}\n{caption}\n\\end{{figure}}")
    return "% needs \\usepackage{booktabs,graphicx,multirow}\n" + "\n\n".join(parts) + "\n"


def _tex(frame: pd.DataFrame, caption: str) -> str:
    style = frame.map(escaped).style.hide(axis="index")
    style = style.format_index(escaped, axis=1)
    layout = "".join("l" if _is_text(frame.iloc[:, n]) else "r" for n in range(frame.shape[1]))
    return style.to_latex(
        hrules=True, caption=escaped(caption), column_format=layout, multicol_align="c"
    )


def _is_text(column: pd.Series) -> bool:
    return not any(str(cell)[:1].isdigit() or str(cell)[:1] in ("+", "−") for cell in column)


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "−": "$-$", "×": r"$\times$", "∝": r"$\propto$",
    "⁰": "$^0$", "→": r"$\rightarrow$", "|": r"\textbar{}",
}  # fmt: skip


def escaped(text: Any) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_TEX.get(character, character) for character in str(text))
