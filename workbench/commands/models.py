"""``workbench models``: what models there are, and where their weights come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from analyses.published.checkpoints import PAPER_MODELS
from feature_store.source import split_tap
from workbench.models.packages import PACKAGES
from workbench.results import strict_json
from workbench.results.messages import show


@dataclass(frozen=True, kw_only=True)
class Models:
    """List models and where their weights come from, or describe one without its weights.

    Without arguments: the bundled models and the papers' checkpoints.

    Examples
    --------
    workbench models
    workbench models --name timm:vit_base_patch16_224.mae
    workbench models --find dinov2
    """

    name: str | None = None
    """MODEL or MODEL#TAP to describe: native size, grid, channels, transform, taps."""
    find: str | None = None
    """Part of a name: lists every bundled, timm and open_clip model that contains it."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        if self.name is not None:
            from workbench.models import resolve

            report = asdict(resolve(*split_tap(self.name)))
            text = _describe(report)
        elif self.find is not None:
            report = {"models": find(self.find)}
            none = f"no bundled, timm or open_clip name has {self.find!r} in it"
            text = "\n".join(report["models"]) or none
        else:
            report = {"models": listed()}
            text = _table(report["models"])
        show(strict_json.dumps(report) if self.json else text)
        return 1 if self.find is not None and not report["models"] else 0


def listed() -> list[dict[str, Any]]:
    """The bundled models and the papers' checkpoints: name, family, size, weights, installed."""
    bundled = [
        {
            "name": f"bundled:{arch}",
            "family": package.family,
            "size": "",
            "weights_from": f"package {package.name}",
            "here": package.path() is not None,
            "install": package.install,
            "licence": package.licence,
            "origin": package.origin,
            "sha256": package.sha256,
        }
        for arch, package in PACKAGES.items()
    ]
    papers = [
        {"name": m.name, "family": m.family, "size": m.size, "weights_from": m.source, "here": None}
        for m in PAPER_MODELS
    ]
    return bundled + papers


def find(part: str) -> list[str]:
    """Names of bundled models, timm checkpoints and open_clip tags with ``part``, ignoring case."""
    import open_clip
    import timm

    names = [f"bundled:{name}" for name in PACKAGES]
    names += [f"timm:{name}" for name in timm.list_pretrained()]
    names += [f"open_clip:{arch}/{tag}" for arch, tag in open_clip.list_pretrained()]
    return [name for name in names if part.lower() in name.lower()]


def _table(rows: list[dict[str, Any]]) -> str:
    width = max(len(row["name"]) for row in rows)
    lines = [f"{'model':<{width}}  family and size        weights"]
    for row in rows:
        absent = f" (not installed: {row['install']})" if row["here"] is False else ""
        kind = f"{row['family']} {row['size']}".strip()
        lines.append(f"{row['name']:<{width}}  {kind:<21}  {row['weights_from']}{absent}")
    lines += [
        "",
        "Also any timm:NAME[:PIXELS] and open_clip:ARCH/PRETRAINED[:PIXELS], fetched on first use",
        "by their own libraries (--find PART lists them); file:TIMM_NAME:PATH, a local safetensors",
        "or tensor-only pickle; random:timm:NAME, random:open_clip:ARCH: untrained, and marked so.",
    ]
    return "\n".join(lines)


def _describe(info: dict[str, Any]) -> str:
    transform = info["transform"]
    rows, cols = info["grid"]
    trained = "pretrained" if info["pretrained"] else "NOT pretrained"
    other = "other sizes run whole" if info["flexible"] else "this size only"
    how = "crop at the centre" if transform["mode"] == "centre" else "aspect ratio ignored"
    resized = round(transform["resize_ratio"] * info["native"])
    return "\n".join(
        [
            f"{info['name']}#{info['tap']}",
            f"  weights     {info['weights_from']} ({trained})",
            f"  parameters  {info['params'] / 1e6:,.1f} M, classification head included",
            f"  native      {info['native']} x {info['native']} pixels; {other}",
            f"  map         {rows} x {cols} tokens x {info['channels']} channels; "
            f"{info['prefix']} prefix tokens; {info['stride']} pixels per token",
            f"  transform   resize {resized}, {transform['interpolation']}, antialias; {how}; "
            f"mean {info['mean']}, std {info['std']}",
            f"  taps        {' '.join(info['taps'])}",
        ]
    )
