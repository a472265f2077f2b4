"""Options of the questions that one module answers; here they are known without importing torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from analyses.linear.config import HeadConfig, MinibatchConfig
from analyses.reading.pooled import Merge, Pooling
from feature_store.errors import (
    InputError,
    require_at_least,
    require_choices,
    require_positive,
)


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How the probe is trained and evaluated."""

    recipe: Literal["converged", "paper"] = "converged"
    """``converged``: regularised head at its optimum; ``paper``: 30 epochs of minibatches."""
    pooling: Pooling = "mean"
    """Vector of an image: the mean over its tokens, or its first prefix token (CLS)."""
    merge: Merge = "concat"
    """How the scales of an S2 source combine: concat (the paper's way) or add (Table 12)."""
    l2: float | None = None
    """Penalty of the converged head; by default chosen by cross-validation on training images."""
    folds: int = 5
    """Stratified folds of the training images on which the penalty is chosen."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    resamples: int = 1000
    """Image-bootstrap resamples behind the differences of sources."""
    seed: int = 0
    """Seed of folds, minibatch order and resamples."""
    head: HeadConfig = field(default_factory=HeadConfig)
    """How the converged head is trained."""
    minibatch: MinibatchConfig = field(default_factory=MinibatchConfig)
    """How the head of the paper's recipe is trained."""
    keep_shared: bool = False
    """Keep test images whose pixels are in the training set."""
    progress: bool = False
    """Show a progress bar on standard error."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, folds=2, resamples=1)
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence is {self.confidence}; expected a number like 0.95")


@dataclass(frozen=True, kw_only=True)
class FewShotConfig:
    """Number of images to draw, and number of draws."""

    shots: tuple[int, ...] = (1, 5, 10, 25)
    """Training images per class."""
    repeats: int = 20
    """Seeded draws of the few-shot images; sources are compared on the same draws."""
    validation: int = 1000
    """Undrawn training images, at most, on which the ridge is chosen."""
    pooling: Pooling = "mean"
    """Vector of an image: the mean over its tokens, or its first prefix token (CLS)."""
    merge: Merge = "concat"
    """How the scales of an S2 source combine: concat (the paper's way) or add (Table 12)."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    resamples: int = 1000
    """Bootstrap resamples, of draws and test images, behind the differences of sources."""
    seed: int = 0
    """Seed of the draws and resamples."""
    keep_shared: bool = False
    """Keep test images whose pixels are in the training set."""
    progress: bool = False
    """Show a progress bar on standard error."""

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1:
            raise InputError(f"shots are {self.shots}; expected positive numbers such as 1 5 10 25")
        require_at_least(self, repeats=2, resamples=1)


@dataclass(frozen=True, kw_only=True)
class DenseConfig:
    """How the dense head is trained and evaluated."""

    task: Literal["segmentation", "depth"] = "segmentation"
    """Content of the target maps: class numbers (-1 = ignored) or metres (NaN = unknown)."""
    merge: Merge = "concat"
    """How the scales of an S2 source combine: concat (the paper's way) or add (Table 12)."""
    train_tokens: int = 2**17
    """Largest number of training tokens of a dense head, equally many per image; half a MiB per
    channel."""
    l2: float | None = None
    """Segmentation: penalty of the logistic head; by default chosen on held-out training images."""
    ridge: float | None = None
    """Depth: penalty over the mean eigenvalue of the tokens' scatter; by default chosen on held-out
    training images."""
    folds: int = 3
    """Groups of training images on which the penalty is chosen."""
    depth_cap: float | None = None
    """Depth: true depths beyond it (metres) are not scored, and predictions are cut to it."""
    median_scaling: bool = False
    """Depth: multiply each image's prediction by the ratio of its true to its predicted median."""
    averaged_over: Literal["pixels", "images"] = "pixels"
    """Depth: errors of all pixels together, or the mean of each image's RMSE and delta1."""
    resamples: int = 200
    """Image-bootstrap resamples behind the intervals."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    seed: int = 0
    """Seed of drawn tokens, folds and resamples."""
    keep_shared: bool = False
    """Keep test images whose pixels are in the training set."""
    kept_maps: int = 0
    """Test images whose predicted maps are returned, for pictures of them."""
    progress: bool = False
    """Show a progress bar on standard error."""
    head: HeadConfig = field(default_factory=lambda: HeadConfig(tolerance=1e-4))
    """How the segmentation head is trained."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(
            self, folds=2, resamples=1, train_tokens=1, l2=0, ridge=0, depth_cap=1e-3
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MemorizationConfig:
    """The training budget; compare sources at equal budgets only."""

    head: Literal["linear", "bank"] = "linear"
    """``linear``: one weight vector per image; ``bank``: 128 dimensions and a memory bank."""
    epochs: int = 30
    """Passes over all views of all images."""
    batch: int = 512
    """Views per step."""
    learning_rate: float = 0.01
    """Learning rate of Adam, on features standardised and divided by the root of their number."""
    chunk: int = 8192
    """Instances whose logits are in memory at a time."""
    pooling: Pooling = "mean"
    """Vector of an image: the mean over its tokens, or its first prefix token (CLS)."""
    merge: Merge = "concat"
    """How the scales of an S2 source combine: concat (the paper's way) or add (Table 12)."""
    seed: int = 0
    """Seed of the order of the views and of the bank head's start."""
    device: str = "cpu"
    """Torch device."""
    progress: bool = False
    """Show a progress bar on standard error."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_positive(self, "epochs", "batch", "chunk", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class RandomLabelConfig:
    """How capacity is measured."""

    accuracy: float = 0.99
    """Training accuracy at which the labels count as fitted."""
    repeats: int = 3
    """Draws of images and labels over which the accuracy is averaged."""
    resolution: float = 0.02
    """Bisection stops when the bracket is at most this share of its upper end."""
    pooling: Pooling = "mean"
    """Vector of an image: the mean over its tokens, or its first prefix token (CLS)."""
    merge: Merge = "concat"
    """How the scales of an S2 source combine: concat (the paper's way) or add (Table 12)."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if not 0.5 < self.accuracy <= 1:
            raise InputError(f"accuracy must be above 0.5 and at most 1, got {self.accuracy}")
        require_at_least(self, repeats=1)
        if not 0 < self.resolution < 1:
            raise InputError(f"resolution must lie between 0 and 1, got {self.resolution}")


@dataclass(frozen=True, kw_only=True)
class HardConfig:
    """Bounds for hard, rare and ambiguous images."""

    count: int = 20
    """Hard examples reported."""
    easy: int = 2
    """Easy test images of the same class shown beside each."""
    neighbours: int = 5
    """Training images looked at around each (k)."""
    margin: float = 0.0
    """Nats that S2 may gain over the small source while still counting as no improvement."""
    rare_quantile: float = 0.95
    """Quantile of the class's own distances above which an image is rare."""
    ratio: float = 0.5
    """Likelihood of the second class over the first from which an image is ambiguous."""
    predictions: int = 3
    """Most likely classes reported for each source."""
    device: str = "cpu"
    """Where the neighbour search runs."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """How the heads are trained, and whether a progress bar shows it."""

    def __post_init__(self) -> None:
        require_at_least(self, count=1, easy=0, neighbours=1, predictions=1)
        if not 0 < self.rare_quantile < 1:
            raise InputError(f"rare_quantile must be between 0 and 1, got {self.rare_quantile}")
        if not 0 < self.ratio <= 1:
            raise InputError(f"ratio must be above 0 and at most 1, got {self.ratio}")
