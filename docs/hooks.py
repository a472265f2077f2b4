"""Build hook of the site: Sphinx roles in docstrings become links into the reference."""

from __future__ import annotations

import re

_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):<code>~?([\w.]+)</code>")


def on_page_content(html: str, **_: object) -> str:
    """``:func:`a.b``` as a link to ``a.b``, or as code where no page shows that name."""
    return _ROLE.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', html)
