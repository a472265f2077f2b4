"""Films of the runs behind a table, beside its page."""

from __future__ import annotations

from pathlib import Path

from analyses import experiments
from workbench.results.files import written_whole

SUFFIX = ".gif"


def write(stem: Path) -> list[Path]:
    """Write the committed films of a table beside `stem`, which is named after it; their paths."""
    paths = []
    for name, content in experiments.films(stem.name).items():
        paths.append(stem.with_name(name))
        with written_whole(paths[-1]) as partial:
            partial.write_bytes(content)
    return paths


def of(table: dict) -> list[str]:
    """File names of a table's films."""
    return [name for name in table["pictures"] if name.endswith(SUFFIX)]


def caption(name: str) -> str:
    """What a film shows, by its file name.

    Examples
    --------
    >>> caption("table10_Lite0-S2.gif")[:21]
    'Trials with Lite0-S2:'
    """
    row = name.partition("_")[2].removesuffix(SUFFIX)
    return (
        f"Trials with {row}: successes in green frames, failures in red ones. The curve below a "
        "trial is the mean absolute difference between the policy's action and the scripted "
        "expert's at each step, on the same axes for all."
    )
