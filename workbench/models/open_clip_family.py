"""open_clip image towers: building, resolving and reading them before and after projection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from feature_store.errors import InputError
from workbench.models import readout, timm_family
from workbench.models.info import Built, Tokens, Transform
from workbench.models.names import ModelName, unknown


def build(name: ModelName, *, meta: bool) -> Built:
    """An ``open_clip:`` or ``random:open_clip:`` image tower; ``meta`` leaves the weights out.

    Raises
    ------
    InputError
        Unknown architecture or tag, an activation that differs from the one the weights were
        trained with, or weights that cannot be fetched.
    """
    import open_clip

    if name.arch not in open_clip.list_models():
        prefix = "random:open_clip:" if name.random else "open_clip:"
        raise unknown("open_clip architecture", name.arch, open_clip.list_models(), prefix=prefix)
    config = open_clip.get_model_config(name.arch)
    record: dict[str, Any] = {}
    if not name.random:
        record = pretrained_record(name, config)
    visual = _tower(config, name.pixels, meta=meta) if meta or name.random else _load(name)
    native = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
    return _describe(visual.eval(), name, native, record)


def pretrained_record(name: ModelName, config: dict) -> dict[str, Any]:
    """open_clip's record of a tag, refused when its activation is not the architecture's."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name.arch)
    if name.tag not in tags:
        raise unknown("pretrained tag", str(name.tag), tags, prefix=f"open_clip:{name.arch}/")
    record = open_clip.get_pretrained_cfg(name.arch, name.tag)
    trained, built = bool(record.get("quick_gelu")), bool(config.get("quick_gelu"))
    if trained != built:
        other = name.arch + "-quickgelu" if trained else name.arch.removesuffix("-quickgelu")
        raise InputError(
            f"{name}: the weights were trained with {_gelu(trained)} and {name.arch} computes "
            f"{_gelu(built)}, which changes every feature; use open_clip:{other}/{name.tag}"
        )
    return record


def _gelu(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"


def _tower(config: dict, pixels: int | None, *, meta: bool) -> Any:
    """The image tower alone, with seeded random weights or on the meta device."""
    from open_clip.model import _build_vision_tower

    vision = dict(config["vision_cfg"], timm_model_pretrained=False)
    if pixels is not None:
        vision["image_size"] = pixels
    with timm_family.seeded(meta=meta):
        return _build_vision_tower(config["embed_dim"], vision, bool(config.get("quick_gelu")))


def _load(name: ModelName) -> Any:
    import open_clip

    try:
        return open_clip.create_model(
            name.arch, pretrained=name.tag, force_image_size=name.pixels, require_pretrained=True
        ).visual
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the weights of {name} could not be fetched ({reason}); fetch them once on a machine "
            "with a network and copy its hub cache over"
        ) from error


def _describe(visual: Any, name: ModelName, native: int, record: dict[str, Any]) -> Built:
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, VisionTransformer):
        taps, missing, reader = *_vit_taps(visual), lambda tap: _vit_reader(visual, tap)
    elif hasattr(visual, "trunk"):
        taps, missing = timm_family.find_taps(visual.trunk, native)
        taps = (*taps, "proj")
        reader = lambda tap: _trunk_reader(visual, str(name), tap)  # noqa: E731
    else:
        taps, missing = ("blocks", "proj"), {"final": "nothing follows its last block"}
        reader = lambda tap: _resnet_reader(visual, tap)  # noqa: E731
    modes = {"shortest": "centre", "squash": "squash"}
    mode = record.get("resize_mode") or "shortest"
    if mode not in modes:
        raise InputError(f"{name} asks for resize mode {mode!r}; supported: {', '.join(modes)}")
    origin = record.get("hf_hub") or record.get("url")
    return Built(
        module=visual,
        taps=taps,
        reader=reader,
        native=native,
        transform=Transform(
            height=native,
            width=native,
            mode=modes[mode],
            interpolation=record.get("interpolation") or "bicubic",
        ),
        mean=tuple(record.get("mean") or OPENAI_DATASET_MEAN),
        std=tuple(record.get("std") or OPENAI_DATASET_STD),
        convnet=not isinstance(visual, VisionTransformer) and "block:0" not in taps,
        weights_from=f"random weights, seed {timm_family.SEED}" if name.random else str(origin),
        missing=missing,
    )


