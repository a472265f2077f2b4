"""`file:` models: a timm architecture with weights from a local checkpoint file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models import timm_family
from workbench.models.info import Architecture
from workbench.models.names import ModelName

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher")
"""Keys under which training codes nest the tensors, in order of preference."""
PATCHES = "patch_embed.proj.weight"
"""timm's name of the kernels that turn patches into tokens."""
POSITIONS = ("pos_embed", "relative_position")
"""Words in timm's names of position embeddings."""
CLIP = {PATCHES: "visual.conv1.weight", "pos_embed": "visual.positional_embedding"}
"""timm's name → name in a CLIP image tower."""


def build(name: ModelName) -> Architecture:
    """The architecture of a ``file:`` name; the file must exist and is read on load."""
    timm_family.check_known(name)
    timm_family.check_activation(name)
    path = Path(str(name.path)).expanduser()
    if not path.is_file():
        raise InputError(f"{name}: there is no file {path}")
    module = timm_family.create(name.arch, pixels=name.pixels, pretrained=False, meta=True)
    return timm_family.describe(
        module,
        name,
        weights=f"file {path.name}",
        load=lambda: (fit(name, read_tensors(path)), None),
    )


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Named tensors of a checkpoint: safetensors, or a pickle read as data only.

    Raises
    ------
    InputError
        Not a checkpoint; or a pickle that would run code, which is never executed.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is refused: it is damaged, or holds objects other than tensors, which can run "
            "code when loaded; save the state dict as safetensors and name that file"
        ) from error
    except Exception as error:  # damaged pickles make the unpickler raise nearly anything
        raise InputError(f"{path} cannot be read as a checkpoint: {error}") from error
    return unwrap(content, path)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read as safetensors: {error}") from error


def unwrap(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The flat name → tensor mapping inside a checkpoint, without ``module.`` prefixes."""
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} holds a {type(content).__name__}; expected named tensors")
    strays = [
        key
        for key, value in content.items()
        if not (isinstance(key, str) and isinstance(value, torch.Tensor))
    ]
    if strays:
        raise InputError(
            f"{path} contains entries that are not named tensors "
            f"({', '.join(map(str, strays[:4]))}); save the model's state dict alone"
        )
    return {key.removeprefix("module."): value for key, value in content.items()}


def fit(name: ModelName, tensors: dict[str, torch.Tensor]) -> Any:
    """Build the architecture around the tensors, through timm's conversion of foreign layouts.

    The conversion resamples position embeddings of another grid, which is refused unless the name
    asks for a size. The classification head takes the checkpoint's size, or is left out where the
    checkpoint has none. Any other tensor missing or left over is refused: a missing final norm
    would go unnoticed.
    """
    import timm

    refuse_resampling(name, tensors)
    config = timm.get_pretrained_cfg(name.arch)
    found = config.classifier if config else None
    heads = (found,) if isinstance(found, str) else tuple(found or ())
    classes = next((len(tensors[f"{h}.weight"]) for h in heads if f"{h}.weight" in tensors), 0)
    source = {"state_dict": tensors, "num_classes": classes, "custom_load": False}
    try:
        return timm_family.create(
            name.arch,
            pixels=name.pixels,
            pretrained=True,
            meta=False,
            num_classes=classes,
            pretrained_cfg_overlay=source,
        )
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name}: the file does not fit {name.arch}: {reason[:600]}; name the architecture the "
            "checkpoint was trained with"
        ) from error


def refuse_resampling(name: ModelName, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse a file of another patch size, or of another size of images than the name says.

    timm would resample the kernels and position embeddings silently, which gives a model that
    nobody trained.

    Raises
    ------
    InputError
        Such a file; the message names its embeddings or patches.
    """
    module = timm_family.create(name.arch, pixels=None, pretrained=False, meta=True)
    for key, built in module.state_dict().items():
        if key != PATCHES and not any(word in key for word in POSITIONS):
            continue
        found = next((v for k, v in tensors.items() if _named(k, key)), None)
        if found is None or found.numel() == built.numel():
            continue
        if key == PATCHES:
            raise InputError(
                f"{name}: the file has patches of {_size(found)}, {name.arch} of {_size(built)}; "
                "name the architecture the checkpoint was trained with"
            )
        if name.pixels is None and not _same_grid(found, built):
            raise InputError(
                f"{name}: the file has {key} of {tuple(found.shape)}, {name.arch} of "
                f"{tuple(built.shape)}: it was trained on images of another size, and its position "
                f"embeddings would be resampled. Name the architecture of the file's own size, or "
                f"the size to run at: {name.kind}:{name.arch}:PIXELS:{name.path}"
            )


def _named(key: str, wanted: str) -> bool:
    """Whether a checkpoint's key is that tensor of the module, within a prefix of its own."""
    return any(
        key == alias or key.endswith(f".{alias}") for alias in (wanted, CLIP.get(wanted, wanted))
    )


def _same_grid(found: torch.Tensor, built: torch.Tensor) -> bool:
    """Whether (..., token, channel) embeddings differ by class or register tokens only."""
    return min(found.ndim, built.ndim) > 1 and isqrt(found.shape[-2]) == isqrt(built.shape[-2])


def _size(kernel: torch.Tensor) -> str:
    return " x ".join(map(str, kernel.shape[-2:]))
