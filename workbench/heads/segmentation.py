"""Segmentation decoders: Mask2Former and UPerNet, from ``transformers``, on a feature pyramid.

Source: Cheng et al. (2022), "Masked-attention Mask Transformer for Universal Image Segmentation",
and Xiao et al. (2018), "Unified Perceptual Parsing for Scene Understanding". ``transformers``
provides layers, matching and losses; this module only chooses their sizes.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from feature_store.errors import InputError
from workbench.heads.base import DenseHead
from workbench.heads.config import DecoderConfig
from workbench.heads.pyramid import LEVELS, Pyramid

HEADS_OF_ATTENTION = 8


class UperNet(DenseHead):
    """Pyramid pooling and top-down fusion; cross-entropy of every known pixel."""

    def __init__(self, pyramid: Pyramid, config: DecoderConfig, classes: int) -> None:
        super().__init__()
        module = _transformers("upernet", config.head)
        self.pyramid = pyramid
        # Only these fields are read; a whole config would create its own backbone.
        sizes = SimpleNamespace(
            pool_scales=(1, 2, 3, 6), hidden_size=config.hidden, num_labels=classes
        )
        self.decoder = module.UperNetHead(sizes, [config.hidden] * LEVELS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits, dims (image, class, row, col)."""
        return self.decoder(self.pyramid(tokens))

    def loss(self, tokens: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy in nats over the known pixels of the truth; 0 if none is known."""
        logits = interpolate(self(tokens), truth.shape[-2:], mode="bilinear", align_corners=False)
        total = cross_entropy(logits, truth, ignore_index=-1, reduction="sum")
        return total / (truth >= 0).sum().clamp(min=1)


class Mask2Former(DenseHead):
    """Masks and their classes, proposed by queries and matched to the classes of an image.

    Ignored pixels belong to no class's mask, as in the published training.
    """

    def __init__(self, pyramid: Pyramid, config: DecoderConfig, classes: int) -> None:
        super().__init__()
        module = _transformers("mask2former", config.head)
        sizes = module.Mask2FormerConfig(
            feature_size=config.hidden, mask_feature_size=config.hidden, hidden_dim=config.hidden,
            encoder_feedforward_dim=4 * config.hidden,
            dim_feedforward=config.feedforward or 4 * config.hidden,
            encoder_layers=config.layers,
            decoder_layers=(config.masked_layers or config.layers) + 1,
            num_queries=config.queries, num_labels=classes, train_num_points=config.points,
            num_attention_heads=HEADS_OF_ATTENTION, use_auxiliary_loss=True,
        )  # fmt: skip
        self.pyramid = pyramid
        self.decoder: Any = _decoders(module, sizes)
        self.weights = {
            "loss_cross_entropy": sizes.class_weight,
            "loss_mask": sizes.mask_weight,
            "loss_dice": sizes.dice_weight,
        }
        self.criterion = module.Mask2FormerLoss(sizes, self.weights)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Score of each class, dims (image, class, row, col): the sum of its queries' masks."""
        masks, classes = self._predictions(tokens)
        share = classes[-1].softmax(-1)[..., :-1]
        return torch.einsum("nqc,nqhw->nchw", share, masks[-1].sigmoid())

    def loss(self, tokens: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Weighted sum of the losses of all layers' predictions; images without a known pixel are
        left out, and the loss is 0 if no image remains."""
        known = (truth >= 0).flatten(1).any(1)
        if not known.any():
            return torch.stack([p.sum() for p in self.parameters()]).sum() * 0
        masks, classes = self._predictions(tokens[known])
        present = [image[image >= 0].unique() for image in truth[known]]
        found = [
            (image == labels[:, None, None]).float()
            for image, labels in zip(truth[known], present, strict=True)
        ]
        inner = [
            {"masks_queries_logits": mask, "class_queries_logits": label}
            for mask, label in zip(masks[:-1], classes[:-1], strict=True)
        ]
        losses = self.criterion(masks[-1], classes[-1], found, present, inner)
        weighted = [
            weight * value
            for name, weight in self.weights.items()
            for key, value in losses.items()
            if key.startswith(name)
        ]
        return torch.stack(weighted).sum()

    def _predictions(
        self, tokens: torch.Tensor
    ) -> tuple[Sequence[torch.Tensor], list[torch.Tensor]]:
        """Mask logits, dims (image, query, row, col), and class logits of every layer."""
        decoder = self.decoder
        pixels = decoder.pixel_decoder(self.pyramid(tokens), output_hidden_states=True)
        found = decoder.transformer_module(
            multi_scale_features=pixels.multi_scale_features,
            mask_features=pixels.mask_features,
            output_hidden_states=True,
        )
        states = found.intermediate_hidden_states
        classes = [decoder.class_predictor(state.transpose(0, 1)) for state in states]
        return found.masks_queries_logits, classes


def _decoders(module: Any, sizes: Any) -> nn.Module:
    """Both decoders and the class predictor, initialised as ``transformers`` initialises them."""

    class Decoders(module.Mask2FormerPreTrainedModel):
        def __init__(self) -> None:
            super().__init__(sizes)
            self.pixel_decoder = module.Mask2FormerPixelDecoder(
                sizes, feature_channels=[sizes.feature_size] * LEVELS
            )
            self.transformer_module = module.Mask2FormerTransformerModule(sizes.hidden_dim, sizes)
            self.class_predictor = nn.Linear(sizes.hidden_dim, sizes.num_labels + 1)
            self.post_init()

    return Decoders()


def _transformers(model: str, head: str) -> Any:
    """Import the module of a model in ``transformers``."""
    try:
        return importlib.import_module(f"transformers.models.{model}.modeling_{model}")
    except ImportError as error:
        raise InputError(
            f"head {head} needs the package transformers ({error}); run "
            f"'bash scripts/setup.sh decoders' in the clone"
        ) from error
