"""Parameters and multiply-accumulates of a plain vision transformer, from its shape alone.

Claim: for `n` patches of `p` × `p` pixels, `q` prefix tokens and `N = n + q` tokens, one block of
width `d` and MLP size `m` holds `4d² + 2dm + 9d + m` parameters and needs
`N (4d² + 2dm) + 2N²d` multiply-accumulates (MACs) per image; biases, norms, softmax and the
activation are not counted as MACs, as usual. Equality with timm's modules is tested.

Source: Dosovitskiy et al. 2021 (the architecture); "Getting ViT in Shape" section 4 and Table 1
(shapes; that table prints FLOPs = 2 × MACs of the forward pass).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from feature_store.errors import InputError, require_at_least, require_choices

Pool = Literal["token", "avg", "map", "none"]
DIMENSIONS = ("width", "depth", "mlp")


@dataclass(frozen=True, kw_only=True)
class ViTShape:
    """The shape of one vision transformer.

    Example
    -------
    >>> shape = ViTShape(width=768, depth=12, mlp=3072, heads=12, patch=16, classes=1000)
    >>> shape.params
    86567656
    """

    width: int
    """Channels of a token."""
    depth: int
    """Number of blocks."""
    mlp: int
    """Hidden size of a block's MLP."""
    heads: int = 16
    """Attention heads: a divisor of the width that changes neither parameters nor MACs."""
    patch: int = 14
    """Side of a patch in pixels."""
    resolution: int = 224
    """Side of the square image in pixels."""
    in_channels: int = 3
    """Colour channels of the image."""
    pool: Pool = "token"
    """Read-out: `token` (a class token), `avg`, `map` (attention pooling) or `none`."""
    registers: int = 0
    """Register tokens besides the class token."""
    classes: int = 0
    """Outputs of the linear head; 0 means no head."""

    def __post_init__(self) -> None:
        for name in ("width", "depth", "mlp", "heads", "patch", "resolution", "in_channels"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
        require_choices(self)
        require_at_least(self, registers=0, classes=0)
        if self.width % self.heads:
            raise InputError(
                f"width {self.width} is not a multiple of {self.heads} heads; "
                f"take {self.width - self.width % self.heads} or another number of heads"
            )
        if self.resolution < self.patch:
            raise InputError(
                f"resolution {self.resolution} is smaller than one patch of {self.patch} pixels"
            )

    @property
    def patches(self) -> int:
        """Patches per image; pixels beyond the last whole patch are ignored, as by a stride."""
        return (self.resolution // self.patch) ** 2

    @property
    def tokens(self) -> int:
        """Tokens in the blocks: patches, registers and the class token if there is one."""
        return self.patches + self.registers + (self.pool == "token")

    @property
    def params(self) -> int:
        """Number of parameters, learned position embeddings for every token included."""
        d, m = self.width, self.mlp
        block = 4 * d * d + 2 * d * m + 9 * d + m
        embed = self.in_channels * self.patch**2 * d + d + self.tokens * d
        prefix = (self.tokens - self.patches) * d
        pooling = 4 * d * d + 2 * d * m + 8 * d + m if self.pool == "map" else 0
        head = (d + 1) * self.classes
        return self.depth * block + embed + prefix + 2 * d + pooling + head

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass for one image."""
        d, m, n = self.width, self.mlp, self.tokens
        block = n * (4 * d * d + 2 * d * m) + 2 * n * n * d
        embed = self.patches * self.in_channels * self.patch**2 * d
        pooled = self.patches  # attention pooling reads patches only, as timm's does
        pooling = 2 * pooled * (d * d + d) + 2 * d * d + 2 * d * m if self.pool == "map" else 0
        return self.depth * block + embed + pooling + d * self.classes

    @property
    def gmacs(self) -> float:
        """Multiply-accumulates of one forward pass for one image, in 10⁹."""
        return self.macs / 1e9

    def with_dimension(self, dimension: str, value: int) -> ViTShape:
        """The same network with one of width, depth, mlp set to `value`."""
        if dimension not in DIMENSIONS:
            raise InputError(
                f"no shape dimension {dimension!r}; choose from: {', '.join(DIMENSIONS)}"
            )
        change: dict[str, Any] = {dimension: value}
        return replace(self, **change)


# Widths, depths, MLP sizes and heads: Zhai et al. 2022 table 2, and "Getting ViT in Shape"
# section 4.1. The text of that paper gives no shape for SoViT-150m; its authors' (880, 18, 2320)
# is quoted in the discussion of google/siglip-so400m-patch14-384 (thread 3) on the model hub.
NAMED_SHAPES: dict[str, ViTShape] = {
    "B/16": ViTShape(width=768, depth=12, mlp=3072, heads=12, patch=16),
    "B/14": ViTShape(width=768, depth=12, mlp=3072, heads=12, pool="map"),
    "L/16": ViTShape(width=1024, depth=24, mlp=4096, patch=16),
    "H/14": ViTShape(width=1280, depth=32, mlp=5120),
    "g/14": ViTShape(width=1408, depth=40, mlp=6144),
    "G/14": ViTShape(width=1664, depth=48, mlp=8192),
    "SoViT-400m/14": ViTShape(width=1152, depth=27, mlp=4304, pool="map"),
    "SoViT-150m/14": ViTShape(width=880, depth=18, mlp=2320, pool="map"),
}
