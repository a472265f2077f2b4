"""How long a run waits without any worker."""

from __future__ import annotations

import time


class Patience:
    """Counts the seconds since there last was a worker."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since = time.monotonic()

    def is_over(self, anybody: bool) -> bool:
        """Whether there has been nobody for too long."""
        if anybody:
            self._since = time.monotonic()
        return time.monotonic() - self._since > self.seconds
