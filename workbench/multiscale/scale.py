"""Scales by name: `SIZE(.OPTION)*`, read, written, and resolved against a native size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from feature_store.errors import InputError
from feature_store.source import in_pixels

OPTIONS = ("raw", "whole", "pad", "unpooled")
SMALLEST = 8
"""Side in pixels below which a plain number is taken for a forgotten ``x``."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One scale and how it is run; ``str(scale)`` is the inverse of :meth:`parse`.

    Example
    -------
    >>> Scale.parse("448.whole")
    Scale(height=448, width=448, raw=False, whole=True, pad=False, unpooled=False)
    >>> str(Scale.parse("224x448.unpooled.raw"))
    '224x448.raw.unpooled'
    """

    height: int
    """Height in pixels of the image at this scale."""
    width: int
    """Width in pixels of the image at this scale."""
    raw: bool = False
    """Resize the original image to this scale; default: interpolate the base image."""
    whole: bool = False
    """Run the large image in one piece, position embeddings resampled; default: split."""
    pad: bool = False
    """Fill up to the next multiple of the native size with the mean colour, right and below; the
    map is cut back to the image. Default: such sizes are refused."""
    unpooled: bool = False
    """Keep the merged map at its own size; default: pool it to the base grid."""

    def __post_init__(self) -> None:
        if self.whole and self.pad:
            raise InputError(f"scale {self}: whole and pad exclude each other; choose one")

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Read ``SIZE(.OPTION)*``; SIZE is ``448`` (square) or ``HEIGHTxWIDTH``.

        Raises
        ------
        InputError
            Not of that form, a size of zero, or an unknown or repeated option.
        """
        size, *options = text.split(".")
        sides = size.split("x")
        if len(sides) > 2 or not all(s.isascii() and s.isdecimal() and int(s) for s in sides):
            raise InputError(
                f"scale {text!r}: {size!r} is not a size; write pixels such as 448 or 224x448"
            )
        strange = [o for o in options if o not in OPTIONS or options.count(o) > 1]
        if strange:
            raise InputError(
                f"scale {text!r}: option {strange[0]!r} is unknown or repeated; "
                f"options are {', '.join(OPTIONS)}"
            )
        flags = {option: option in options for option in OPTIONS}
        return cls(height=int(sides[0]), width=int(sides[-1]), **flags)

    def __str__(self) -> str:
        size = f"{self.height}" if self.height == self.width else f"{self.height}x{self.width}"
        return ".".join([size, *(option for option in OPTIONS if getattr(self, option))])


def as_scale(scale: Scale | str, native: int) -> Scale:
    """A scale as it is, or from text in pixels or multiples of a native size."""
    if isinstance(scale, Scale):
        return scale
    found = resolve_scales([scale], native)
    if len(found) > 1:
        raise InputError(f"{scale!r} names {len(found)} scales, expected one")
    return Scale.parse(found[0])


def scale_names(given: str | Sequence[str]) -> list[str]:
    """Names of scales, one by one; a text has spaces or, as in a source, ``+`` between them.

    >>> scale_names("1x 2x"), scale_names(["1x+2x.raw", "672"])
    (['1x', '2x'], ['1x', '2x.raw', '672'])

    Raises
    ------
    InputError
        Commas between them.
    """
    texts = given.split() if isinstance(given, str) else given
    joined = " ".join(texts)
    if "," in joined:
        right = " ".join(joined.replace(",", " ").split())
        raise InputError(f"scales {joined}: write spaces between them, not commas: {right}")
    return [part for text in texts for part in text.split("+")]


def resolve_scales(texts: str | Sequence[str], native: int) -> list[str]:
    """Scales as given (pixels, or multiples such as ``1x``, ``2x``, ``0.5x``) to canonical text.

    >>> resolve_scales(["1x+2x.raw", "672"], 224)
    ['224', '448.raw', '672']

    Raises
    ------
    InputError
        No scale, a malformed one, a multiple that gives no whole pixel, a plain number of fewer
        than ``SMALLEST`` pixels, or one scale named twice.
    """
    if not texts:
        raise InputError("no scale was named; give at least one, such as 1x 2x")
    names = scale_names(texts)
    _refuse_bare_factors(names)
    found: list[str] = []
    for text in names:
        canonical = str(Scale.parse(in_pixels(text, native)))
        if canonical in found:
            raise InputError(f"scale {canonical} is named twice; name each scale once")
        found.append(canonical)
    return found


def _refuse_bare_factors(texts: Sequence[str]) -> None:
    """Refuse ``1 2 3`` for ``1x 2x 3x``: no model sees anything in an image of 3 pixels."""
    numbers = [t for t in texts if t.isascii() and t.replace(".", "", 1).isdecimal()]
    bare = [text for text in numbers if float(text) < SMALLEST]
    if bare:
        right = " ".join(f"{text}x" if text in bare else text for text in texts)
        raise InputError(
            f"scale {bare[0]!r} would be an image of {bare[0]} pixel(s); for multiples of the "
            f"model's native size write: {right}"
        )


def base_size(scale: Scale, native: int) -> tuple[int, int]:
    """Pixels of the base image: the smallest of the scale's aspect ratio in native squares.

    All scales of one aspect ratio share it, so their pooled maps share a grid.

    >>> base_size(Scale.parse("672"), 224), base_size(Scale.parse("448x896"), 224)
    ((224, 224), (224, 448))

    Raises
    ------
    InputError
        The aspect ratio needs a base image of more than 8 native squares along a side.
    """
    divisor = math.gcd(scale.height, scale.width)
    rows, cols = scale.height // divisor, scale.width // divisor
    if max(rows, cols) > 8:
        raise InputError(
            f"scale {scale}: {scale.height}:{scale.width} is not a simple aspect ratio, so its "
            f"base image would be {rows * native}x{cols * native}; "
            f"nearest valid sizes: {near_sizes(scale, native)}"
        )
    return rows * native, cols * native


def near_sizes(scale: Scale, step: int) -> str:
    """The multiples of ``step`` just below and above a scale, as they are written."""
    down = [max(1, side // step) * step for side in (scale.height, scale.width)]
    up = [max(1, -(-side // step)) * step for side in (scale.height, scale.width)]
    sizes = [Scale(height=height, width=width) for height, width in (down, up)]
    return ", ".join(dict.fromkeys(map(str, sizes)))
