"""`file:` models: an architecture of timm or open_clip with weights from a local checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from feature_store.errors import InputError, some
from workbench.models import clip_checkpoints, timm_family
from workbench.models.checkpoint_tensors import (
    Candidate,
    candidates,
    first_fitting,
    misfit,
    read,
    reported,
)
from workbench.models.info import Architecture
from workbench.models.names import ModelName

PATCHES = "patch_embed.proj.weight"
"""timm's name of the kernels that turn patches into tokens."""
POSITIONS = ("pos_embed", "relative_position")
"""Words in timm's names of position embeddings."""
CLIP = {PATCHES: "visual.conv1.weight", "pos_embed": "visual.positional_embedding"}
"""timm's name → name in a CLIP image tower."""


def build(name: ModelName) -> Architecture:
    """The architecture of a ``file:`` name; the file must exist and is read on load."""
    path = Path(str(name.path)).expanduser()
    if clip_checkpoints.is_known(name):
        _check_file(name, path)
        return clip_checkpoints.build(name, path)
    timm_family.check_known(name)
    timm_family.check_activation(name)
    _check_file(name, path)
    module = timm_family.create(name.arch, pixels=name.pixels, pretrained=False, meta=True)
    return timm_family.describe(
        module, name, weights=f"file {path.name}", load=lambda: fit(name, path)
    )


def _check_file(name: ModelName, path: Path) -> None:
    if not path.exists():
        raise InputError(f"{name}: there is no file {path}")
    if not path.is_file():
        raise InputError(f"{name}: {path} is not a regular file")


def fit(name: ModelName, path: Path) -> tuple[Any, str | None]:
    """The architecture with the file's tensors, and a line on which of them were taken.

    Tensors may be nested or prefixed; a prefix is removed only if the rest fits completely.

    Raises
    ------
    InputError
        Nothing in the file fits: the error of the best group names the prefix, the missing and the
        unexpected tensors.
    """
    content = read(path)
    clip_checkpoints.refuse_quick_gelu(name, content.tensors)
    reference = timm_family.create(name.arch, pixels=None, pretrained=False, meta=True)
    wanted = [key for key in reference.state_dict() if key.rpartition(".")[0] not in _heads(name)]

    def fill(group: Candidate) -> Any:
        refuse_other_inputs(name, reference, group.tensors)
        return _filled(name, group)

    note = clip_checkpoints.activation_note(name)
    return first_fitting(candidates(content, wanted), fill, path, note)


def _heads(name: ModelName) -> tuple[str, ...]:
    """Names of the layers that classify."""
    import timm

    config = timm.get_pretrained_cfg(name.arch)
    found = config.classifier if config else None
    return (found,) if isinstance(found, str) else tuple(found or ())


def _filled(name: ModelName, group: Candidate) -> Any:
    """Build the architecture around the tensors, through timm's conversion of foreign layouts.

    The conversion resamples position embeddings of another grid, which is refused unless the name
    asks for a size. The classification head takes the checkpoint's size, or is left out where the
    checkpoint has none. Any other tensor missing or left over is refused: a missing final norm
    would go unnoticed. timm is left no other place to find weights in.
    """
    classes = clip_checkpoints.embedding_size(group.tensors) or next(
        (len(group.tensors[k]) for h in _heads(name) if (k := f"{h}.weight") in group.tensors), 0
    )
    source = {
        "state_dict": dict(group.tensors),
        "num_classes": classes,
        "custom_load": False,
        "hf_hub_id": None,
        "url": "",
        "file": None,
    }
    try:
        with _Copies() as copies:
            module = timm_family.create(
                name.arch,
                pixels=name.pixels,
                pretrained=True,
                meta=False,
                num_classes=classes,
                pretrained_cfg_overlay=source,
            )
    except (RuntimeError, KeyError) as error:
        raise misfit(name, group, reported(error)) from error
    unfilled = copies.unfilled(module)
    if unfilled:
        raise misfit(name, group, f"missing {some(unfilled)}")
    return module


class _Copies(TorchFunctionMode):
    """Remembers the tensors that something is copied into, as weights are while they are loaded.

    timm loads some architectures leniently, and leaves weights that a file lacks at random values.
    """

    def __init__(self) -> None:
        super().__init__()
        self._targets: dict[int, torch.Tensor] = {}

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is torch.Tensor.copy_:
            self._targets[id(args[0])] = args[0]  # kept, so that no other tensor gets its id
        return func(*args, **(kwargs or {}))

    def unfilled(self, module: Any) -> list[str]:
        """Names of floating-point tensors of the module that nothing was copied into."""
        tensors = module.state_dict(keep_vars=True)
        return [
            key
            for key, value in tensors.items()
            if value.is_floating_point() and id(value) not in self._targets
        ]


def refuse_other_inputs(name: ModelName, module: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse a file of other channels or patches, or of another size of images than the name says.

    timm would resample the kernels and position embeddings silently, which gives a model that
    nobody trained.

    Raises
    ------
    InputError
        Such a file; the message names its channels, patches or embeddings.
    """
    first = module.pretrained_cfg.get("first_conv") or ()
    convs = {f"{conv}.weight" for conv in ((first,) if isinstance(first, str) else first)}
    for key, built in module.state_dict().items():
        found = next((v for k, v in tensors.items() if _named(k, key)), None)
        if found is None or found.shape == built.shape:
            continue
        if key in convs and found.ndim == built.ndim == 4 and found.shape[1] != built.shape[1]:
            raise InputError(
                f"{name}: the file's {key} takes images of {found.shape[1]} channels; expected "
                f"{built.shape[1]} (RGB)"
            )
        if key == PATCHES and found.numel() != built.numel():
            raise InputError(
                f"{name}: the file has patches of {_size(found)}, {name.arch} of {_size(built)}; "
                "name the architecture the checkpoint was trained with"
            )
        same_channels = found.shape[-1:] == built.shape[-1:]
        resampled = any(word in key for word in POSITIONS) and not _same_grid(found, built)
        if name.pixels is None and same_channels and resampled:
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
    if found.numel() == built.numel():
        return True
    return min(found.ndim, built.ndim) > 1 and isqrt(found.shape[-2]) == isqrt(built.shape[-2])


def _size(kernel: torch.Tensor) -> str:
    return " x ".join(map(str, kernel.shape[-2:]))
