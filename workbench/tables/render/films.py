"""Films and galleries of the runs behind a table, beside its page."""

from __future__ import annotations

from pathlib import Path

from analyses import experiments
from analyses.experiments import FILM, GALLERY
from workbench.results.files import written_whole


def write(stem: Path) -> list[Path]:
    """Write what is committed for a table beside `stem`, which is named after it; their paths."""
    paths = []
    for name, content in experiments.films(stem.name).items():
        paths.append(stem.with_name(name))
        with written_whole(paths[-1]) as partial:
            partial.write_bytes(content)
    return paths


def of(table: dict) -> list[str]:
    """File names of a table's films and galleries."""
    return [name for name in table["pictures"] if name.endswith((FILM, GALLERY))]


def caption(name: str) -> str:
    """What a film or a gallery shows, by its file name.

    Examples
    --------
    >>> caption("table10_Lite0-S2.gif")[:21]
    'Trials with Lite0-S2:'
    """
    row = name.partition("_")[2]
    if name.endswith(GALLERY):
        text = (
            f"Questions of {row.removesuffix(GALLERY)} with the expected answer, and what each "
            f"model said: some that only the first answers right, only the second, both, and "
            f"neither. {experiments.credit(name)}"
        )
        return text.rstrip()
    row = row.removesuffix(FILM).replace("_", " ")
    return (
        f"Trials with {row}: successes in green frames, failures in red ones. The curve below a "
        "trial is the mean absolute difference between the policy's action and the scripted "
        "expert's at each step, on the same axes for all."
    )
