"""Questions about stored features, one module or package each.

==================  ================================================================================
probe               How well does a linear head on pooled features tell the classes apart?
few_shot            How well does it do so after a handful of labelled images?
zero_shot           How well do class names alone, as text, tell the classes apart?
dense_probe         How well do single tokens predict segmentation and depth?
memorization        How well does a head tell every image from all others?
random_labels       How many coin-flip labels can a linear head fit?
hard_examples       On which images does a larger model lose less where S2 on a smaller does not?
label_errors        Which images are near-duplicates across splits, or labelled doubtfully?
token_maps          Which places of an image, and of all images, does a source see alike?
reconstruction      How much of one model's features is a linear function of another's?
scale_selection     Which crops of the larger scales are needed, and who can tell beforehand?
similarity          How alike are two representations of the same images?
scaling_laws        How should a network's shape grow, and does a larger vision encoder pay?
published           What do the papers' tables say, and do their figures agree with each other?
==================  ================================================================================

Each is loaded when it is first used, so ``import analyses`` is cheap:

>>> import analyses
>>> analyses.published.load("sovit_exponents").shape[0] > 0
True
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

__all__ = [
    "dense_probe",
    "few_shot",
    "hard_examples",
    "label_errors",
    "memorization",
    "probe",
    "published",
    "random_labels",
    "reconstruction",
    "scale_selection",
    "scaling_laws",
    "similarity",
    "token_maps",
    "zero_shot",
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module 'analyses' has no attribute {name!r}")
    return import_module(f"analyses.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
