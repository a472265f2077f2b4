"""Report the state of a run from its folder, during and after the training."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feature_store.errors import InputError
from workbench.models.run_names import WEIGHTS
from workbench.results import strict_json
from workbench.training import checkpoints
from workbench.training.files import EVALUATION, FINISHED, IDENTITY, METRICS


def is_run(folder: str | Path) -> bool:
    """Whether a folder is that of a run."""
    return (Path(folder) / IDENTITY).is_file()


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a run: ``identity`` and ``environment``, each a dict.

    Raises
    ------
    InputError
        It is damaged, or a file of something else than a run.
    """
    path = folder / IDENTITY
    remedy = "restore it from a copy, or name another folder"
    record = strict_json.read(path, remedy)
    match record:
        case {"identity": {"training": {"iterations": int()}}}:
            return {"environment": {}, **record}
    raise InputError(
        f"{path} is not the record of a run; expected identity.training.iterations, a number: "
        f"{remedy}"
    )


def is_complete(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether a run has all its results: the weights for pre-training, else the last checkpoint.

    Parameters
    ----------
    identity : mapping
        As recorded in the run's folder.
    """
    if "objective" in identity:  # of pre-training, which writes the weights after the last step
        return (folder / WEIGHTS).is_file()
    saved = _saved(folder)
    return (folder / FINISHED).exists() or (
        bool(saved) and saved[0] == identity["training"]["iterations"]
    )


def status(folder: str | Path) -> dict[str, Any]:
    """Facts about a run; reads small files only.

    Returns
    -------
    dict
        ``run``, ``identity``, ``environment``, ``steps_done`` (of the latest row of metrics.csv),
        ``steps_total``, ``checkpoints`` (steps, the latest first), ``complete``, ``metrics`` and
        ``evaluation`` (latest rows, or None).

    Raises
    ------
    InputError
        The record of the run is damaged.
    """
    path = Path(folder)
    record = read_record(path)
    saved = _saved(path)
    metrics, evaluation = (_last_row(path / name) for name in (METRICS, EVALUATION))
    done = max(saved[0] if saved else 0, int(float(metrics["step"])) if metrics else 0)
    return {
        "run": str(folder),
        "identity": record["identity"],
        "environment": record["environment"],
        "steps_done": done,
        "steps_total": record["identity"]["training"]["iterations"],
        "checkpoints": saved,
        "complete": is_complete(path, record["identity"]),
        "metrics": metrics,
        "evaluation": evaluation,
    }


def text(found: dict[str, Any]) -> str:
    """The facts of :func:`status` as text."""
    state = "complete" if found["complete"] else "INCOMPLETE"
    last = found["checkpoints"][0] if found["checkpoints"] else None
    lines = [f"{found['run']}: {state}, {found['steps_done']}/{found['steps_total']} steps"]
    lines.append("no checkpoint yet" if last is None else f"latest checkpoint after step {last}")
    for name in ("metrics", "evaluation"):
        if row := found[name]:
            known = {key: value for key, value in row.items() if value != "nan"}
            lines.append(f"{name}: " + ", ".join(f"{k} {_short(v)}" for k, v in known.items()))
    if not found["complete"]:
        trained = last == found["steps_total"]
        lines.append(f"repeat its command to {'write its weights' if trained else 'resume'}")
    return "\n".join(lines)


def _short(value: str) -> str:
    """A number of a table to four digits; whole numbers stay whole."""
    return value if value.isdigit() else f"{float(value):.4g}"


def _saved(folder: Path) -> list[int]:
    """Steps of the checkpoints, the latest first."""
    return [checkpoints.step(path) for path in checkpoints.existing(folder)]


def _last_row(path: Path) -> dict[str, str] | None:
    """The last whole row of a table; a row that is being written is left out."""
    if not path.exists():
        return None
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    rows = list(csv.DictReader(whole))
    return rows[-1] if rows else None
