"""How long a run waits without any worker."""

from __future__ import annotations

import time

GAP = 60.0
"""Nobody asked for so long: the run was busy with something else and not waiting."""


class Patience:
    """Counts the seconds of waiting since there last was a worker."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._since = self._asked = time.monotonic()

    def is_over(self, anybody: bool) -> bool:
        """Whether there has been nobody for too long."""
        now = time.monotonic()
        if anybody or now - self._asked > GAP:
            self._since = now
        self._asked = now
        return now - self._since > self.seconds
