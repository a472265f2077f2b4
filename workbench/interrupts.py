"""What ends a run from outside: SIGTERM, and SIGHUP, which a terminal sends as it is closed."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable


def endings() -> tuple[signal.Signals, ...]:
    """SIGTERM and, where there is one, SIGHUP; not where it is ignored, as under ``nohup``."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, hangup)


def tell(say: Callable[[str], None], line: str) -> None:
    """Say a line; where the terminal is gone, it and all that follows is printed to nobody.

    Without this the first line printed after a hangup would end the run in the middle of a shard.
    """
    try:
        say(line)
    except RuntimeError:  # a signal in the middle of another line: that one is not interrupted
        pass
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for output in (1, 2):
            if stat.S_ISCHR(os.fstat(output).st_mode):  # a terminal, not a file or a pipe
                os.dup2(nowhere, output)
        os.close(nowhere)
