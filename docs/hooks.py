"""Build hooks of the site, for what pages and docstrings hold that only another reader follows."""

from __future__ import annotations

import inspect
import logging
import re
import warnings
from pathlib import Path
from typing import Any

import tyro

from workbench.arguments import CONFIG, SLURM, description, examples
from workbench.cli import COMMANDS, form_of

LOG = logging.getLogger("mkdocs.hooks")
ROOT = Path(__file__).parents[1]
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):<code>~?([\w.]+)</code>")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")
_OPTIONS = "<!-- options of every command -->"
_UNSAID = re.compile(r" \(default: (None|False)?\)$")


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """Option tables where a page asks for them, and links to files of the repository as text.

    The site does not hold those files; one that does not exist is a warning, as of any other link.
    """
    source = page.file.src_uri
    if "/" not in source:
        for _, path in _OUTSIDE.findall(markdown):
            if not (ROOT / path).exists():
                LOG.warning("Doc file '%s' links to '../%s', which does not exist", source, path)
        markdown = _OUTSIDE.sub(r"\1", markdown)
    return markdown.replace(_OPTIONS, option_tables()) if _OPTIONS in markdown else markdown


def on_page_content(html: str, **_: object) -> str:
    """``:func:`a.b``` as a link to ``a.b``, or as code where no page shows that name."""
    return _ROLE.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', html)


def option_tables() -> str:
    """Every command in Markdown: what it does, examples, and its options from its parser."""
    parts, slurm = [], ""
    for command in COMMANDS:
        form = form_of(command)
        text = inspect.cleandoc(description(form))
        parts.append(f"## {command}\n\n{text}\n\n```bash\n{examples(form)}\n```\n")
        for group in _groups(form):
            rows = [_row(action) for action in group._group_actions if action.dest != "help"]
            rows.sort(key=lambda row: not row[2].endswith("(required)"))
            if rows and group.title == f"{SLURM} options":
                slurm = _table(rows)
            elif rows:
                parts.append(_table(rows))
    parts.append(f"## Options of Slurm jobs\n\nOf the commands that have `--engine`.\n\n{slurm}")
    return "\n".join(parts)


def _groups(form: Any) -> list[Any]:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return tyro.extras.get_parser(form, config=CONFIG)._action_groups


def _row(action: Any) -> tuple[str, str, str]:
    """Name, value and meaning of an option."""
    value = action.metavar[0] if isinstance(action.metavar, tuple) else action.metavar or ""
    value = value.removeprefix("{None}|").replace("[STR [STR ...]]", "STR ...").strip("{}[]")
    name = action.option_strings[0] if action.option_strings else action.dest.upper()
    return name, value.replace(",", ", "), _UNSAID.sub("", " ".join(action.help.split()))


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| `{name}` | {value} | {meaning} |" for name, value, meaning in cells]
    return "\n".join(["| option | value | meaning |", "|---|---|---|", *lines, ""])
