"""The bundled weights recognise real photographs: mapping and transform are right."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from workbench import models

PHOTOGRAPHS = Path(os.environ.get("IMAGENET_SAMPLE", ""))
"""A folder with 500 validation images and labels.csv (columns file, imagenet_class_index)."""


@pytest.mark.slow
@pytest.mark.skipif(
    "IMAGENET_SAMPLE" not in os.environ, reason="IMAGENET_SAMPLE names no folder of photographs"
)
def test_lite0_recognises_four_photographs_of_five():
    """Top-1 accuracy on 500 ImageNet photographs, every second class; 80.8 % was seen."""
    backbone = models.load("bundled:efficientnet_lite0")
    rows = list(csv.DictReader((PHOTOGRAPHS / "labels.csv").open()))
    assert len(rows) == 500
    right = 0
    for start in range(0, len(rows), 50):
        batch = rows[start : start + 50]
        pixels = [_pixels(backbone, PHOTOGRAPHS / row["file"]) for row in batch]
        labels = torch.tensor([int(row["imagenet_class_index"]) for row in batch])
        logits = backbone.classify(backbone.normalise(torch.stack(pixels)))
        right += int((logits.argmax(dim=1) == labels).sum())
    assert right / len(rows) >= 0.80


def _pixels(backbone, path):
    return torch.from_numpy(backbone.info.transform(Image.open(path).convert("RGB")))
