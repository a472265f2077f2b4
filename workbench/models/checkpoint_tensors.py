"""Named tensors of a checkpoint file, and the models among them."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError, some
from workbench.models.names import ModelName

AVERAGES = ("model_ema", "state_dict_ema", "ema_model", "ema", "teacher")
"""Names under which training codes save an average of the weights over training."""
PARTS = (
    *AVERAGES, "state_dict", "model_state_dict", "model", "params", "net", "student",
    "module", "_orig_mod", "backbone", "encoder",
)  # fmt: skip
"""Names under which training codes nest a model, as a mapping or as a prefix of its tensors."""


@dataclass(frozen=True)
class Content:
    """A checkpoint file, its nested mappings written as prefixes: ``model.norm.weight``."""

    path: Path
    tensors: dict[str, torch.Tensor]
    """Every named tensor, and those of mappings under a name of ``PARTS``."""
    strays: tuple[str, ...]
    """Names of all other entries, such as an epoch or an optimizer."""


@dataclass(frozen=True)
class Candidate:
    """The tensors of a file under one prefix, which may be the model asked for."""

    prefix: str
    """Prefix removed from the names of the tensors: ``model.module.``."""
    tensors: dict[str, torch.Tensor]
    """Tensors by the rest of their names."""
    others: int
    """Tensors of the file outside the prefix."""

    @property
    def average(self) -> bool:
        """True: saved as an average of the weights over training."""
        return any(part in AVERAGES for part in self.prefix.split("."))


def read(path: Path) -> Content:
    """Tensors of a checkpoint: safetensors, or a pickle read as data only.

    Raises
    ------
    InputError
        Not a checkpoint, no tensors; or a pickle that would run code, which is never executed.
    """
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds a {type(content).__name__}; expected named tensors")
    tensors: dict[str, torch.Tensor] = {}
    strays: list[str] = []
    _flatten(content, "", tensors, strays)
    if not tensors and strays:
        raise _not_tensors(path, strays)
    if not tensors:
        raise InputError(f"{path} contains no tensors; expected the state dict of a model")
    return Content(path, tensors, tuple(strays))


def _not_tensors(path: Path, strays: Sequence[str]) -> InputError:
    return InputError(
        f"{path} contains entries that are not named tensors ({', '.join(strays[:4])}); save the "
        "model's state dict alone"
    )


def _read_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # options, as timm saves them
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is refused: it is damaged, or holds objects other than tensors, which can run "
            "code when loaded; save the state dict as safetensors and name that file"
        ) from error
    except Exception as error:  # damaged pickles make the unpickler raise nearly anything
        raise InputError(f"{path} cannot be read as a checkpoint: {error}") from error


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read as safetensors: {error}") from error


def _flatten(
    content: Mapping, prefix: str, tensors: dict[str, torch.Tensor], strays: list[str]
) -> None:
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(key, str) and isinstance(value, torch.Tensor):
            tensors[name] = value
        elif key in PARTS and isinstance(value, Mapping):
            _flatten(value, f"{name}.", tensors, strays)
        else:
            strays.append(name)


def candidates(
    content: Content, wanted: Iterable[str], parts: tuple[str, ...] = PARTS
) -> list[Candidate]:
    """Groups of tensors that share the most names with a model, the first to be tried first.

    Averages over training come before the weights they average; then longer prefixes before
    shorter ones. Names that do not match are left to the conversion of foreign layouts.

    Parameters
    ----------
    wanted : iterable of str
        Names of the model's tensors.
    parts : tuple of str
        Names that a prefix consists of, in any order and number.

    Raises
    ------
    InputError
        Every group contains entries other than tensors.
    """
    found = [
        Candidate(prefix, tensors, len(content.tensors) - len(tensors))
        for prefix in _prefixes(content.tensors, "", parts)
        if (tensors := _under(prefix, content.tensors))
        and not any(stray.startswith(prefix) for stray in content.strays)
    ]
    if not found:
        raise _not_tensors(content.path, content.strays)
    names = set(wanted)
    shared = [len(names & candidate.tensors.keys()) for candidate in found]
    best = [c for c, count in zip(found, shared, strict=True) if count == max(shared)]
    return sorted(best, key=lambda c: (not c.average, -len(c.prefix), c.prefix))


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _prefixes(names: Iterable[str], prefix: str, parts: tuple[str, ...]) -> list[str]:
    """``prefix`` and all that extend it by the parts that some names have next."""
    inside = [name for name in names if name.startswith(prefix)]
    found = [prefix]
    for part in parts:
        longer = f"{prefix}{part}."
        if any(name.startswith(longer) for name in inside):
            found += _prefixes(inside, longer, parts)
    return found


def first_fitting(
    groups: list[Candidate], fill: Callable[[Candidate], Any], path: Path, note: str | None
) -> tuple[Any, str | None]:
    """The module that `fill` makes of the first group that fits, and a line on what was taken.

    Raises
    ------
    InputError
        None fits: what `fill` says of the best group.
    """
    failures: list[InputError] = []
    for group in groups:
        try:
            module = fill(group)
        except InputError as error:
            failures.append(error)
        else:
            notes = filter(None, [choose(group, groups, path), note])
            return module, "; ".join(notes) or None
    raise failures[0]


def choose(fitting: Candidate, all_candidates: list[Candidate], path: Path) -> str | None:
    """The line that records which tensors of a file are used; None if they are the whole file.

    Raises
    ------
    InputError
        Another group has the same names, and neither or both are averages over training.
    """
    twins = [
        other
        for other in all_candidates
        if other.prefix != fitting.prefix and other.tensors.keys() == fitting.tensors.keys()
    ]
    for twin in twins:
        if twin.average == fitting.average:
            raise InputError(
                f"{path} contains two models that fit, {fitting.prefix}* and {twin.prefix}*; "
                "save one of them alone and name that file"
            )
    if not fitting.prefix:
        return None
    notes = [f"tensors {fitting.prefix}* of the file, without this prefix"]
    if twins:
        others = ", ".join(f"{twin.prefix}*" for twin in twins)
        notes.append(f"the average over training is preferred to {others}")
    elif fitting.others:
        notes.append(f"{fitting.others} other tensors are left out")
    return "; ".join(notes)


def misfit(name: ModelName, group: Candidate, reason: str) -> InputError:
    """The error for tensors that are not the model's."""
    prefix = f" without the prefix {group.prefix}" if group.prefix else ""
    remedy = "name the architecture the checkpoint was trained with"
    if any(key.startswith("visual.") for key in group.tensors):
        remedy += ", of a CLIP model as open_clip names it (file:ViT-B-32:PATH)"
    return InputError(f"{name}: the file does not fit {name.arch}{prefix}: {reason}; {remedy}")


def reported(error: Exception) -> str:
    """torch's report on a state dict, with a few of the names in each of its lists."""
    parts = []
    for line in str(error).splitlines():
        if "Missing key(s)" in line or "Unexpected key(s)" in line:
            keys = re.findall(r'"([^"]+)"', line)
            parts.append(f"{line.split()[0].lower()} {some(keys)}")
        elif not line.startswith("Error(s) in loading"):
            parts.append(" ".join(line.split())[:200])
    return "; ".join(parts[:4])
