"""Names as other libraries write them, resolved to full model names if one reading is possible.

``timm/vit_base_patch16_224.mae``, ``facebook/dinov2-base``, ``dinov2_vitb14``,
``ViT-B-16/laion2b_s34b_b88k`` and a bare ``vit_base_patch16_224`` name weights that exist under one
full name; ``efficientnet_lite0`` is two sets of weights, and refused with both.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache

from feature_store.errors import InputError
from workbench.models.names import KINDS, ModelName, split_pixels
from workbench.models.packages import PACKAGES
from workbench.models.run_names import IS_RUN, run_name
from workbench.results.messages import note

DINOV2 = {"s": "small", "b": "base", "l": "large", "g": "giant"}
"""Size in the names of DINOv2's own release → size in timm's."""
_HUB = re.compile(r"^(hf[-_]hub:|https://huggingface\.co/)")
_DINOV2_HUB = re.compile(r"facebook/dinov2(-with-registers)?-(small|base|large|giant)")
_DINOV2_TORCH = re.compile(r"dinov2_vit([sblg])14(_reg)?")


def full_name(text: str) -> str:
    """The full name, with the tag of the weights; says in a line what another spelling means.

    Raises
    ------
    InputError
        Not a name of one model; the two nearest full names are offered. Not a run, or an unfinished
        one.
    """
    return run_name(text) if text.startswith(IS_RUN) else _full_name(text)


@lru_cache(maxsize=256)
def _full_name(text: str) -> str:
    if text.removeprefix("random:").partition(":")[0] in KINDS:
        found = _with_tag(text)
    else:
        found = _read(text)
    if found != text:
        note(f"model {text} is {found}")
    return found


def _with_tag(text: str) -> str:
    """A name of a known kind with its tag: timm's default one, or the only one that begins so."""
    name = ModelName.parse(text)
    if name.random or name.kind not in ("timm", "open_clip"):
        return text
    if name.kind == "timm":
        tag = "" if "." in name.arch else _default_tag(name.arch)
        return text.replace(name.arch, f"{name.arch}.{tag}", 1) if tag else text
    only = _only_tag(name.arch, str(name.tag))
    return text.replace(f"/{name.tag}", f"/{only}", 1) if only else text


def _default_tag(arch: str) -> str:
    import timm

    if not timm.is_model(arch):
        return ""
    config = timm.get_pretrained_cfg(arch)
    return (config.tag or "") if config is not None and config.has_weights else ""


def _only_tag(arch: str, start: str) -> str | None:
    """The pretrained tag that is, or that alone begins with, some text."""
    import open_clip

    if arch not in open_clip.list_models():
        return None
    tags = open_clip.list_pretrained_tags_by_model(arch)
    found = [start] if start in tags else [tag for tag in tags if tag.startswith(start)]
    return found[0] if len(found) == 1 else None


def _read(text: str) -> str:
    """The one full name that a name without a kind stands for."""
    base, pixels = split_pixels(_HUB.sub("", text))
    found = _readings(base)
    size = "" if pixels is None else f":{pixels}"
    if len(found) == 1:
        return found[0] + size
    if found:
        raise InputError(f"{text!r} names two models; write {' or '.join(f + size for f in found)}")
    if ":" in base:
        ModelName.parse(text)  # refuses with the forms
    near = nearest(base)
    hint = f"did you mean {' or '.join(near)}?" if near else "`workbench models` lists the models"
    raise InputError(f"there is no model {text!r}; {hint}")


def _readings(base: str) -> list[str]:
    if found := _DINOV2_HUB.fullmatch(base):
        return [_dinov2(found[2], registers=bool(found[1]))]
    if found := _DINOV2_TORCH.fullmatch(base):
        return [_dinov2(DINOV2[found[1]], registers=bool(found[2]))]
    import timm

    if base.startswith("timm/"):
        name = base.removeprefix("timm/")
        known = timm.is_model(name.partition(".")[0])
        return [_with_tag(f"timm:{name}")] if known else []
    arch, slash, tag = base.partition("/")
    if slash:
        only = _only_tag(arch, tag)
        return [f"open_clip:{arch}/{only}"] if only else []
    named = [f"bundled:{base}"] if base in PACKAGES else []
    if "." in base:
        return [*named, *([f"timm:{base}"] if base in timm.list_pretrained() else [])]
    default = _default_tag(base)
    return [*named, *([f"timm:{base}.{default}"] if default else [])]


def _dinov2(size: str, *, registers: bool) -> str:
    return f"timm:vit_{size}_patch14_{'reg4_' if registers else ''}dinov2.lvd142m"


def nearest(text: str) -> list[str]:
    """The two full names most like some text."""
    import timm

    full = [f"bundled:{name}" for name in PACKAGES]
    full += [f"timm:{name}" for name in timm.list_pretrained()]
    if "/" in text or text[:1].isupper():
        import open_clip

        full += [f"open_clip:{arch}/{tag}" for arch, tag in open_clip.list_pretrained()]
    bare = {name.partition(":")[2].lower(): name for name in full}
    bare |= {f"dinov2-{size}": _dinov2(size, registers=False) for size in DINOV2.values()}
    text = text.lower().removeprefix("timm/").removeprefix("facebook/")
    found = difflib.get_close_matches(text, bare, n=2, cutoff=0.5)
    return [bare[name] for name in found]
