"""Options of ``workbench probe --dense`` and checks on their combinations, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from analyses.configs import DenseConfig
from analyses.reading.progress import watched
from feature_store.errors import InputError
from workbench.datasets.target_maps import Crop, DepthUnit
from workbench.heads.config import CropConfig, DecoderConfig, HeadName, RecipeName
from workbench.options import options_of
from workbench.training.config import TrainingConfig

STEPS = 300
"""Steps of a decoder by default; a run takes three to four minutes on two cores."""


@dataclass(frozen=True, kw_only=True)
class OnTheFly:
    """Configs of a decoder that is trained on crops, and of its evaluation."""

    config: DenseConfig
    """Task, merge, resamples, depth cap and seed."""
    decoder: DecoderConfig
    """Sizes and optimiser."""
    crops: CropConfig
    """Training crops and evaluation windows."""
    training: TrainingConfig
    """Number of steps, and checkpoints."""
    depth_unit: DepthUnit = "m"
    """Unit of the depth maps."""
    eigen_crop: Crop = "none"
    """Part of the test maps that is scored."""


@dataclass(frozen=True, kw_only=True)
class DenseOptions:
    """Options of heads that predict maps."""

    dense: Literal["segmentation", "depth"] | None = None
    """Instead, train a head on every token, for datasets with masks or depth maps."""
    per_token: Annotated[
        DenseConfig, options_of(DenseConfig, "train_tokens", "ridge", "depth_cap", "median_scaling")
    ] = field(default_factory=lambda: DenseConfig(progress=watched()))
    depth_unit: DepthUnit = "m"
    """Unit of the dataset's depth maps, with --dense depth."""
    eigen_crop: Crop = "none"
    """Score depth inside the crop of Eigen et al. for this dataset: nyu or kitti."""
    decoder: Annotated[
        DecoderConfig,
        options_of(
            DecoderConfig, "head", "hidden", "layers", "stride", "learning_rate", "max_depth"
        ),
    ] = field(default_factory=DecoderConfig)
    published: RecipeName | None = None
    """Train a decoder as published, on random crops; docs/masks.md gives its sizes, crops,
    optimiser, length and evaluation. --iterations and --batch may differ for a trial."""
    crop: int | None = None
    """Train on random square crops, this many pixels a side, and their mirror images; the model
    runs on them in each step, nothing is stored, and --train and --test may be dataset names."""
    crops: Annotated[CropConfig, options_of(CropConfig, "window", "arithmetic", "workers")] = field(
        default_factory=CropConfig
    )
    iterations: int | None = None
    """Optimiser steps of a decoder: 300 by default, or as published."""
    batch: int | None = None
    """Images per step of a decoder: 8 by default, or as published."""
    checkpoint_every: int | None = None
    """Steps between checkpoints of a decoder: 200 by default, or as published."""
    estimate: bool = False
    """Print the estimated bytes, GPU hours and memory of training a decoder, from stored tokens and
    on the fly; run nothing."""

    @property
    def crops_images(self) -> bool:
        """Whether the model runs on crops in every step."""
        return self.published is not None or self.crop is not None

    def head(self) -> HeadName:
        """Name of the head to train."""
        if self.published is None:
            return self.decoder.head
        from workbench.heads.recipes import RECIPES  # deferred: needed only here

        return RECIPES[self.published].decoder.head

    def from_tokens(self) -> tuple[DecoderConfig, TrainingConfig]:
        """Configs for training a decoder on stored tokens."""
        return self._changed(self.decoder, TrainingConfig(iterations=STEPS))

    def _changed(
        self, decoder: DecoderConfig, training: TrainingConfig
    ) -> tuple[DecoderConfig, TrainingConfig]:
        """The configs, with the options that were given explicitly."""
        asked = {"iterations": self.iterations, "checkpoint_every": self.checkpoint_every}
        given = {name: value for name, value in asked.items() if value is not None}
        if self.batch is not None:
            decoder = replace(decoder, batch=self.batch)
        return decoder, replace(training, **given)

    def on_the_fly(self, config: DenseConfig, device: str) -> OnTheFly:
        """Configs for training a decoder on crops, with model and decoder on a torch device."""
        decoder, training = self.from_tokens()
        crops, eigen_crop = self.crops, self.eigen_crop
        if self.published is not None:
            from workbench.heads.recipes import RECIPES  # deferred: needed only here

            recipe = RECIPES[self.published]
            if self.iterations is not None:
                recipe = recipe.shortened(self.iterations)
            decoder, training = self._changed(recipe.decoder, recipe.training)
            asked = {k: getattr(crops, k) for k in ("window", "arithmetic", "workers")}
            crops = replace(recipe.crops, **asked)
            config = replace(
                config, depth_cap=config.depth_cap or recipe.depth_cap,
                averaged_over=recipe.averaged_over,
            )  # fmt: skip
            eigen_crop = recipe.eigen_crop if eigen_crop == "none" else eigen_crop
        if self.crop is not None:
            crops = replace(crops, side=self.crop)
        return OnTheFly(
            config=config, decoder=replace(decoder, device=device), crops=crops,
            training=training, depth_unit=self.depth_unit, eigen_crop=eigen_crop,
        )  # fmt: skip

    def refuse_ignored(self, l2: float | None, keep_shared: bool = False) -> None:
        """Refuse options that the chosen head would silently ignore."""
        head = self.head()
        linear = head == "linear"
        sizes = replace(self.decoder, head="linear") != DecoderConfig()
        steps = (self.iterations, self.batch, self.checkpoint_every) != (None, None, None)
        if linear and (sizes or steps or self.crops_images or self.estimate):
            raise InputError(
                "--iterations, crops and the sizes of a decoder are for --head mask2former, "
                "upernet, vpd or dpt; name one, or leave them out"
            )
        if self.published is not None and (sizes or self.decoder.head not in ("linear", head)):
            raise InputError(
                f"--published {self.published} trains {head} in its published sizes; leave out "
                f"--head, --hidden, --layers, --stride, --learning-rate and --max-depth"
            )
        if self.published is not None and self.crop is not None:
            raise InputError(
                f"--published {self.published} has crops of its own; leave out --crop {self.crop}"
            )
        if self.crops_images and keep_shared:
            raise InputError(
                "training on crops compares train and test images by their ids alone and leaves "
                "none out; leave out --keep-shared"
            )
        if self.dense is None and not linear:
            raise InputError(f"--head {head} predicts maps; add --dense segmentation or depth")
        if not self.crops_images and self.crops != CropConfig():
            raise InputError(
                "--window, --arithmetic and --workers are for training on crops; add --crop or "
                "--published, or leave them out"
            )
        given = {
            "--l2": l2 is not None,
            "--ridge": self.per_token.ridge is not None,
            "--train-tokens": self.per_token.train_tokens != DenseConfig().train_tokens,
        }
        wrong = [name for name, is_given in given.items() if is_given]
        if wrong and not linear:
            raise InputError(f"{', '.join(wrong)} is for --head linear; leave it out")
