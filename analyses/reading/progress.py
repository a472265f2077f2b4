"""Progress bars on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tqdm.auto import tqdm


class Bar:
    """Counts images under a bar that appears with the first of them.

    A copy that reaches another process counts in silence.
    """

    def __init__(self, label: str = "", total: int = 0) -> None:
        self._label, self._total = label, total
        self._shown: Any = None

    def update(self, images: int) -> None:
        """Count so many more; nothing is shown without a label."""
        if self._label and self._shown is None:
            self._shown = tqdm(desc=self._label, unit="image", total=self._total, leave=False)
        if self._shown is not None:
            self._shown.update(images)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown is not None:
            self._shown.close()

    def __reduce__(self) -> tuple:
        return Bar, ()


def each(sources: Sequence[str], *, progress: bool, label: str) -> Iterable[str]:
    """The sources in turn, under a progress bar if asked."""
    return tqdm(sources, desc=label, unit="source", leave=False) if progress else sources
