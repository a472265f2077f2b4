"""Model names: `[random:]KIND:NAME[:PIXELS]`, parsed into a small record and back."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from feature_store.errors import InputError

KINDS = ("bundled", "timm", "open_clip", "file", "run")
_FORMS = (
    "bundled:NAME[:PIXELS], timm:NAME[:PIXELS], open_clip:ARCH/PRETRAINED[:PIXELS], "
    "file:TIMM_NAME[:PIXELS]:PATH, run:FOLDER, random:timm:NAME, random:open_clip:ARCH"
)


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """A model name taken apart; ``str(name)`` is the inverse of :meth:`parse`.

    Example
    -------
    >>> ModelName.parse("timm:vit_base_patch14_dinov2.lvd142m:224").pixels
    224
    >>> str(ModelName.parse("random:open_clip:ViT-B-16"))
    'random:open_clip:ViT-B-16'
    """

    kind: str
    """Origin of the weights: one of ``KINDS``."""
    arch: str
    """The name in that library, such as ``vit_base_patch16_224.mae`` or ``ViT-B-16``; of a run, see
    :mod:`workbench.models.run_names`."""
    tag: str | None = None
    """The open_clip pretrained tag; None for other kinds."""
    path: str | None = None
    """The checkpoint file of a ``file:`` name; None for other kinds."""
    pixels: int | None = None
    """Native side asked for in place of the checkpoint's own; position embeddings are resampled."""
    random: bool = False
    """True: an untrained model with seeded weights; every result of it is marked so."""

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Take a name apart.

        Raises
        ------
        InputError
            Unknown kind, or a part missing; the message lists the forms.
        """
        random = text.startswith("random:")
        kind, _, rest = text.removeprefix("random:").partition(":")
        if kind not in KINDS or not rest:
            raise InputError(f"{text!r} is not a model name; the forms are: {_FORMS}")
        if random and kind not in ("timm", "open_clip"):
            raise InputError(f"{text!r}: only timm: and open_clip: names can be random:")
        if kind == "file":
            return cls._parse_file(text, rest)
        if kind == "run":
            return cls(kind=kind, arch=rest)
        arch, pixels = split_pixels(rest)
        tag = None
        if kind == "open_clip":
            arch, _, written = arch.partition("/")
            tag = None if random else written
            if tag == "":
                raise InputError(
                    f"{text!r} names no weights; write open_clip:{arch}/PRETRAINED, "
                    f"or random:open_clip:{arch} for an untrained model"
                )
        return cls(kind=kind, arch=arch, tag=tag, pixels=pixels, random=random)

    @classmethod
    def _parse_file(cls, text: str, rest: str) -> ModelName:
        arch, _, path = rest.partition(":")
        head, colon, tail = path.partition(":")
        pixels = None
        if colon and head.isdecimal():
            pixels, path = int(head), tail
        if not arch or not path:
            raise InputError(f"{text!r} is not complete; write file:TIMM_NAME:PATH")
        return cls(kind="file", arch=arch, path=path, pixels=pixels)

    def __str__(self) -> str:
        parts = ["random"] if self.random else []
        parts += [self.kind, f"{self.arch}/{self.tag}" if self.tag else self.arch]
        parts += [str(self.pixels)] if self.pixels else []
        parts += [self.path] if self.path else []
        return ":".join(parts)


def split_pixels(text: str) -> tuple[str, int | None]:
    """``NAME[:PIXELS]`` → (NAME, PIXELS or None)."""
    head, colon, tail = text.rpartition(":")
    if colon and tail.isdecimal():
        return head, int(tail)
    return text, None


def unknown(what: str, found: str, valid: Iterable[str], *, prefix: str = "") -> InputError:
    """The error for an unknown name; it offers the nearest names of ``valid``."""
    choices = sorted(valid)
    near = difflib.get_close_matches(found, choices, n=4, cutoff=0.5)
    if near:
        hint = "nearest: " + ", ".join(prefix + name for name in near)
    elif len(choices) <= 12:
        hint = "there are: " + ", ".join(prefix + name for name in choices)
    else:
        hint = "no name is similar; `workbench models` lists the models"
    return InputError(f"unknown {what} {prefix + found!r}; {hint}")
