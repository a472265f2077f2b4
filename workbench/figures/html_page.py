"""The frame of every HTML page that is written: one look, light and dark, at any width."""

from __future__ import annotations

from html import escape

_CSS = """
:root { color-scheme: light dark; --ink: #1d1f21; --soft: #5b6169; --line: #d5d9de;
  --page: #ffffff; --head: #f2f4f6; --mark: #1b7837; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a9b0b8; --line: #3c4249;
  --page: #17191c; --head: #22262b; --mark: #7fc98d; --warn: #f0b35e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 78rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; }
p { margin: .3rem 0 .6rem; max-width: 46rem; } a { color: var(--mark); }
@media (max-width: 30rem) { body { font-size: 14px; padding: 1rem .7rem 3rem; } }
"""


def page(title: str, body: str, css: str = "") -> str:
    """A whole page without remote assets.

    The title is escaped here; in `body`, HTML, what users wrote is escaped already. The colours in
    `css` are ``var(--ink)``, ``--soft``, ``--line``, ``--page``, ``--head``, ``--mark`` and
    ``--warn``.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}{css}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )
