"""``run:`` models: what ``workbench pretrain`` trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models import timm_family
from workbench.models.backbone import weights_sha256
from workbench.models.info import Architecture
from workbench.models.names import ModelName
from workbench.models.run_names import WEIGHTS, origin, place_of, record_of
from workbench.results.files import written_whole


def build(name: ModelName) -> Architecture:
    """The architecture of a ``run:`` name; its weights are read on load."""
    record = record_of(place_of(str(name)))
    return timm_family.describe(
        _create(record, meta=True),
        ModelName(kind="run", arch=name.arch, pixels=int(record["pixels"])),
        weights=origin(record),
        load=lambda: (_loaded(record, place_of(str(name)) / WEIGHTS), None),  # it may move
    )


def write(tensors: dict[str, torch.Tensor], record: dict[str, Any], folder: Path) -> Path:
    """Write the weights of a finished run, whole or not at all.

    Parameters
    ----------
    tensors : dict of str to tensor
        State of the backbone, without heads.
    record : dict
        ``architecture`` (name in timm), ``pixels`` (native size), ``options`` (further arguments of
        the architecture), ``objective``, ``scales`` (list of str, in pixels), ``identity`` (hash of
        what decides the run's results).
    folder : Path
        The run's.
    """
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    text = {key: value if isinstance(value, str) else str(value) for key, value in record.items()}
    text["options"] = json.dumps(record["options"])
    text["scales"] = " ".join(record["scales"])
    text["weights_sha256"] = weights_sha256(tensors)
    with written_whole(folder / WEIGHTS) as partial:
        partial.write_bytes(save(tensors, metadata=text))  # save_file's file is private
    return folder / WEIGHTS


def _create(record: dict[str, str], *, meta: bool) -> Any:
    return timm_family.create(
        record["architecture"], pixels=int(record["pixels"]), pretrained=False, meta=meta,
        num_classes=0, **json.loads(record["options"]),
    )  # fmt: skip


def _loaded(record: dict[str, str], path: Path) -> torch.nn.Module:
    """The module with the file's weights.

    Raises
    ------
    InputError
        The tensors differ from the ones that were written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    module = _create(record, meta=False)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is damaged ({error}); train the run again") from error
    if weights_sha256(tensors) != record["weights_sha256"]:
        raise InputError(
            f"{path} is damaged: its tensors do not have the hash "
            f"{record['weights_sha256'][:12]}; train the run again"
        )
    module.load_state_dict(tensors)
    return module