def _vit_taps(visual: Any) -> tuple[tuple[str, ...], dict[str, str]]:
    blocks = [f"block:{n}" for n in reversed(range(len(visual.transformer.resblocks)))]
    if visual.attn_pool is not None or visual.final_ln_after_pool:
        reason = "it normalises after pooling, so its tokens have no final norm"
        return (*blocks, "pre_logits", "proj"), {"final": reason}
    return ("final", "proj", *blocks, "pre_logits"), {}


def _vit_reader(visual: Any, tap: str) -> Callable[[torch.Tensor], Tokens]:
    """Read open_clip's own ViT: ``final`` after ``ln_post``, ``proj`` after the projection."""
    kind, _, number = tap.partition(":")
    last = len(visual.transformer.resblocks) - 1
    pools = visual.attn_pool is not None or visual.final_ln_after_pool

    def read(x: torch.Tensor) -> Tokens:
        if kind == "pre_logits" or (kind == "proj" and pools):
            return readout.from_vector(_pooled(visual, x, project=kind == "proj"))
        tokens = _block(visual, x, last if kind in ("final", "proj") else int(number))
        if kind in ("final", "proj"):
            tokens = visual.ln_post(tokens)
        if kind == "proj":
            tokens = tokens @ visual.proj
        rows, cols = x.shape[2] // visual.patch_size[0], x.shape[3] // visual.patch_size[1]
        return readout.from_sequence(tokens, 1, (rows, cols))

    return lambda x: _with_resized_positions(visual, x, read)


def _block(visual: Any, x: torch.Tensor, index: int) -> torch.Tensor:
    out = visual.forward_intermediates(
        x,
        indices=[index],
        stop_early=True,
        intermediates_only=True,
        output_fmt="NLC",
        output_extra_tokens=True,
    )
    [tokens], [prefix] = out["image_intermediates"], out["image_intermediates_prefix"]
    return torch.cat([prefix, tokens], dim=1)


def _pooled(visual: Any, x: torch.Tensor, *, project: bool) -> torch.Tensor:
    """The pooled image vector, before or after the projection."""
    projection, visual.proj = visual.proj, visual.proj if project else None
    try:
        pooled = visual(x)
    finally:
        visual.proj = projection
    return pooled[0] if isinstance(pooled, tuple) else pooled


def _with_resized_positions(
    visual: Any, x: torch.Tensor, read: Callable[[torch.Tensor], Tokens]
) -> Tokens:
    """Run ``read`` with the position embedding resampled to the grid of ``x`` where they differ.

    The class token's embedding is kept; the grid's is resampled bicubically with antialias, in
    float32, as open_clip does when it loads weights at another image size.
    """
    grid = (x.shape[2] // visual.patch_size[0], x.shape[3] // visual.patch_size[1])
    if grid == tuple(visual.grid_size):
        return read(x)
    stored = visual.positional_embedding
    cells = stored[1:].float().reshape(1, *visual.grid_size, -1).permute(0, 3, 1, 2)
    cells = F.interpolate(cells, size=grid, mode="bicubic", antialias=True, align_corners=False)
    resized = torch.cat([stored[:1].float(), cells.flatten(2)[0].T]).to(stored.dtype)
    visual.positional_embedding = torch.nn.Parameter(resized, requires_grad=False)
    try:
        return read(x)
    finally:
        visual.positional_embedding = stored


def _trunk_reader(visual: Any, name: str, tap: str) -> Callable[[torch.Tensor], Tokens]:
    if tap == "proj":
        return lambda x: readout.from_vector(readout.require_tensor(visual(x), name, tap))
    return timm_family.reader(visual.trunk, name, tap)


def _resnet_reader(visual: Any, tap: str) -> Callable[[torch.Tensor], Tokens]:
    if tap == "proj":
        return lambda x: readout.from_vector(visual(x))

    def read(x: torch.Tensor) -> Tokens:
        for part in (visual.stem, visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            x = part(x)
        return readout.from_map(x, channels_last=False)

    return read
