"""timm models: building, resolving and reading any of them at its taps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.models import hub, readout
from workbench.models.info import Built, Tokens, Transform
from workbench.models.names import ModelName, unknown

SEED = 0
"""Seed of ``random:`` weights, so that the same name is the same model everywhere."""


def build(name: ModelName) -> Built:
    """The architecture of a ``timm:`` or ``random:timm:`` name, its weights yet to be loaded."""
    import timm

    check_known(name)
    if not name.random and not timm.get_pretrained_cfg(name.arch).has_weights:
        raise InputError(
            f"timm has no pretrained weights for {name.arch!r}; "
            f"write random:timm:{name.arch} for an untrained model"
        )

    def load() -> tuple[Any, str | None]:
        module = create(name.arch, pixels=name.pixels, pretrained=not name.random, meta=False)
        return module, None if name.random else hub.revision(module.pretrained_cfg.get("hf_hub_id"))

    module = create(name.arch, pixels=name.pixels, pretrained=False, meta=True)
    origin = f"random weights, seed {SEED}" if name.random else weights_from(module)
    return describe(module, name, weights=origin, load=load)


def check_known(name: ModelName) -> None:
    """Refuse an architecture that timm does not have, offering the nearest names."""
    import timm

    if not timm.is_model(name.arch.partition(".")[0]) or (
        "." in name.arch and name.arch not in timm.list_models(include_tags=True)
    ):
        known = timm.list_models(include_tags=True) + timm.list_models()
        raise unknown("timm model", name.arch, known, prefix=f"{_label(name)}:")


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
    text = str(error).strip()
    return text.splitlines()[0].partition(". ")[0].rstrip(".") if text else type(error).__name__


def weights_from(module: Any) -> str:
    """Hub repository or address that timm's record of the checkpoint names."""
    config = module.pretrained_cfg
    if config.get("hf_hub_id"):
        return f"hf-hub:{config['hf_hub_id']}"
    return config.get("url") or "unknown"


def describe(
    module: Any, name: ModelName, *, weights: str, load: Callable[[], tuple[Any, str | None]]
) -> Built:
    """Taps, transform and geometry of a timm module on the meta device."""
    config = module.pretrained_cfg
    native = name.pixels or _square(config["input_size"], str(name))
    shape = probe(module, native, str(name))
    taps, missing = find_taps(module, shape)
    return Built(
        module=module,
        load=load,
        reader=lambda module, tap: reader(module, str(name), tap),
        taps=taps,
        missing=missing,
        native=native,
        transform=resolve_transform(config, native, str(name)),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        convnet=shape.axes == 4,
        weights_from=weights,
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


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a forward pass on shapes alone tells about a timm module."""

    axes: int
    """Axes of the output of ``forward_features``: 4 map, 3 sequence, 2 vector."""
    reductions: tuple[int, ...]
    """Pixels per token of each block or stage, as timm records them; empty if it does not."""
    bare: bool
    """True: the last stage's output is what the head receives, nothing comes between."""

    @property
    def uniform(self) -> bool:
        """A plain transformer: every block works on the same grid of tokens."""
        return self.axes == 3 and len(set(self.reductions)) == 1


@torch.inference_mode()
def probe(module: Any, native: int, name: str) -> Shape:
    """Run a module on the meta device once.

    Raises
    ------
    InputError
        ``forward_features`` returns something other than a tensor.
    """
    x = torch.empty((1, 3, native, native), device="meta")
    if not hasattr(module, "forward_intermediates") or not getattr(module, "feature_info", None):
        output = readout.require_tensor(module.forward_features(x), name, "final")
        return Shape(axes=output.ndim, reductions=(), bare=False)
    reductions = tuple(info["reduction"] for info in module.feature_info)
    final, [last] = module.forward_intermediates(x, indices=[len(reductions) - 1])
    output = readout.require_tensor(final, name, "final")
    return Shape(axes=output.ndim, reductions=reductions, bare=final is last)


def find_taps(module: Any, shape: Shape) -> tuple[tuple[str, ...], dict[str, str]]:
    """Taps of a timm model, default first, and the expected ones it lacks with the reason.

    Plain transformers: ``final`` (after the last norm), ``block:N``, ``pre_logits``. Others:
    ``blocks`` (output of the last block), ``final`` where something follows the last block (a
    norm, a head convolution), ``stage:N``, ``pre_logits``.
    """
    depth = len(shape.reductions)
    if shape.uniform:
        blocks = [f"block:{n}" for n in reversed(range(depth))]
        if isinstance(getattr(module, "norm", None), torch.nn.Identity):
            reason = "it normalises after pooling, so its tokens have no final norm"
            return (*blocks, "pre_logits"), {"final": reason}
        return ("final", *blocks, "pre_logits"), {}
    if shape.axes == 2:
        return ("pre_logits",), {"final": "it returns one vector per image, no spatial grid"}
    if not depth:
        return ("final", "pre_logits"), {}
    stages = [f"stage:{n}" for n in reversed(range(depth))]
    if shape.bare:
        reason = "nothing follows its last block before pooling"
        return ("blocks", *stages, "pre_logits"), {"final": reason}
    return ("blocks", "final", *stages, "pre_logits"), {}


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
            output.shape[1] != module.num_features or _declares_channels_last(module)
        )
        return readout.from_map(output, channels_last=last)
    if output.ndim == 3:
        prefix = getattr(module, "num_prefix_tokens", 0)
        return readout.from_sequence(output, prefix, token_grid(module, x))
    raise InputError(
        f"{name} returns one vector per image at tap final, no spatial grid; use its tap pre_logits"
    )


def _declares_channels_last(module: Any) -> bool:
    return str(getattr(module, "output_fmt", "NCHW")) == "NHWC"


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
        keywords["return_prefix_tokens"] = True
    [found] = module.forward_intermediates(x, **keywords)
    if isinstance(found, tuple):  # (map, prefix tokens); a map alone where there are none
        return Tokens(found[1], found[0].permute(0, 2, 3, 1))
    return readout.from_map(found, channels_last=False)
