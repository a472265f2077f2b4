"""A table's section in LaTeX: booktabs rules, captions, footnotes, figures."""

from __future__ import annotations

from workbench.results.table_files import escaped, to_latex
from workbench.tables.render import view


def section(table: dict, blocks: list[dict]) -> str:
    """A table, what belongs to it and its figures, for inclusion in a LaTeX document."""
    parts = []
    if table["rows"]:
        parts.append(to_latex(view.shown(table), caption=view.heading(table)))
    if table["comparisons"]:
        parts.append(to_latex(view.comparisons(table), caption=f"{table['title']}: directions"))
    for block in blocks:
        caption = f"{table['title']}: {block['title'].lower()}"
        parts.append(to_latex(view.block_frame(block), caption=caption))
    if found := view.notes(table):
        items = "\n".join(f"\\item {escaped(line)}" for line in found)
        parts.append(f"\\begin{{enumerate}}\n{items}\n\\end{{enumerate}}")
    for name in table["pictures"]:
        if name.endswith(".png"):
            graphics = f"\\includegraphics[width=\\linewidth]{{{name}}}"
            caption = f"\\caption{{{escaped(view.heading(table))}}}"
            parts.append(f"\\begin{{figure}}\n{graphics}\n{caption}\n\\end{{figure}}")
    return "% needs \\usepackage{booktabs,graphicx,multirow}\n" + "\n\n".join(parts) + "\n"
