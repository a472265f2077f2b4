"""Build hooks of the site, for what pages and docstrings hold that only another reader follows."""

from __future__ import annotations

import re
from typing import Any

_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):<code>~?([\w.]+)</code>")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """A link from ``docs/`` to a file of the repository as its text: the site does not hold it."""
    return markdown if "/" in page.file.src_uri else _OUTSIDE.sub(r"\1", markdown)


def on_page_content(html: str, **_: object) -> str:
    """``:func:`a.b``` as a link to ``a.b``, or as code where no page shows that name."""
    return _ROLE.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', html)
