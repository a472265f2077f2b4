"""timm models: building, resolving and reading any of them at its taps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models import readout
from workbench.models.info import Built, Tokens, Transform
from workbench.models.names import ModelName, unknown

SEED = 0
"""Seed of ``random:`` weights, so that the same name is the same model everywhere."""


def build(name: ModelName, *, meta: bool) -> Built:
    """A ``timm:`` or ``random:timm:`` model; ``meta`` leaves the weights out."""
    import timm

    known = timm.list_models(include_tags=True) + timm.list_models()
    if name.arch not in known:
        raise unknown("timm model", name.arch, known, prefix=f"{_label(name)}:")
    pretrained = not (meta or name.random)
    if pretrained and not timm.get_pretrained_cfg(name.arch).has_weights:
        raise InputError(
            f"timm has no pretrained weights for {name.arch!r}; "
            f"write random:timm:{name.arch} for an untrained model"
        )
    module = create(name.arch, pixels=name.pixels, pretrained=pretrained, meta=meta)
    origin = f"random weights, seed {SEED}" if name.random else weights_from(module)
    return describe(module, str(name), weights=origin, pixels=name.pixels)


def _label(name: ModelName) -> str:
    return f"random:{name.kind}" if name.random else name.kind


def create(arch: str, *, pixels: int | None, pretrained: bool, meta: bool, **extra: Any) -> Any:
    """Instantiate a timm model, with flexible input sizes where the architecture has them.

    ``extra`` goes to ``timm.create_model`` as it is.
    """
    import timm

    sized = {} if pixels is None else {"img_size": pixels}
    attempts = [{"dynamic_img_size": True, **sized}, sized]
    if sized:
        attempts.append({})  # convolutional networks take no img_size and need none
    for keywords in attempts:
        try:
            with seeded(meta=meta):
                return timm.create_model(arch, pretrained=pretrained, **keywords, **extra).eval()
        except TypeError as error:
            if "unexpected keyword" not in str(error):
                raise
        except OSError as error:  # hub and network errors derive from it
            raise InputError(
                f"the weights of timm:{arch} could not be fetched ({_first_line(error)}); "
                f"without a network copy the checkpoint over and name file:{arch}:PATH"
            ) from error
    raise InputError(f"timm could not build {arch!r}")


@contextmanager
def seeded(*, meta: bool) -> Iterator[None]:
    """Run construction with the fixed seed, leaving the caller's generator as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("meta" if meta else "cpu"):
        torch.manual_seed(SEED)
        yield


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def weights_from(module: Any) -> str:
    """Hub repository or address that timm's record of the checkpoint names."""
    config = module.pretrained_cfg
    if config.get("hf_hub_id"):
        return f"hf-hub:{config['hf_hub_id']}"
    return config.get("url") or "unknown"


def describe(module: Any, name: str, *, weights: str, pixels: int | None = None) -> Built:
    """Taps, transform and geometry of a built timm module."""
    config = module.pretrained_cfg
    native = pixels or _square(config["input_size"], name)
    taps, missing = find_taps(module, native)
    return Built(
        module=module,
        taps=taps,
        reader=lambda tap: reader(module, name, tap),
        native=native,
        transform=resolve_transform(config, native, name),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        convnet=_prefix_of(module) is None,
        weights_from=weights,
        missing=missing,
    )


def _square(input_size: tuple[int, int, int], name: str) -> int:
    channels, height, width = input_size
    if channels != 3 or height != width:
        raise InputError(f"{name} takes {input_size} inputs; only square RGB inputs are supported")
    return height


def resolve_transform(config: dict, native: int, name: str) -> Transform:
    """The evaluation transform of timm's checkpoint record at the native size in use."""
    modes = {"center": "centre", "squash": "squash"}
    mode = config.get("crop_mode") or "center"
    if mode not in modes:
        raise InputError(f"{name} asks for crop mode {mode!r}; supported: {', '.join(modes)}")
    return Transform(
        height=native,
        width=native,
        resize_ratio=1.0 / config.get("crop_pct", 1.0),
        mode=modes[mode],
        interpolation=config.get("interpolation", "bicubic"),
    )


