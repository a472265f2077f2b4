"""Local CLIP checkpoints: image towers of open_clip, and the activation they were trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models import open_clip_family
from workbench.models.checkpoint_tensors import (
    PARTS,
    Candidate,
    candidates,
    first_fitting,
    misfit,
    read,
    reported,
)
from workbench.models.info import Architecture
from workbench.models.names import ModelName

OPENAI = ("input_resolution", "context_length", "vocab_size")
"""Numbers that only OpenAI's own CLIP files contain; those weights were trained with QuickGELU."""
POSITIONS = "positional_embedding"


def is_known(name: ModelName) -> bool:
    """Whether a ``file:`` name has an architecture of open_clip, perhaps with a tag after ``/``."""
    import open_clip

    return name.arch.partition("/")[0] in open_clip.list_models()


def build(name: ModelName, path: Path) -> Architecture:
    """The image tower of ``file:ARCH[/TAG]:PATH``; a tag says how images were prepared."""
    import open_clip

    arch, _, tag = name.arch.partition("/")
    tower_name = replace(name, arch=arch, tag=tag or None)
    config = open_clip.get_model_config(arch)
    record = open_clip_family.pretrained_record(tower_name, config) if tag else {}
    tower = open_clip_family.tower(config, name.pixels, meta=True).eval()
    found = open_clip_family.describe(tower, tower_name, record, lambda: _fit(name, config, path))
    return replace(found, weights_from=f"file {path.name}")


def _fit(name: ModelName, config: dict, path: Path) -> tuple[Any, str | None]:
    """The image tower with the file's tensors, and a line on which of them were taken."""
    content = read(path)
    refuse_quick_gelu(name, content.tensors)
    tower = open_clip_family.tower(config, name.pixels, meta=False).eval()
    groups = candidates(content, tower.state_dict(), (*PARTS, "visual"))

    def fill(group: Candidate) -> Any:
        try:
            tower.load_state_dict(_resampled(name, tower, group))
        except RuntimeError as error:
            raise misfit(name, group, reported(error)) from error
        return tower

    return first_fitting(groups, fill, path, activation_note(name))


def _resampled(name: ModelName, tower: Any, group: Candidate) -> dict[str, torch.Tensor]:
    """The tensors with position embeddings of the size asked for, refused if none is."""
    from open_clip.model import resize_pos_embed

    built, found = getattr(tower, POSITIONS, None), group.tensors.get(POSITIONS)
    if built is None or found is None or built.shape == found.shape:
        return group.tensors
    if name.pixels is None:
        raise InputError(
            f"{name}: the file has {POSITIONS} of {tuple(found.shape)}, {name.arch} of "
            f"{tuple(built.shape)}: it was trained on images of another size. Name the size to run "
            f"at: file:{name.arch}:PIXELS:{name.path}"
        )
    tensors = {f"visual.{key}": value for key, value in group.tensors.items()}
    resize_pos_embed(tensors, SimpleNamespace(visual=tower))
    return {key.removeprefix("visual."): value for key, value in tensors.items()}


def embedding_size(tensors: Mapping[str, torch.Tensor]) -> int:
    """Channels that a CLIP checkpoint projects images to; 0 if it is none."""
    if "visual.proj" in tensors:
        return tensors["visual.proj"].shape[1]
    head = tensors.get("visual.head.proj.weight")
    return 0 if head is None else len(head)


def quick_gelu_twin(name: ModelName) -> str | None:
    """The architecture that differs in computing QuickGELU, if this CLIP architecture has one."""
    import open_clip
    import timm

    arch, separator, tag = name.arch.partition("/" if is_known(name) else ".")
    if is_known(name):
        twin, known = f"{arch}-quickgelu", open_clip.list_models()
    else:
        twin, known = arch.replace("_clip_", "_clip_quickgelu_"), timm.list_models()
    return f"{twin}{separator}{tag}" if twin != arch and twin in known else None


def refuse_quick_gelu(name: ModelName, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse OpenAI's weights in an architecture that computes GELU."""
    twin = quick_gelu_twin(name)
    last = {key.rpartition(".")[2] for key in tensors}
    if twin and last.issuperset(OPENAI):
        raise InputError(
            f"{name}: the file is OpenAI's, trained with QuickGELU, and {name.arch} computes GELU, "
            f"which changes every feature; use {str(name).replace(name.arch, twin, 1)}"
        )


def activation_note(name: ModelName) -> str | None:
    """A line for CLIP weights of unknown activation; None where the name or a tag settles it."""
    twin = quick_gelu_twin(name)
    if twin is None or "." in name.arch or "/" in name.arch:
        return None
    return (
        f"computed with GELU; weights trained with QuickGELU (OpenAI, DFN, MetaCLIP) need {twin}, "
        "and the file does not tell"
    )
