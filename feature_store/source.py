"""Names of sources: ``MODEL[#TAP]@SCALES``, such as ``timm:vit_base_patch16_224.mae@224+448``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from feature_store.errors import InputError

_SCALE = re.compile(r"[1-9]\d*(x[1-9]\d*)?(\.[a-z][a-z0-9_]*)*")
_FORM = "MODEL[#TAP]@SCALE[+SCALE...], for example bundled:efficientnet_lite0@224+448"


@dataclass(frozen=True)
class Source:
    """A model read at one tap, at one scale (single-scale) or several (S2).

    Attributes
    ----------
    model : str
        Model name, such as ``timm:vit_base_patch16_224.mae``; may contain ``/``, ``:``.
    tap : str or None
        Where features are read; ``None`` means the model's default tap.
    scales : tuple of str
        Scale names in order, each ``SIZE[.OPTION...]`` with SIZE one side or ``HxW`` in pixels.

    Examples
    --------
    >>> s = Source.parse("bundled:efficientnet_lite0@224+448")
    >>> s.scales, s.tap, str(s)
    (('224', '448'), None, 'bundled:efficientnet_lite0@224+448')
    """

    model: str
    tap: str | None
    scales: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Source:
        """Inverse of ``str``.

        Raises
        ------
        InputError
            The text does not have the form ``MODEL[#TAP]@SCALE[+SCALE...]``, or a scale repeats.
        """
        front, at, back = text.rpartition("@")
        model, _, tap = front.partition("#")
        if not at or not model or front.endswith("#"):
            raise InputError(f"source {text!r} is not of the form {_FORM}")
        scales = tuple(back.split("+"))
        for scale in scales:
            if not _SCALE.fullmatch(scale):
                raise InputError(
                    f"source {text!r}: {scale!r} is not a scale; expected pixels such as 448, "
                    f"448x672 or 448.whole, joined by '+'"
                )
        if len(set(scales)) != len(scales):
            raise InputError(f"source {text!r} names a scale twice")
        return cls(model, tap or None, scales)

    def singles(self) -> tuple[Source, ...]:
        """The single-scale sources of this source, in channel order."""
        return tuple(Source(self.model, self.tap, (scale,)) for scale in self.scales)

    @property
    def model_and_tap(self) -> str:
        """``MODEL[#TAP]``: everything but the scales."""
        return f"{self.model}#{self.tap}" if self.tap else self.model

    def with_tap(self, tap: str) -> Source:
        """The same source with an explicit tap."""
        return Source(self.model, tap, self.scales)

    @property
    def group(self) -> str:
        """Path of a single-scale source inside the store; inverse: :meth:`from_group`."""
        if len(self.scales) != 1 or self.tap is None:
            raise ValueError(f"{self} is not a single-scale source with a tap")
        return "/".join(["features", *(quote(p, safe="") for p in (self.model, self.tap))]) + (
            f"/{self.scales[0]}"
        )

    @classmethod
    def from_group(cls, group: str) -> Source:
        """Single-scale source stored at ``features/<model>/<tap>/<scale>`` (percent-encoded)."""
        _, model, tap, scale = group.split("/")
        return cls(unquote(model), unquote(tap), (scale,))

    def __str__(self) -> str:
        return f"{self.model_and_tap}@{'+'.join(self.scales)}"