def _prefix_of(module: Any) -> int | None:
    """Number of prefix tokens of a token model; None for a model on maps."""
    if hasattr(module, "num_prefix_tokens"):
        return int(module.num_prefix_tokens)
    return 0 if hasattr(module, "blocks") and hasattr(module, "stem") else None


@torch.inference_mode()
def find_taps(module: Any, native: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """Taps of a timm model, default first, and the expected ones it lacks with the reason.

    Token models: ``final`` (after the last norm), ``block:N``, ``pre_logits``. Models on maps:
    ``blocks`` (output of the last block), ``final`` where something follows the last block (a
    norm, a head convolution), ``stage:N``, ``pre_logits``.
    """
    missing: dict[str, str] = {}
    depth = len(module.feature_info) if hasattr(module, "forward_intermediates") else 0
    if _prefix_of(module) is not None:
        blocks = [f"block:{n}" for n in reversed(range(depth))]
        if isinstance(getattr(module, "norm", None), torch.nn.Identity):
            missing["final"] = "it normalises after pooling, so its tokens have no final norm"
            return (*blocks, "pre_logits"), missing
        return ("final", *blocks, "pre_logits"), missing
    stages = [f"stage:{n}" for n in reversed(range(depth))]
    if not depth:
        return ("final", "pre_logits"), missing
    x = torch.empty((1, 3, native, native), device=next(module.parameters()).device)
    with torch.device("meta"):
        last_is_final = _ends_with_last_block(module, x, depth)
    if last_is_final:
        missing["final"] = "nothing follows its last block before pooling"
        return ("blocks", *stages, "pre_logits"), missing
    return ("blocks", "final", *stages, "pre_logits"), missing


def _ends_with_last_block(module: Any, x: torch.Tensor, depth: int) -> bool:
    """Whether the map handed to the head is the last block's output itself."""
    final, [last] = module.forward_intermediates(x, indices=[depth - 1])
    return final is last


def reader(module: Any, name: str, tap: str) -> Callable[[torch.Tensor], Tokens]:
    """The function that runs a timm module and reads one tap."""
    kind, _, number = tap.partition(":")
    if kind == "pre_logits":
        return lambda x: readout.from_vector(
            readout.require_tensor(
                module.forward_head(module.forward_features(x), pre_logits=True), name, tap
            ).flatten(1)
        )
    if kind == "final":
        return lambda x: _lay_out(module, x, module.forward_features(x), name)
    index = len(module.feature_info) - 1 if kind == "blocks" else int(number)
    return lambda x: _intermediate(module, x, index)


def _lay_out(module: Any, x: torch.Tensor, output: Any, name: str) -> Tokens:
    """Lay the output of ``forward_features`` out on its grid, by the number of its axes."""
    output = readout.require_tensor(output, name, "final")
    if output.ndim == 4:
        last = output.shape[3] == module.num_features and (
            output.shape[1] != module.num_features or module.output_fmt == "NHWC"
        )
        return readout.from_map(output, channels_last=last)
    if output.ndim == 3:
        return readout.from_sequence(output, _prefix_of(module) or 0, token_grid(module, x))
    raise InputError(
        f"{name} returns one vector per image at tap final, no spatial grid; use its tap pre_logits"
    )


def token_grid(module: Any, x: torch.Tensor) -> tuple[int, int]:
    """Rows and columns of the last block's tokens for input ``x`` (image, 3, height, width)."""
    reduction = module.feature_info[-1]["reduction"]
    return -(-x.shape[2] // reduction), -(-x.shape[3] // reduction)


def _intermediate(module: Any, x: torch.Tensor, index: int) -> Tokens:
    """One block's or stage's output, before any norm."""
    keywords: dict[str, Any] = {"indices": [index], "intermediates_only": True}
    accepted = inspect.signature(module.forward_intermediates).parameters
    keywords |= {"stop_early": True, "norm": False, "output_fmt": "NCHW"}
    if "return_prefix_tokens" in accepted:
        [(features, prefix)] = module.forward_intermediates(
            x, return_prefix_tokens=True, **keywords
        )
        return Tokens(prefix, features.permute(0, 2, 3, 1))
    [features] = module.forward_intermediates(x, **keywords)
    return readout.from_map(features, channels_last=False)
