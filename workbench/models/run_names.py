"""Names of models that were trained here: ``run:FOLDER``, and the name that stores keep.

A store keeps ``run:ARCHITECTURE-HASH`` with the first digits of the hash of the weights. A run that
was moved or renamed is therefore the same model, and its folder may have any name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from feature_store.source import Source
from workbench.results.messages import note

IS_RUN = "run:"
WEIGHTS = "checkpoint.safetensors"
"""File of a run's weights; its metadata are :class:`dict` of str, see :func:`record_of`."""
FIELDS = ("architecture", "pixels", "options", "objective", "scales", "identity", "weights_sha256")
"""Metadata that a weight file has."""
_STORED = re.compile(r"run:[\w.]+-[0-9a-f]{12}")
_places: dict[str, Path] = {}
"""Stored name to the folder that this process knows it by."""


def run_name(text: str) -> str:
    """The name that stores keep, of ``run:FOLDER``; a stored name is returned as it is.

    Raises
    ------
    InputError
        The folder holds no finished run, or its file has changed.
    """
    folder = Path(text.removeprefix(IS_RUN)).expanduser()
    if _STORED.fullmatch(text) and not folder.exists():
        return text
    record = record_of(folder)
    name = f"run:{record['architecture']}-{record['weights_sha256'][:12]}"
    if _places.get(name) != folder.resolve():
        note(f"model {text} is {name}")
    _places[name] = folder.resolve()
    return name


def place_of(name: str) -> Path:
    """The folder behind a stored name.

    Raises
    ------
    InputError
        Nobody has named the folder to this process.
    """
    if name not in _places:
        raise InputError(
            f"{name} is the name of trained weights; name their folder: --source "
            f"run:FOLDER@SCALES, or --model run:FOLDER"
        )
    return _places[name]


def find_run(model: str, given: str | None) -> None:
    """Make the folder of a model known where a record has the model's stored name alone.

    Parameters
    ----------
    model : str
        As recorded; of any kind.
    given : str or None
        ``run:FOLDER``, as ``--encoder`` names it.

    Raises
    ------
    InputError
        The folder of another model, or no folder although one is needed.
    """
    if given is not None and (found := run_name(given)) != model:
        raise InputError(f"--encoder {given} is {found}; expected the folder of {model}")
    if model.startswith(IS_RUN) and model not in _places:
        raise InputError(
            f"the features are of {model}, which `workbench pretrain` trained; name its folder: "
            f"--encoder run:FOLDER"
        )


def record_of(folder: Path) -> dict[str, str]:
    """Read the record in the weight file of a run.

    Raises
    ------
    InputError
        As :func:`run_name`.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        what = (
            "an unfinished run: repeat its `workbench pretrain` to the end"
            if (folder / "run.json").is_file()
            else f"no run of `workbench pretrain`: it lacks {WEIGHTS}"
        )
        raise InputError(f"run:{folder} is {what}")
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, path.stat().st_size)))
        record = header.get("__metadata__", {})
    except ValueError as error:
        raise InputError(
            f"{path} is damaged: its header is not JSON; train the run again"
        ) from error
    missing = [name for name in FIELDS if name not in record]
    if missing:
        raise InputError(
            f"{path} lacks {', '.join(missing)}: `workbench pretrain` did not write it"
        )
    return record


def origin(record: Mapping[str, str]) -> str:
    """Origin of the weights, as a manifest field."""
    return (
        f"run {record['identity'][:16]}, {record['objective']}, trained at "
        f"{record['scales'].replace(' ', '+')}"
    )


def other_scales(sources: Iterable[tuple[Source, Mapping[str, Any]]]) -> list[str]:
    """A line for each source at other scales than its model was trained at.

    Sources are resolved, each with the manifest of one of its scales.
    """
    lines = []
    for source, manifest in sources:
        if not source.model.startswith(IS_RUN):
            continue
        trained = manifest["weights_from"].rpartition("trained at ")[2]
        if set(trained.split("+")) != set(source.scales):
            lines.append(
                f"{source}: the model was trained at {trained}, and is used at other scales"
            )
    return lines
