"""The program ``workbench``, or ``python -m workbench``: share the cores, then run a command."""

from __future__ import annotations

import sys

from workbench import processors


def command() -> int:
    """Run the command line in a process of its own; the exit status."""
    processors.share()  # before any library that has threads is imported
    from workbench.cli import main
    from workbench.results.messages import Errors

    if sys.stderr is not None:
        sys.stderr = Errors(sys.stderr)
    return main()


if __name__ == "__main__":
    sys.exit(command())
