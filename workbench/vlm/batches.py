"""Batches of conversations with the vision tokens of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from workbench.training.randomness import rows_of_step, step_generator
from workbench.vlm.layout import IGNORED, Writer, padded
from workbench.vlm.questions import Question
from workbench.vlm.vision import StoredVision


@dataclass(frozen=True)
class Conversations:
    """Conversations with their images."""

    vision: StoredVision
    writer: Writer
    questions: Sequence[Question]
    groups: Sequence[Sequence[int]]
    """Questions of each conversation, by number."""
    images: np.ndarray
    """(conversation,) int: store rows."""

    def batch(self, step: int, size: int, seed: int) -> dict[str, torch.Tensor]:
        """Texts and vision tokens of a step.

        Turns are shuffled anew in every step, unless the file gives their order.
        """
        random = step_generator(step, seed)
        chosen = rows_of_step(step, count=len(self.groups), batch=size, seed=seed)
        texts = []
        for number in chosen.tolist():
            group = list(self.groups[number])
            if not self.questions[group[0]].conversation:
                random.shuffle(group)
            texts.append(self.writer.conversation([self.questions[n] for n in group]))
        return padded(texts) | {"tokens": self.vision(self.images[chosen])}


def split(batch: dict[str, torch.Tensor], together: int) -> list[dict[str, torch.Tensor]]:
    """Split a batch into parts whose losses average to the loss of the batch.

    A part has at most `together` texts. Its ``share`` is the number of labelled places that its
    summed loss is divided by.
    """
    texts = len(batch["ids"])
    starts = range(0, texts, together)
    places = (batch["labels"][:, 1:] != IGNORED).sum()
    common = {"share": places / len(starts), "tokens_of_batch": batch["mask"].sum()}
    return [
        {name: value[first : first + together] for name, value in batch.items()} | common
        for first in starts
    ]
