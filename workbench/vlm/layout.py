"""Conversations as token numbers: where the image stands, and which tokens the loss counts.

A conversation is written in ChatML if the language model's tokenizer has those marks, otherwise as
in LLaVA-1.5, ``USER: ... ASSISTANT:``, whatever chat template the tokenizer has of its own. The
image stands once, before the first question. The loss counts answers and the mark that ends each
answer.

Source: LLaVA-1.5's ``conv_vicuna_v1`` and ``preprocess_v1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from feature_store.errors import InputError
from workbench.vlm.questions import Question

IMAGE, IGNORED = -200, -100
"""Token number of an image place, and label of a place without loss, as in LLaVA."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """How a dialogue is written."""

    name: str
    """Recorded with a run."""
    start: str
    """Before everything."""
    ask: str
    """Before a question."""
    reply: str
    """Between a question and its answer."""
    end: str
    """After an answer: the mark at which generation stops."""
    between: str
    """Between an answer's end and the next question."""


CHATML = Template(
    name="chatml", start="", ask="<|im_start|>user\n", reply="<|im_end|>\n<|im_start|>assistant\n",
    end="<|im_end|>", between="\n",
)  # fmt: skip
VICUNA = Template(
    name="vicuna_v1", ask="USER: ", reply=" ASSISTANT:", end="</s>", between="",
    start="A chat between a curious user and an artificial intelligence assistant. The assistant "
    "gives helpful, detailed, and polite answers to the user's questions. ",
)  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A conversation in token numbers."""

    ids: np.ndarray
    """(token,) int64: :data:`IMAGE` at every place of an image token."""
    labels: np.ndarray
    """(token,) int64: the token itself where the loss counts it, elsewhere :data:`IGNORED`."""


class Writer:
    """Writes conversations for a tokenizer of ``transformers``; an image takes `image_tokens`."""

    def __init__(self, tokenizer: Any, image_tokens: int) -> None:
        known = tokenizer.get_vocab()
        self.template = CHATML if "<|im_start|>" in known else VICUNA
        self.image_tokens, self._tokenizer = image_tokens, tokenizer
        end = self.words(self.template.end)
        self.end = end[-1] if self.template is CHATML or len(end) == 1 else tokenizer.eos_token_id
        begins = self.template is VICUNA and tokenizer.bos_token_id is not None
        self._start = [tokenizer.bos_token_id] if begins else []

    def conversation(self, turns: Sequence[Question]) -> Text:
        """Questions, each followed by its answer; the loss counts the answers."""
        ids = self._opening()
        labels = [IGNORED] * len(ids)
        for number, turn in enumerate(turns):
            asked = self.asked(turn.question, first=number == 0)
            answer = self.answered(turn.answer)
            ids += asked + answer
            labels += [IGNORED] * len(asked) + answer
        return Text(np.array(ids), np.array(labels))

    @property
    def opening(self) -> int:
        """Tokens before the first question, the image included."""
        return len(self._opening())

    def prompt(self, question: str) -> Text:
        """One question up to the start of its answer; without loss."""
        ids = self._opening() + self.asked(question, first=True)
        return Text(np.array(ids), np.full(len(ids), IGNORED))

    def option(self, question: str, option: str) -> Text:
        """One question and one possible answer; the loss counts the answer and its end mark."""
        return self.conversation([Question(image="", question=question, answer=option)])

    def asked(self, question: str, *, first: bool) -> list[int]:
        """Tokens of a question; the first question follows the image."""
        template = self.template
        before = "\n" if first else f"{template.between}{template.ask}"
        return self.words(f"{before}{question}{template.reply}")

    def answered(self, answer: str) -> list[int]:
        """Tokens of an answer and the mark that ends it."""
        return [*self.words(answer), self.end]

    def words(self, text: str) -> list[int]:
        """Token numbers of a text."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decoded(self, ids: Sequence[int]) -> str:
        """Text of generated tokens up to the end mark, as one line."""
        kept = list(ids)
        if self.end in kept:
            kept = kept[: kept.index(self.end)]
        return " ".join(self._tokenizer.decode(kept, skip_special_tokens=True).split())

    def _opening(self) -> list[int]:
        before = self.words(self.template.start + self.template.ask)
        return [*self._start, *before, *[IMAGE] * self.image_tokens]


def conversations(
    questions: Sequence[Question], writer: Writer, *, length: int, turns: int | None
) -> list[list[int]]:
    """Group questions into conversations; returns the question numbers of each.

    A conversation is one of the file or, if the file has none, all questions about one image. It is
    split before a question that would exceed `length` tokens or, unless it is None, `turns`
    questions.

    Raises
    ------
    InputError
        A question alone exceeds the length.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for number, question in enumerate(questions):
        groups.setdefault((question.conversation, question.image), []).append(number)
    found: list[list[int]] = []
    opening = writer.opening
    for group in groups.values():
        size = length  # so that the first question begins a conversation
        for number in group:
            question = questions[number]
            answer = len(writer.answered(question.answer))
            if size < length and (turns is None or len(found[-1]) < turns):
                whole = size + len(writer.asked(question.question, first=False)) + answer
                if whole <= length:
                    found[-1].append(number)
                    size = whole
                    continue
            size = opening + len(writer.asked(question.question, first=True)) + answer
            if size > length:
                raise InputError(
                    f"question {number + 1} (image {question.image}) has {size} tokens with its "
                    f"image and answer; expected at most {length}: shorten it or raise --length"
                )
            found.append([number])
    return found


def padded(texts: Sequence[Text], *, left: bool = False) -> dict[str, torch.Tensor]:
    """Pad the texts of a batch to one length.

    Returns
    -------
    dict
        ``ids``, ``labels`` (int64) and ``mask`` (bool; True where there is a token), each of dims
        (text, token). Padding has number 0 and label :data:`IGNORED`. It stands at the end, or at
        the beginning (`left`) for generation.
    """
    longest = max(len(text.ids) for text in texts)

    def whole(values: np.ndarray, fill: int) -> np.ndarray:
        missing = longest - len(values)
        sides = (missing, 0) if left else (0, missing)
        return np.pad(values, sides, constant_values=fill)

    ids = np.stack([whole(text.ids, 0) for text in texts])
    labels = np.stack([whole(text.labels, IGNORED) for text in texts])
    mask = np.stack([whole(np.ones(len(text.ids), bool), 0) for text in texts])
    arrays = {"ids": ids, "labels": labels, "mask": mask}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
