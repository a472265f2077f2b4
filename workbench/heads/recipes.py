"""Published recipes of decoders: sizes, crops, optimiser, evaluation; torch is not imported.

The S2 paper (appendix A) trains its decoders "following the configurations here" and links two
files of mmsegmentation; for ConvNeXt (appendix C) it names only UPerNet. Every recipe differs from
its file in one way: the backbone is frozen, as in the paper. ``deviations`` lists the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from workbench.datasets.target_maps import Crop
from workbench.heads.config import CropConfig, DecoderConfig, RecipeName, Schedule
from workbench.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a decoder was trained and evaluated."""

    task: Literal["segmentation", "depth"]
    """Kind of map that the decoder predicts."""
    decoder: DecoderConfig
    """Sizes and optimiser of the decoder."""
    crops: CropConfig
    """Training crops and evaluation windows."""
    training: TrainingConfig
    """Length of the training."""
    depth_cap: float | None = None
    """Depth in metres; larger depths are not scored."""
    eigen_crop: Crop = "none"
    """Part of the test maps that is scored."""
    averaged_over: Literal["pixels", "images"] = "pixels"
    """Average depth errors over all pixels together, or per image and then over images."""
    source: str
    """File of the published configuration."""
    deviations: tuple[str, ...]
    """Differences from that file."""

    def shortened(self, iterations: int) -> Recipe:
        """This recipe with `iterations` steps and its schedule shortened in proportion."""
        share = iterations / self.training.iterations
        return replace(
            self,
            training=replace(self.training, iterations=iterations),
            decoder=replace(self.decoder, schedule=self.decoder.schedule.shortened(share)),
        )


PYRAMID = "the decoder's four levels come from one token map, not from four layers"
RECIPES: dict[str, Recipe] = {
    "ade20k-mask2former": Recipe(
        task="segmentation",
        decoder=DecoderConfig(
            head="mask2former", hidden=256, layers=6, masked_layers=9, feedforward=2048,
            queries=100, points=12544, stride=4, batch=16, learning_rate=1e-4, weight_decay=0.05,
            decay_all=False, schedule=Schedule(warm_up=0),
        ),
        crops=CropConfig(ratio_step=0.1, most_of_a_class=0.75),
        training=TrainingConfig(iterations=160_000, checkpoint_every=5000, clip=0.01),
        source="open-mmlab/mmsegmentation, "
        "configs/mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py",
        deviations=(
            PYRAMID,
            "test images are seen through windows of 512 pixels that slide by 341, as with the "
            "transformers of mmsegmentation; the file's convolutional network sees them whole",
        ),
    ),
    "ade20k-upernet": Recipe(
        task="segmentation",
        decoder=DecoderConfig(
            head="upernet", hidden=512, stride=4, batch=16, learning_rate=1e-4, weight_decay=0.05,
            decay_all=False,
            schedule=Schedule(warm_up=1500, start=1e-6, falls_from=1500, power=1.0),
        ),
        crops=CropConfig(most_of_a_class=0.75, longest_follows=True),
        training=TrainingConfig(iterations=160_000, checkpoint_every=5000),
        source="open-mmlab/mmsegmentation, "
        "configs/convnext/convnext-base_upernet_8xb2-amp-160k_ade20k-512x512.py",
        deviations=(
            PYRAMID,
            "no auxiliary head: it would train the backbone alone, which is frozen",
        ),
    ),
    "nyuv2-vpd": Recipe(
        task="depth",
        decoder=DecoderConfig(
            head="vpd", hidden=1536, deconvolved=32, output=192, stride=4, batch=32,
            learning_rate=1e-3, weight_decay=0.1, decay_all=False, max_depth=10.0,
            schedule=Schedule(
                warm_up=12_000, start=0.03, falls_from=12_000, level=1000, lowest=0.03
            ),
        ),
        crops=CropConfig(ratios=(0.8, 1.5), window_stride=128, mirrored=True),
        training=TrainingConfig(iterations=25_000, checkpoint_every=1000),
        depth_cap=10.0,
        eigen_crop="nyu",
        averaged_over="images",
        source="open-mmlab/mmsegmentation, configs/vpd/vpd_sd_4xb8-25k_nyu-512x512.py",
        deviations=(
            "the decoder reads one token map, not the four of a diffusion model",
            "no vertical mixing of depth into the image",
            "colours change as in the recipes for segmentation",
            "as many deconvolutions as reach a quarter of a crop's side, rather than three",
            "weights start as PyTorch's layers do, not from normal distributions of 0.001 and 0.02",
            "the last step's weights are scored, not those of the lowest RMSE on the test images",
        ),
    ),
}  # fmt: skip
"""Name to recipe."""
assert tuple(RECIPES) == get_args(RecipeName)
