"""A trained run as a model of ``lmms-eval``, the field's engine for multimodal benchmarks.

The engine finds it by the entry point ``lmms_eval.models``:

    lmms-eval --model s2_workbench --model_args run=runs/lora --tasks TASK

Images go through the run's encoder on the spot; several of one document are pasted side by side
into one. The class is made when the engine asks for it, so that this module can be imported without
the engine.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from feature_store.errors import InputError
from feature_store.source import Source
from workbench.datasets.decode import DecodeError, decode
from workbench.models.run_names import find_run
from workbench.results.messages import note
from workbench.vlm.evaluate import Answerer
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.run import Run
from workbench.vlm.vision import Encoder, decoding_as

NAME = "s2_workbench"
"""Name of the model, as ``lmms-eval --model`` takes it."""
_MARKS = re.compile(r"<image(?: \d+)?>")
"""Places of images in a question; MMMU numbers them."""
IMAGES = 64
"""Images whose tokens are in memory together."""


def manifest() -> Any:
    """Name and class of the model, for the engine's entry point."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id=NAME, simple_class_path=f"{__name__}.Model")


@functools.cache
def __getattr__(name: str) -> Any:
    if name != "Model":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lmms_eval.api.model import lmms

    return type("Model", (Answering, lmms), {"is_simple": True})


class Answering:
    """The engine's requests, answered by a run.

    A request's arguments are those of the engine's "simple" models: text, generation options, a
    function from a document to its images, number of the document, task, split.

    `run` is the folder of the run, `encoder` the ``run:FOLDER`` of the frozen model, if it was
    trained here. A `batch_size` of auto is 1. Other options, which the engine passes to every
    model, are ignored.
    """

    task_dict: Any
    """The engine's datasets, by task and split."""

    def __init__(
        self,
        run: str,
        encoder: str | None = None,
        device: str = "cpu",
        batch_size: int | str = 1,
        **options: Any,
    ) -> None:
        super().__init__()
        self._run = Run.open(Path(run))
        source = self._run.identity["source"]
        find_run(Source.parse(source).model, encoder)
        vision = self._run.identity["vision"]
        self._batch = _batch(batch_size)
        self._decoding = decoding_as(vision)
        self._encoder = Encoder(vision, source, note, device)
        self._model, self._writer = self._run.model(device, note)
        self._told = False
        """Whether the first document of several images was named."""

    @torch.inference_mode()
    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Greedy answers, cut at the first of a request's ``until`` marks."""
        found: list[str] = []
        for part, tokens in self._parts(requests):
            options = [request.args[1] for request in part]
            most = max(int(one.get("max_new_tokens", 16)) for one in options)
            texts = [self._writer.prompt(_text(request)) for request in part]
            answers = self._answerer(part, tokens, most).generate(texts, np.arange(len(part)))
            found += [_cut(text, one) for text, one in zip(answers, options, strict=True)]
        return found

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not supported: the engine turns the losses of choices into text, and cannot score it."""
        raise InputError(
            f"{NAME} generates answers; choose a task whose output_type is generate_until, or "
            f"compare choices with `workbench vlm eval --score likelihood`"
        )

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not supported: a run answers one question at a time."""
        raise InputError(f"{NAME} answers single questions; choose a task without several rounds")

    def _parts(self, requests: Sequence[Any]) -> Iterator[tuple[Sequence[Any], torch.Tensor]]:
        """Yield some requests and the image tokens of each."""
        for start in range(0, len(requests), IMAGES):
            part = requests[start : start + IMAGES]
            names = [f"{request.args[4]}/{request.args[5]}/{request.args[3]}" for request in part]
            contents = {
                name: self._image(request) for name, request in zip(names, part, strict=True)
            }
            tokens = self._encoder(list(contents), contents.__getitem__)
            places = {name: place for place, name in enumerate(contents)}
            yield part, tokens[[places[name] for name in names]]

    def _image(self, request: Any) -> bytes:
        number, task, split = request.args[3:6]
        images = request.args[2](self.task_dict[task][split][number])
        if not images:
            raise InputError(
                f"{_name(request)} has no image; {NAME} answers questions about images: choose a "
                f"task whose documents have one"
            )
        try:
            pictures = [Image.fromarray(decode(image, self._decoding)) for image in images]
        except DecodeError as error:
            raise InputError(
                f"an image of {_name(request)} cannot be read: {error}; mend it, or choose another "
                f"task"
            ) from error
        if len(pictures) > 1 and not self._told:
            self._told = True
            note(
                f"note: {_name(request)} has {len(pictures)} images, which are pasted side by side "
                f"into one; so are those of other documents"
            )
        content = io.BytesIO()
        side_by_side(pictures).save(content, "PNG")
        return content.getvalue()

    def _answerer(self, part: Sequence[Any], tokens: torch.Tensor, new_tokens: int) -> Answerer:
        config = EvaluationConfig(new_tokens=max(new_tokens, 1), batch=self._batch)
        return Answerer(
            self._model, self._writer, lambda rows: tokens[rows], self._run.config.length, config,
            False, lambda number: _name(part[number]), "the task's max_new_tokens",
        )  # fmt: skip


def side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one height, from left to right, with about as many pixels as they have together.

    Examples
    --------
    >>> side_by_side([Image.new("RGB", (30, 20)), Image.new("RGB", (20, 80))]).size
    (62, 35)
    """
    if len(pictures) == 1:
        return pictures[0]
    pixels = sum(one.width * one.height for one in pictures)
    height = math.sqrt(pixels / sum(one.width / one.height for one in pictures))
    sizes = [(round(height * one.width / one.height) or 1, round(height)) for one in pictures]
    whole = Image.new("RGB", (sum(width for width, _ in sizes), round(height)))
    left = 0
    for one, size in zip(pictures, sizes, strict=True):
        whole.paste(one.resize(size), (left, 0))
        left += size[0]
    return whole


def _batch(size: int | str) -> int:
    """The number of texts run together."""
    text = str(size)
    if text.partition(":")[0] == "auto":
        return 1
    if not text.isdecimal() or not int(text):
        raise InputError(f"batch_size is {size!r}; expected a number of at least 1, or auto")
    return int(text)


def _name(request: Any) -> str:
    return f"document {request.args[3]} of {request.args[4]}"


def _text(request: Any) -> str:
    return _MARKS.sub("", str(request.args[0])).strip()


def _cut(text: str, options: dict[str, Any]) -> str:
    """Text up to the first mark of a request; an answer is one line, so blank marks are skipped."""
    marks = options.get("until") or []
    for mark in [marks] if isinstance(marks, str) else marks:
        if mark.strip():
            text = text.partition(mark)[0]
    return text
