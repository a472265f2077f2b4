"""Real weights that travel as Python packages; :mod:`workbench.models.packages` lists them.

Most packages hold plain state dicts of another implementation of the same networks. Both
implementations define their layers in the order data flows through them, so the tensors map one
to one in order; every count and shape is checked before a weight is copied. A vision transformer
comes inside an ONNX file, which :mod:`workbench.models.onnx_weights` reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models import onnx_weights, timm_family
from workbench.models.info import Architecture
from workbench.models.names import ModelName, unknown
from workbench.models.packages import PACKAGES

CROPS = {224: 224 / 256, 240: 0.882, 260: 0.890}
"""EfficientNet-Lite: side in pixels → share of the resized short side that the centre crop keeps,
as timm records it for the member of that native size; other sides take the model's own."""


def build(name: ModelName) -> Architecture:
    """The architecture of a ``bundled:`` name, its weights yet to be loaded."""
    if name.arch not in PACKAGES:
        raise unknown("bundled model", name.arch, PACKAGES, prefix="bundled:")
    package = PACKAGES[name.arch]
    return timm_family.describe(
        _create(name, meta=True),
        name,
        weights=f"package {package.name}",
        load=lambda: (_loaded(name), None),
        record=record(name),
    )


def _create(name: ModelName, *, meta: bool) -> Any:
    package = PACKAGES[name.arch]
    sized = package.timm.startswith("vit_")
    pixels = (name.pixels or package.native) if sized else None
    extra = {} if name.arch.startswith("efficientnet") else {"num_classes": 0}
    return timm_family.create(package.timm, pixels=pixels, pretrained=False, meta=meta, **extra)


def _loaded(name: ModelName) -> torch.nn.Module:
    module, path = _create(name, meta=False), weights_path(name.arch)
    if path.suffix == ".onnx":
        onnx_weights.load(module, path, str(name))
    else:
        load_in_order(module, read_state(path), str(name))
    return module


def record(name: ModelName) -> dict[str, Any]:
    """How the weights see an image: bicubic resize, centre crop, normalisation."""
    package = PACKAGES[name.arch]
    side = name.pixels or package.native
    crop = package.crop
    if name.arch.startswith("efficientnet"):
        crop = CROPS.get(side, crop)
    mean, std = package.mean, package.std
    return {"input_size": (3, side, side), "crop_pct": crop, "mean": mean, "std": std}


def weights_path(arch: str) -> Path:
    """Path of the weight file of an installed package.

    Raises
    ------
    InputError
        The package is not installed, or its file is another one.
    """
    package = PACKAGES[arch]
    path = package.path()
    if path is None:
        raise InputError(
            f"bundled:{arch} needs the package {package.name}; run '{package.install}' in the clone"
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != package.sha256:
        raise InputError(
            f"bundled:{arch}: {path} has sha256 {found}, expected {package.sha256}; run "
            f"'{package.reinstall}' in the clone"
        )
    return path


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a weight file in stored order; nothing in the file is executed."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles make the unpickler raise nearly anything
        raise InputError(f"{path} cannot be read as a weight file: {error}") from error


def load_in_order(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], name: str
) -> dict[str, str]:
    """Copy the i-th stored tensor into the module's i-th tensor; returns stored name → own name.

    Raises
    ------
    InputError
        The counts differ, or one pair differs in shape or kind (weight, bias, running_mean, ...);
        nothing is copied then.
    """
    own = module.state_dict()
    if len(own) != len(state):
        raise InputError(
            f"{name}: the file holds {len(state)} tensors, the architecture {len(own)}; "
            "this is not its weight file"
        )
    for (theirs, a), (ours, b) in zip(state.items(), own.items(), strict=True):
        if a.shape != b.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise InputError(
                f"{name}: stored {theirs} {tuple(a.shape)} does not fit {ours} {tuple(b.shape)}; "
                "this is not its weight file"
            )
    mapping = dict(zip(state, own, strict=True))
    module.load_state_dict({mapping[key]: tensor for key, tensor in state.items()}, strict=True)
    return mapping
