"""What is reconstructed from what, and how: the question and its options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from analyses.moments.second_moments import MomentsConfig
from analyses.reading.features import Features
from feature_store.errors import InputError, require_at_least, require_choices
from feature_store.source import Source, names_of


@dataclass(frozen=True, kw_only=True)
class ReconstructionConfig:
    """How the maps are fitted and evaluated."""

    ridge: float | str = "auto"
    """"auto" chooses by cross-validation over folds of images; 0 is least squares, the paper's
    way; a number is the penalty relative to the mean eigenvalue of the source covariance."""
    folds: int = 5
    """Folds of images for ridge="auto"."""
    resamples: int = 1000
    """Resamples of the test images behind the 95 % intervals."""
    seed: int = 0
    """Seed of the resamples."""
    grid: Literal["same", "pool"] = "pool"
    """"pool" averages all token maps to the common grid, the coarsest of them; "same" refuses
    sources whose grids differ."""
    precision: Literal["float32", "float64"] = "float32"
    """Type of the products of tokens; sums are always float64."""
    device: str = "cpu"
    """Torch device of the products."""
    decompose: bool = False
    """Also report each scale's part, the curve over ranks, and the log-det measure."""
    moments: str | None = None
    """Where to store the training moments (a ``moments.zarr``): loaded if they are there, completed
    if an interruption left them unfinished."""
    keep_shared: bool = False
    """Keep test images whose pixels are in the training set."""
    progress: bool = False
    """Show a progress bar on standard error."""

    def __post_init__(self) -> None:
        if self.ridge != "auto" and not (
            isinstance(self.ridge, int | float) and 0 <= self.ridge < float("inf")
        ):
            raise InputError(f'ridge is {self.ridge!r}; expected "auto", 0 or a positive number')
        require_choices(self)
        require_at_least(self, resamples=1)

    def accumulation(self, question: ReconstructionQuestion) -> MomentsConfig:
        """How to accumulate training moments that answer the question."""
        return MomentsConfig(
            folds=self.folds,
            precision=self.precision,
            device=self.device,
            targets=() if self.decompose else question.targets_only,
        )


@dataclass(frozen=True)
class ReconstructionQuestion:
    """Full names of what is reconstructed from what, the reference among the sources."""

    target: str
    sources: tuple[str, ...]
    """One for each row of the result."""
    reference: str = ""
    """One of the sources, which the others are compared with; empty if there is none."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("no source to reconstruct from; name at least one")
        repeated = {name for name in self.sources if self.sources.count(name) > 1}
        if repeated:
            raise InputError(f"source named twice: {', '.join(sorted(repeated))}")

    @classmethod
    def resolve(
        cls, features: Features, target: str, sources: Sequence[str], reference: str | None
    ) -> ReconstructionQuestion:
        """Fill in taps; the reference becomes the last row unless it is one of the sources."""
        names = [str(features.resolve(name)) for name in names_of(sources)]
        last = str(features.resolve(reference)) if reference else ""
        if last and last not in names:
            names.append(last)
        return cls(str(features.resolve(target)), tuple(names), last)

    @staticmethod
    def parts(name: str) -> tuple[str, ...]:
        """Single-scale sources of a source, in channel order."""
        return tuple(str(single) for single in Source.parse(name).singles())

    @property
    def used(self) -> list[str]:
        """Every single-scale source that is needed, each once."""
        names = [*self.sources, self.target]
        return list(dict.fromkeys(single for name in names for single in self.parts(name)))

    @property
    def targets_only(self) -> tuple[str, ...]:
        """Scales of the target that no source uses: half of their products are spared."""
        inputs = {single for name in self.sources for single in self.parts(name)}
        return tuple(s for s in self.parts(self.target) if s not in inputs)
