"""How many crops and images run at a time: halved when the device runs out of memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import Executor
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

    def __init__(
        self,
        crops: int = 64,
        *,
        log: Callable[[str], None] = warnings.warn,
        streams: Executor | None = None,
    ) -> None:
        if crops < 1:
            raise InputError(f"crops per forward pass: found {crops}, expected at least 1")
        self.at_once: dict[Unit, int | None] = {"crops": crops, "images": None}
        """None: as many as are given."""
        self.log = log
        self.streams = streams
        """Runs crops side by side, as many at once in each of its threads; None: one after another.
        """

    def run(
        self, unit: Unit, count: int, function: Callable[[slice], Result], backbone: Backbone
    ) -> list[Result]:
        """Results of a function on slices of `count` crops or images, as many at a time as fit."""
        side_by_side = self.streams.map if self.streams and unit == "crops" else map
        results: list[Result] = []
        done = 0
        while done < count or not results:
            tried = min(self.at_once[unit] or count, count - done)
            starts = range(done, count, tried) if count else range(1)
            parts = [slice(start, min(start + tried, count)) for start in starts]
            try:
                for part, result in zip(parts, side_by_side(function, parts), strict=True):
                    results.append(result)
                    done = part.stop
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            else:
                continue
            # Outside the handler, which keeps tensors.
            self.halve(unit, min(tried, count - done), backbone.info.name)
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


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch failed to allocate memory, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
