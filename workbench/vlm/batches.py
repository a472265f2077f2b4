"""Batches of conversations with the vision tokens of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workbench.training import ranks
from workbench.training.randomness import rows_of_step, step_generator
from workbench.vlm.layout import IGNORED, Text, Writer, padded
from workbench.vlm.questions import Question
from workbench.vlm.vision import Vision


@dataclass(frozen=True)
class Conversations:
    """Conversations with their images."""

    vision: Vision
    writer: Writer
    questions: Sequence[Question]
    groups: Sequence[Sequence[int]]
    """Questions of each conversation, by number."""
    images: np.ndarray
    """(conversation,) int: rows of their images."""

    def batch(self, step: int, size: int, seed: int) -> dict[str, torch.Tensor]:
        """Texts and vision tokens of this process's share of a step: every n-th of n processes.

        Turns are shuffled anew in every step, unless the file gives their order. Every process
        writes all `size` texts, for their :func:`totals`, but reads only its own images' tokens.
        """
        random = step_generator(step, seed)
        chosen = rows_of_step(step, count=len(self.groups), batch=size, seed=seed)
        texts = []
        for number in chosen.tolist():
            group = list(self.groups[number])
            if not self.questions[group[0]].conversation:
                random.shuffle(group)
            texts.append(self.writer.conversation([self.questions[n] for n in group]))
        own = slice(ranks.rank(), None, ranks.count())
        tokens = self.vision(self.images[chosen[own]])
        return padded(texts[own]) | {"tokens": tokens} | totals(texts)


def totals(texts: Sequence[Text]) -> dict[str, torch.Tensor]:
    """Of a whole step: ``places_of_step`` that the loss counts, and ``tokens_of_step``; int64."""
    places = sum(int((text.labels[1:] != IGNORED).sum()) for text in texts)
    tokens = sum(len(text.ids) for text in texts)
    return {"places_of_step": torch.tensor(places), "tokens_of_step": torch.tensor(tokens)}


def split(batch: dict[str, torch.Tensor], together: int) -> list[dict[str, torch.Tensor]]:
    """Split a process's share of a step into parts of at most `together` texts.

    The summed loss of a part is divided by its ``share`` of the places of the step, so that losses,
    averaged over the parts and the processes, are the loss per place of the whole step. Shares are
    of one size, so that every process has as many parts.
    """
    whole = {name: value for name, value in batch.items() if value.ndim == 0}
    each = {name: value for name, value in batch.items() if name not in whole}
    starts = range(0, len(batch["ids"]), together)
    common = whole | {"share": whole["places_of_step"] / (len(starts) * ranks.count())}
    return [
        {name: value[first : first + together] for name, value in each.items()} | common
        for first in starts
    ]
