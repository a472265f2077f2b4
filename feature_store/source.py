"""Names of sources: ``MODEL[#TAP]@SCALES``, such as ``timm:vit_base_patch16_224.mae@1x+2x``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote

from feature_store.errors import InputError

_OPTIONS = r"(?P<options>(\.[a-z][a-z0-9_]*)*)"
_PIXELS = re.compile(r"[1-9]\d*(x[1-9]\d*)?" + _OPTIONS)
_MULTIPLE = re.compile(r"(?P<factor>\d+(\.\d+)?)x" + _OPTIONS)
_TAP = re.compile(r"#(final|blocks|pre_logits|proj|block:\d+|stage:\d+)?$")
_FORM = "MODEL[#TAP]@SCALE[+SCALE...], for example bundled:efficientnet_lite0@1x+2x"


def in_pixels(scale: str, native: int) -> str:
    """A scale in pixels: multiples of a native size, such as ``2x.raw``, are multiplied out.

    >>> in_pixels("2x.raw", 224), in_pixels("672", 224)
    ('448.raw', '672')

    Raises
    ------
    InputError
        The multiple is not a whole number of pixels.
    """
    multiple = _MULTIPLE.fullmatch(scale)
    if multiple is None:
        return scale
    pixels = float(multiple["factor"]) * native
    if pixels != int(pixels) or pixels < 1:
        raise InputError(
            f"scale {scale!r}: {multiple['factor']} x {native} is not a whole pixel size"
        )
    return f"{int(pixels)}{multiple['options']}"


def split_tap(text: str) -> tuple[str, str | None]:
    """Model and tap of ``MODEL[#TAP]``; None for the default tap.

    >>> split_tap("bundled:efficientnet_lite0#stage:1"), split_tap("timm:vit_base_patch16_224")
    (('bundled:efficientnet_lite0', 'stage:1'), ('timm:vit_base_patch16_224', None))

    The folder of a ``run:`` name may contain ``#``; what follows it belongs to the folder unless it
    names a tap.

    >>> split_tap("run:trained #1/small#final"), split_tap("run:trained #1")
    (('run:trained #1/small', 'final'), ('run:trained #1', None))
    """
    if text.startswith("run:"):
        found = _TAP.search(text)
        return (text[: found.start()], found[1]) if found else (text, None)
    model, _, tap = text.partition("#")
    return model, tap or None


def names_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """Several names of sources or models; a single text is one name.

    >>> names_of("m:a@1x"), names_of(["m:a@1x", "m:b@1x"])
    (('m:a@1x',), ('m:a@1x', 'm:b@1x'))
    """
    return (given,) if isinstance(given, str) else tuple(given)


@dataclass(frozen=True)
class Source:
    """A model read at one tap, at one scale (single-scale) or several (S2).

    Examples
    --------
    >>> s = Source.parse("bundled:efficientnet_lite0@1x+2x")
    >>> s.scales, s.tap, str(s)
    (('1x', '2x'), None, 'bundled:efficientnet_lite0@1x+2x')
    """

    model: str
    """Model name, such as ``timm:vit_base_patch16_224.mae``; may contain ``/``, ``:``."""
    tap: str | None
    """Where features are read; ``None`` means the model's default tap."""
    scales: tuple[str, ...]
    """Scale names in order, each ``SIZE[.OPTION...]`` with SIZE one side or ``HxW`` in pixels, or a
    multiple of the model's native size, such as ``2x``. Stored sources are in pixels."""
    stored_as: str | None = field(default=None, compare=False, repr=False)
    """Model name in the store's paths, where an old store wrote another; no part of equality."""

    @classmethod
    def parse(cls, text: str) -> Source:
        """Inverse of ``str``.

        Raises
        ------
        InputError
            The text does not have the form ``MODEL[#TAP]@SCALE[+SCALE...]``, or a scale repeats.
        """
        front, at, back = text.rpartition("@")
        model, tap = split_tap(front)
        if not at or not model or front.endswith("#"):
            raise InputError(f"source {text!r} is not of the form {_FORM}")
        scales = tuple(back.split("+"))
        for scale in scales:
            if not (_PIXELS.fullmatch(scale) or _MULTIPLE.fullmatch(scale)):
                parts = re.split(r"[,;\s]+", scale.strip(",; "))
                if len(parts) > 1:
                    raise InputError(
                        f"source {text!r}: scales are joined by '+'; write "
                        f"{front}@{back.replace(scale, '+'.join(parts))}"
                    )
                raise InputError(
                    f"source {text!r}: {scale!r} is not a scale; expected multiples of the native "
                    f"size such as 2x, or pixels such as 448, 448x672 or 448.whole, joined by '+'"
                )
        if len(set(scales)) != len(scales):
            raise InputError(f"source {text!r} names a scale twice")
        return cls(model, tap, scales)

    def singles(self) -> tuple[Source, ...]:
        """The single-scale sources of this source, in channel order."""
        return tuple(replace(self, scales=(scale,)) for scale in self.scales)

    @property
    def model_and_tap(self) -> str:
        """``MODEL[#TAP]``: everything but the scales."""
        return f"{self.model}#{self.tap}" if self.tap else self.model

    def with_tap(self, tap: str) -> Source:
        """The same source with an explicit tap."""
        return replace(self, tap=tap)

    @property
    def has_multiples(self) -> bool:
        """Whether some scale is a multiple of the native size and not yet in pixels."""
        return any(_MULTIPLE.fullmatch(scale) for scale in self.scales)

    def at_native(self, native: int) -> Source:
        """The same source with every scale in pixels."""
        return replace(self, scales=tuple(in_pixels(scale, native) for scale in self.scales))

    @property
    def group(self) -> str:
        """Path of a single-scale source inside the store; inverse: :meth:`from_group`."""
        if len(self.scales) != 1 or self.tap is None or self.has_multiples:
            raise ValueError(f"{self} is not a single-scale source with a tap and pixels")
        model = self.stored_as or self.model
        return f"features/{quote(model, safe='')}/{quote(self.tap, safe='')}/{self.scales[0]}"

    @property
    def groups_above(self) -> list[str]:
        """Paths of the groups that contain a single-scale source, the outermost first."""
        return list(itertools.accumulate(self.group.split("/")[:-1], "{}/{}".format))

    @property
    def as_stored(self) -> dict[str, str]:
        """Entries of the manifest that an old store wrote otherwise."""
        return {"model": self.stored_as} if self.stored_as else {}

    @classmethod
    def from_group(cls, group: str) -> Source:
        """Single-scale source stored at ``features/<model>/<tap>/<scale>`` (percent-encoded)."""
        _, model, tap, scale = group.split("/")
        return cls(unquote(model), unquote(tap), (scale,))

    def __str__(self) -> str:
        return f"{self.model_and_tap}@{'+'.join(self.scales)}"
