"""The program ``workbench``, or ``python -m workbench``: share the cores, then run a command."""

from __future__ import annotations

import sys
import warnings

from workbench import processors


def command() -> int:
    """Run the command line in a process of its own; returns the exit status."""
    processors.share()  # before any library that has threads is imported
    # Pillow's remark on large images: the dataset has a bound on pixels, and says what exceeds it.
    warnings.filterwarnings("ignore", message="Image size")
    sys.warnoptions.append("ignore:Image size")  # decoding processes inherit it
    from workbench.cli import main
    from workbench.results.messages import ErrorStream

    if sys.stderr is not None:
        sys.stderr = ErrorStream(sys.stderr)
    return main()


if __name__ == "__main__":
    sys.exit(command())
