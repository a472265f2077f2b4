"""Answers of a trained model, and their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from analyses.reading.progress import shown
from feature_store.errors import InputError
from workbench.training.features import refuse_other_features
from workbench.vlm import scoring
from workbench.vlm.evaluation_config import EvaluationConfig
from workbench.vlm.layout import IGNORED, Text, Writer, padded
from workbench.vlm.matching import other_images, rows_of
from workbench.vlm.model import VisionLanguageModel
from workbench.vlm.question import Question
from workbench.vlm.run import Run
from workbench.vlm.vision import Images, Vision, open_vision

ANSWER = 32
"""Largest number of tokens in an answer to a question about an image file."""


def evaluate(
    run: Run,
    model: VisionLanguageModel,
    writer: Writer,
    images: Images,
    questions: Sequence[Question],
    config: EvaluationConfig,
    progress: bool = False,
) -> tuple[dict[str, Any], np.ndarray, list[str]]:
    """:func:`prepared` and :func:`scored` in one call, and what they return and raise."""
    inputs = prepared(run, images, questions, config)
    return scored(run, model, writer, inputs, questions, config, progress)


def prepared(
    run: Run, images: Images, questions: Sequence[Question], config: EvaluationConfig
) -> tuple[Vision, np.ndarray]:
    """Vision tokens and the row of each question's image, int64, dims (question,).

    Makes every check that needs no language model, for a call before that is loaded.

    Raises
    ------
    InputError
        Features that are missing or were made differently from the training features; images that
        are missing or cannot be read; questions without what their score needs: choices, at most as
        many as letters, or the answers of several people.
    """
    scoring.require_scorable(questions, config.score)
    vision = open_vision(images, run.identity["source"])
    refuse_other_features(run.identity["vision"], vision.manifests(), f"in {images.path}")
    rows = rows_of(questions, images.image_ids, images.path)
    vision.refuse_unreadable(rows)
    return vision, other_images(rows, config.seed) if run.config.blind else rows


@torch.inference_mode()
def scored(
    run: Run,
    model: VisionLanguageModel,
    writer: Writer,
    inputs: tuple[Vision, np.ndarray],
    questions: Sequence[Question],
    config: EvaluationConfig,
    progress: bool = False,
) -> tuple[dict[str, Any], np.ndarray, list[str]]:
    """Score each question alone, as a conversation of its own.

    Parameters
    ----------
    inputs : tuple
        What :func:`prepared` returns for these questions.

    Returns
    -------
    dict
        ``questions``, ``accuracy``, ``low``, ``high``, ``by_type``; ``score``, ``choices`` (their
        order), ``seed`` (which draws it, and the images of a blind run).
    float array, dims (question,)
        Scores.
    list of str
        Answers.

    Raises
    ------
    InputError
        Questions that are too long; a loss that is not finite.
    """
    vision, rows = inputs
    asked = Answerer(model, writer, vision, run.config.length, config, progress)
    if config.score == "likelihood":
        answers = asked.choose(questions, rows)
        scores = np.array([float(a == q.answer) for a, q in zip(answers, questions, strict=True)])
    elif config.score == "letter":
        answers, scores = asked.letters(questions, rows)
    else:
        texts = [writer.prompt(question.question) for question in questions]
        answers = asked.generate(texts, rows)
        score = scoring.vqa if config.score == "vqa" else scoring.exact
        scores = np.array([score(q, a) for q, a in zip(questions, answers, strict=True)])
    return scoring.summary(questions, scores) | config.recorded(), scores, answers


def _by_number(number: int) -> str:
    return f"question {number + 1}"


@dataclass(frozen=True)
class Answerer:
    """Generates and scores a model's answers."""

    model: VisionLanguageModel
    writer: Writer
    vision: Any
    """Function from rows to tokens, float32, dims (image, row, col, channel)."""
    length: int
    """Largest number of tokens in a text with its image."""
    config: EvaluationConfig
    progress: bool
    """Show a bar."""
    called: Callable[[int], str] = _by_number
    """Number of a question to its name in messages."""
    bound: str = "--new-tokens"
    """Name in messages of what bounds the answers."""

    def generate(self, texts: Sequence[Text], rows: np.ndarray) -> list[str]:
        """Generate an answer to each text by greedy decoding."""
        found: list[str] = []
        for batch in self._batches(texts, rows, range(len(texts)), left=True):
            embedded = self.model.embeddings(batch["tokens"], batch["ids"])
            with self.model.casting(embedded.device.type):
                generated = self.model.language.generate(
                    inputs_embeds=embedded, attention_mask=batch["mask"].long(), do_sample=False,
                    max_new_tokens=self.config.new_tokens, eos_token_id=self.writer.end,
                    pad_token_id=self.writer.end,
                )  # fmt: skip
            found += [self.writer.decoded(line) for line in generated.tolist()]
        return found

    def choose(self, questions: Sequence[Question], rows: np.ndarray) -> list[str]:
        """The choice with the lowest mean token loss in nats, end mark included.

        Source: penghao-wu/vstar, ``multiple_choices_inference``.
        """
        pairs = [(n, option) for n, q in enumerate(questions) for option in q.choices]
        texts = [self.writer.option(questions[n].question, option) for n, option in pairs]
        asked = [n for n, _ in pairs]
        means: list[float] = []
        for batch in self._batches(texts, rows[asked], asked, left=False):
            counts = (batch["labels"][:, 1:] != IGNORED).sum(1)
            means += (self.model.losses(batch).sum(1) / counts).tolist()
        best: dict[int, tuple[float, str]] = {}
        for (n, option), loss in zip(pairs, means, strict=True):
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss of choice {option!r} of {self.called(n)} is {loss}; expected a "
                    f"finite number: the model diverged, train it at a lower learning rate"
                )
            if n not in best or loss < best[n][0]:
                best[n] = loss, option
        return [best[n][1] for n in range(len(questions))]

    def letters(
        self, questions: Sequence[Question], rows: np.ndarray
    ) -> tuple[list[str], np.ndarray]:
        """Generated answers to lettered choices, and scores: 1 for the letter of the answer."""
        config = self.config
        orders = [
            scoring.order_of_options(question, config.shuffle_choices, config.seed, number)
            for number, question in enumerate(questions)
        ]
        texts = [
            self.writer.prompt(scoring.letter_prompt(question, order))
            for question, order in zip(questions, orders, strict=True)
        ]
        answers = self.generate(texts, rows)
        scores = []
        for question, order, answer in zip(questions, orders, answers, strict=True):
            place = scoring.letter(answer, len(order))
            right = place is not None and question.choices[order[place]] == question.answer
            scores.append(float(right))
        return answers, np.array(scores)

    def _batches(
        self, texts: Sequence[Text], rows: np.ndarray, asked: Sequence[int], *, left: bool
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Yield batches of texts; `asked` is the number of each text's question."""
        for number, text in zip(asked, texts, strict=True):
            self._refuse_long(number, len(text.ids), self.config.new_tokens if left else 0)
        device = next(self.model.parameters()).device
        size = self.config.batch
        with shown("answer", total=len(texts), unit="text", wanted=self.progress) as bar:
            for start in range(0, len(texts), size):
                part = slice(start, start + size)
                batch = padded(texts[part], left=left)
                batch["tokens"] = self.vision(rows[part])
                yield {name: value.to(device) for name, value in batch.items()}
                bar.update(len(texts[part]))

    def _refuse_long(self, number: int, tokens: int, answer: int) -> None:
        room = self.length - tokens
        found = f"{self.called(number)} has {tokens} tokens with its image"
        remedy = "or train with a larger --length"
        if room < min(answer, 1):
            most = self.length - (answer if answer < self.length else 0)
            raise InputError(f"{found}; expected at most {most}: shorten it, {remedy}")
        if room < answer:
            raise InputError(
                f"{found}, which leaves {room} of the run's {self.length} for an answer, and "
                f"{self.bound} is {answer}; lower it to at most {room}, {remedy}"
            )


def answer(
    run: Run, model: VisionLanguageModel, writer: Writer, tokens: torch.Tensor, question: str
) -> str:
    """The model's answer about one image's tokens, float32, dims (1, row, col, channel).

    It has at most :data:`ANSWER` tokens, or as many as the run's length leaves.

    Raises
    ------
    InputError
        An empty question, or one that is too long.
    """
    require_text(question)
    text, length = writer.prompt(question), run.config.length
    room = length - len(text.ids)
    config = EvaluationConfig(new_tokens=min(ANSWER, room) if room > 0 else ANSWER)
    asked = Answerer(
        model, writer, lambda rows: tokens, length, config, False, lambda number: "--question"
    )
    with torch.inference_mode():
        return asked.generate([text], np.array([0]))[0]


def require_text(question: str) -> None:
    """Refuse (InputError) an empty question."""
    if not question.strip():
        raise InputError("--question is empty; ask something about the image")
