"""Texts in the space that an ``open_clip:`` model shares between images and texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from feature_store.errors import InputError
from workbench.datasets.imagenet.classes import synsets
from workbench.models import timm_family
from workbench.models.names import ModelName

TAP = "proj"
"""Where images are in the shared space."""


def class_vectors(model: str, classes: Sequence[str], device: str = "cpu") -> np.ndarray:
    """Unit vectors of classes, float32, dims (class, channel): of each, the mean over its prompts.

    Parameters
    ----------
    model : str
        ``open_clip:ARCH/PRETRAINED``, or with random weights ``random:open_clip:ARCH``.
    classes : sequence of str
        Words, or ImageNet's WordNet IDs such as ``n01440764``.

    Raises
    ------
    InputError
        Another family, or weights or a tokenizer that cannot be fetched.
    """
    name = ModelName.parse(model)
    if name.kind != "open_clip":
        raise InputError(f"{model} has no text tower; zero-shot needs open_clip:ARCH/PRETRAINED")
    from open_clip.zero_shot_classifier import build_zero_shot_classifier

    words, prompts = readable(classes)
    tower, tokenizer = _tower(name)
    found = build_zero_shot_classifier(
        tower.to(device), tokenizer, words, prompts, num_classes_per_batch=4, device=device
    )
    return found.T.float().cpu().numpy()


def readable(classes: Sequence[str]) -> tuple[list[str], Sequence[Callable[[str], str]]]:
    """Classes as words, and the prompts that they stand in.

    ImageNet's WordNet IDs become open_clip's curated names, in OpenAI's 80 prompts; other
    classes lose their underscores and stand in the seven prompts that OpenAI found best.

    Examples
    --------
    >>> readable(["n01440764"])[0], readable(["golden_retriever"])[0]
    (['tench'], ['golden retriever'])
    """
    from open_clip import zero_shot_metadata as known

    numbers = dict(zip(synsets(), known.IMAGENET_CLASSNAMES, strict=True))
    if all(name in numbers for name in classes):
        return [numbers[name] for name in classes], known.OPENAI_IMAGENET_TEMPLATES
    return [name.replace("_", " ") for name in classes], known.SIMPLE_IMAGENET_TEMPLATES


def _tower(name: ModelName) -> tuple[Any, Any]:
    """The whole model in evaluation mode, and its tokenizer."""
    import open_clip

    try:
        if name.random:
            with timm_family.seeded(meta=False):
                model = open_clip.create_model(name.arch, pretrained=None)
        else:
            model = open_clip.create_model(name.arch, pretrained=name.tag, require_pretrained=True)
        return model.eval(), open_clip.get_tokenizer(name.arch)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"the text tower of {name} could not be loaded ({reason}); fetch it once on a machine "
            f"with a network and copy its hub cache over"
        ) from error
