"""How many crops and images run at a time: halved when the device runs out of memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal, TypeVar

import torch

from feature_store.errors import InputError
from workbench.models.backbone import Backbone

Result = TypeVar("Result")
Unit = Literal["crops", "images"]
"""Crops go through the model; images are interpolated and split into crops before."""

REMEDIES: dict[Unit, str] = {
    "crops": "use a smaller model or scale, a lower precision, or another device",
    "images": "use smaller scales or another device",
}


class CropLimit:
    """Crops and images that run at a time.

    Keep one for a whole run, so that a limit found once holds for the rest of it.
    """

    def __init__(self, crops: int = 64, *, log: Callable[[str], None] = warnings.warn) -> None:
        if crops < 1:
            raise InputError(f"crops per forward pass: found {crops}, expected at least 1")
        self.at_once: dict[Unit, int | None] = {"crops": crops, "images": None}
        """None: as many as are given."""
        self.log = log

    def run(
        self, unit: Unit, count: int, function: Callable[[slice], Result], backbone: Backbone
    ) -> list[Result]:
        """Results of a function on slices of `count` crops or images, as many at a time as fit."""
        results: list[Result] = []
        done = 0
        while done < count or not results:
            tried = min(self.at_once[unit] or count, count - done)
            try:
                results.append(function(slice(done, done + tried)))
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
            else:
                done += tried
                continue
            self.halve(unit, tried, backbone.info.name)  # outside the handler, which keeps tensors
            if backbone.device.type == "cuda":
                torch.cuda.empty_cache()
        return results

    def halve(self, unit: Unit, tried: int, name: str) -> None:
        """Run half as many at a time as did not fit.

        Raises
        ------
        InputError
            It was a single one.
        """
        if tried == 1:
            raise InputError(
                f"{name} runs out of memory on a single {unit.removesuffix('s')}; {REMEDIES[unit]}"
            )
        self.at_once[unit] = tried // 2
        self.log(f"out of memory: {name} continues with {tried // 2} {unit} at a time")


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
