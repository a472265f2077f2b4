"""Sources in figures: short names, and looks that tell them apart without colour."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from feature_store import Source
from workbench.figures import style


def short(source: str) -> str:
    """A source without its provider.

    Examples
    --------
    >>> short("bundled:efficientnet_lite0@224+448")
    'efficientnet_lite0 @ 224 + 448'
    >>> short("timm:vit_base#block:9@224")
    'vit_base#block:9 @ 224'
    """
    model, _, scales = source.rpartition("@")
    return f"{model.partition(':')[2]} @ {scales.replace('+', ' + ')}"


def two_lines(source: str) -> str:
    """The name of a source with its scales on a separate line."""
    return short(source).replace(" @ ", "\n@ ")


def without_common_tap(sources: Sequence[str]) -> list[str]:
    """The sources, without their tap where all have the same one."""
    parsed = [Source.parse(source) for source in sources]
    if len({source.tap for source in parsed}) > 1:
        return list(sources)
    return [str(replace(source, tap=None)) for source in parsed]


def is_s2(source: str) -> bool:
    """Whether the source has several scales."""
    return len(Source.parse(source).scales) > 1


def colour(source: str) -> str:
    """Green for S2 sources, grey for single-scale ones."""
    return style.GREEN if is_s2(source) else style.GREY


def looks(sources: Sequence[str]) -> list[style.Look]:
    """A look for each source, in order: greens for S2 sources, grey and other hues for the rest."""
    s2, single = itertools.cycle(style.S2_CURVES), itertools.cycle(style.SINGLE_CURVES)
    return [next(s2 if is_s2(name) else single) for name in sources]
