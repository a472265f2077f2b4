"""open_clip image towers: building, resolving and reading them before and after projection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional as F

from feature_store.errors import InputError
from workbench.models import hub, readout, timm_family, timm_taps
from workbench.models.info import Architecture, Tokens
from workbench.models.names import ModelName, unknown
from workbench.models.transform import Transform

Reader = Callable[[torch.Tensor], Tokens]

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's pixel normalisation, for tags that state no other (open_clip.constants)."""


def build(name: ModelName) -> Architecture:
    """The image tower of an ``open_clip:`` name, its weights yet to be loaded.

    Raises
    ------
    InputError
        Unknown architecture or tag, or an activation that differs from the one the weights were
        trained with.
    """
    import open_clip

    if name.arch not in open_clip.list_models():
        prefix = "random:open_clip:" if name.random else "open_clip:"
        raise unknown("open_clip architecture", name.arch, open_clip.list_models(), prefix=prefix)
    config = open_clip.get_model_config(name.arch)
    record = {} if name.random else pretrained_record(name, config)

    def load() -> tuple[Any, str | None]:
        if name.random:
            return tower(config, name.pixels, meta=False).eval(), None
        repository = str(record.get("hf_hub", "")).rstrip("/")
        hub.require_reachable(str(name), repository, record.get("url"))
        return _fetch(name), hub.revision(repository)

    return describe(tower(config, name.pixels, meta=True).eval(), name, record, load)


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
        remedy = str(name).replace(name.arch, other, 1)
        raise InputError(
            f"{name}: the weights were trained with {_gelu(trained)} and {name.arch} computes "
            f"{_gelu(built)}, which changes every feature; use {remedy}"
        )
    return record


def _gelu(quick: bool) -> str:
    return "QuickGELU" if quick else "GELU"


def tower(config: dict, pixels: int | None, *, meta: bool) -> Any:
    """The image tower alone, with seeded random weights or on the meta device."""
    from open_clip.model import _build_vision_tower

    vision = dict(config["vision_cfg"], timm_model_pretrained=False)
    if pixels is not None:
        vision["image_size"] = pixels
    with timm_family.seeded(meta=meta):
        built = _build_vision_tower(config["embed_dim"], vision, bool(config.get("quick_gelu")))
        if pixels is not None and hasattr(built, "set_input_size"):  # a timm trunk
            built.set_input_size(pixels)
        return built


def _fetch(name: ModelName) -> Any:
    import open_clip

    try:
        return open_clip.create_model(
            name.arch, pretrained=name.tag, force_image_size=name.pixels, require_pretrained=True
        ).visual.eval()
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the weights of {name} could not be fetched ({reason}); fetch them once on a machine "
            "with a network and copy its hub cache over"
        ) from error


def describe(
    visual: Any,
    name: ModelName,
    record: dict[str, Any],
    load: Callable[[], tuple[Any, str | None]],
) -> Architecture:
    native = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
    taps, missing, reader, convnet = _read_with(visual, native, str(name))
    origin = f"hf-hub:{record['hf_hub'].rstrip('/')}" if record.get("hf_hub") else record.get("url")
    return Architecture(
        module=visual,
        load=load,
        reader=reader,
        taps=taps,
        missing=missing,
        native=native,
        transform=Transform.recorded(record, native, str(name)),
        mean=tuple(record.get("mean") or OPENAI_MEAN),
        std=tuple(record.get("std") or OPENAI_STD),
        convnet=convnet,
        weights_from=f"random weights, seed {timm_family.SEED}" if name.random else str(origin),
    )


def _read_with(
    visual: Any, native: int, name: str
) -> tuple[tuple[str, ...], dict[str, str], Callable[[Any, str], Reader], bool]:
    """Taps, missing taps, reader and whether it works on maps, by the kind of tower."""
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, VisionTransformer):
        return *_vit_taps(visual), _vit_reader, False
    if hasattr(visual, "trunk"):
        shape = timm_taps.probe(visual.trunk, native, name)
        taps, missing = timm_taps.find_taps(visual.trunk, shape, name)
        return (*taps, "proj"), missing, partial(_trunk_reader, name), shape.axes == 4
    return ("blocks", "proj"), {"final": "nothing follows its last block"}, _resnet_reader, True


def _vit_taps(visual: Any) -> tuple[tuple[str, ...], dict[str, str]]:
    blocks = [f"block:{n}" for n in reversed(range(len(visual.transformer.resblocks)))]
    if visual.attn_pool is not None or visual.final_ln_after_pool:
        reason = "it normalises after pooling, so its tokens have no final norm"
        return (*blocks, "pre_logits", "proj"), {"final": reason}
    return ("final", "proj", *blocks, "pre_logits"), {}


def _vit_reader(visual: Any, tap: str) -> Reader:
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


def _trunk_reader(name: str, visual: Any, tap: str) -> Reader:
    if tap == "proj":
        return lambda x: readout.from_vector(readout.require_tensor(visual(x), name, tap))
    return timm_taps.reader(visual.trunk, name, tap)


def _resnet_reader(visual: Any, tap: str) -> Reader:
    if tap == "proj":
        return lambda x: readout.from_vector(visual(x))

    def read(x: torch.Tensor) -> Tokens:
        for part in (visual.stem, visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            x = part(x)
        return readout.from_map(x, channels_last=False)

    return read
