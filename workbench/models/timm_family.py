"""timm models: building any of them, with weights or on shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models import hub, timm_taps
from workbench.models.info import Architecture
from workbench.models.names import ModelName, unknown
from workbench.models.transform import Transform

SEED = 0
"""Seed of ``random:`` weights, so that the same name is the same model everywhere."""
DISPUTED = {"vit_base_patch16_clip_224.dfn2b": "open_clip:ViT-B-16-quickgelu/dfn2b"}
"""Weights that timm records without the QuickGELU that open_clip's record of them names."""


def build(name: ModelName) -> Architecture:
    """The architecture of a ``timm:`` or ``random:timm:`` name, its weights yet to be loaded."""
    import timm

    check_known(name)
    if not name.random:
        check_weights(name)

    def load() -> tuple[Any, str | None]:
        if not name.random:
            config = timm.get_pretrained_cfg(name.arch)
            if config is not None:
                hub.require_reachable(str(name), config.hf_hub_id, str(config.url or ""))
        module = create(name.arch, pixels=name.pixels, pretrained=not name.random, meta=False)
        return module, None if name.random else hub.revision(module.pretrained_cfg.get("hf_hub_id"))

    module = create(name.arch, pixels=name.pixels, pretrained=False, meta=True)
    origin = f"random weights, seed {SEED}" if name.random else weights_from(module)
    return describe(module, name, weights=origin, load=load)


def check_known(name: ModelName) -> None:
    """Refuse an architecture that timm lacks; the error offers the nearest names."""
    import timm

    if not timm.is_model(name.arch.partition(".")[0]) or (
        "." in name.arch and name.arch not in timm.list_models(include_tags=True)
    ):
        known = timm.list_models(include_tags=True) + timm.list_models()
        prefix = f"random:{name.kind}:" if name.random else f"{name.kind}:"
        raise unknown("timm model", name.arch, known, prefix=prefix)


def check_weights(name: ModelName) -> None:
    """Refuse a name without weights, and CLIP weights trained with another activation."""
    import timm

    config = timm.get_pretrained_cfg(name.arch)
    if config is None or not config.has_weights:
        raise InputError(
            f"timm has no pretrained weights for {name.arch!r}; "
            f"write random:timm:{name.arch} for an untrained model"
        )
    check_activation(name)


def check_activation(name: ModelName) -> None:
    """Refuse the tag of CLIP weights under an architecture that computes another activation.

    timm offers weights trained with QuickGELU under two architectures, one of which computes GELU;
    the ``quickgelu`` one is how they were trained.
    """
    import timm

    _, _, tag = name.arch.partition(".")
    if not tag:
        config = timm.get_pretrained_cfg(name.arch)
        tag = (config.tag or "") if config and not name.path else ""
    twin = f"{name.arch.partition('.')[0].replace('_clip_', '_clip_quickgelu_')}.{tag}"
    tagged = f"{name.arch.partition('.')[0]}.{tag}"
    if tagged in DISPUTED:
        raise InputError(
            f"{name}: open_clip's record of these weights says QuickGELU, and this architecture "
            f"computes GELU, which changes every feature; use {DISPUTED[tagged]}"
        )
    if "_clip_" in name.arch and "quickgelu" not in name.arch and twin in timm.list_pretrained():
        raise InputError(
            f"{name}: the weights were trained with QuickGELU and this architecture computes GELU, "
            f"which changes every feature; use {str(name).replace(name.arch, twin, 1)}"
        )


def create(
    arch: str, *, pixels: int | None, pretrained: bool, meta: bool, seed: int = SEED, **extra: Any
) -> Any:
    """Instantiate a timm model, with flexible input sizes where the architecture has them.

    ``seed`` decides random weights; ``extra`` goes to ``timm.create_model`` as it is.
    """
    import timm

    sized: dict[str, Any] = {} if pixels is None else {"img_size": pixels}
    attempts: list[dict[str, Any]] = [{"dynamic_img_size": True, **sized}, sized]
    if sized:
        attempts.append({})  # convolutional networks take no img_size and need none
    for keywords in attempts:
        try:
            with seeded(meta=meta, seed=seed):
                module: Any = timm.create_model(arch, pretrained=pretrained, **keywords, **extra)
            if pixels in (None, module.pretrained_cfg["input_size"][-1]):
                _fix_uneven_size(module)
            return module.eval()
        except TypeError as error:
            if "unexpected keyword" not in str(error):
                raise
        except OSError as error:  # hub and network errors derive from it
            raise InputError(
                f"the weights of timm:{arch} could not be fetched ({_first_line(error)}); "
                f"without a network, copy the checkpoint to this machine and name file:{arch}:PATH"
            ) from error
    raise InputError(f"timm could not build {arch!r}")


def _fix_uneven_size(module: Any) -> None:
    """Run a model whose patches do not divide its images at that size alone, as it was trained.

    SigLIP's patches of 14 pixels leave 6 of 384 uncovered; with flexible sizes timm refuses that.
    """
    embed: Any = getattr(module, "patch_embed", None)
    sides, patch = getattr(embed, "img_size", None), getattr(embed, "patch_size", None)
    if sides and patch and any(side % p for side, p in zip(sides, patch, strict=True)):
        embed.strict_img_size = True


@contextmanager
def seeded(*, meta: bool, seed: int = SEED) -> Iterator[None]:
    """Run construction with a fixed seed, leaving the caller's generator as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("meta" if meta else "cpu"):
        torch.manual_seed(seed)
        yield


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].partition(". ")[0].rstrip(".") if text else type(error).__name__


def weights_from(module: Any) -> str:
    """Hub repository or address that timm's record of the checkpoint names."""
    config = module.pretrained_cfg
    if config.get("hf_hub_id"):
        return f"hf-hub:{config['hf_hub_id']}"
    return config.get("url") or "unknown"


def describe(
    module: Any,
    name: ModelName,
    *,
    weights: str,
    load: Callable[[], tuple[Any, str | None]],
    record: Mapping[str, Any] | None = None,
) -> Architecture:
    """Taps, transform and geometry of a timm module on the meta device.

    ``record`` says how the weights see an image; timm's record of the checkpoint if None.
    """
    record = record or module.pretrained_cfg
    native = name.pixels or _square(record["input_size"], str(name))
    shape = timm_taps.probe(module, native, str(name))
    taps, missing = timm_taps.find_taps(module, shape, str(name))
    return Architecture(
        module=module,
        load=load,
        reader=lambda module, tap: timm_taps.reader(module, str(name), tap),
        taps=taps,
        missing=missing,
        native=native,
        transform=Transform.recorded(record, native, str(name)),
        mean=tuple(record["mean"]),
        std=tuple(record["std"]),
        convnet=shape.axes == 4,
        weights_from=weights,
    )


def _square(input_size: tuple[int, int, int], name: str) -> int:
    channels, height, width = input_size
    if channels != 3:
        raise InputError(f"{name} takes images of {channels} channels; expected 3 (RGB)")
    if height != width:
        raise InputError(f"{name} takes images of {height} x {width} pixels; expected a square")
    return height
