"""Answers of a trained model, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from workbench.vlm.vision import Images, open_vision

ANSWER = 32
"""Largest number of tokens in an answer to a question about an image file."""


@torch.inference_mode()
def evaluate(
    run: Run,
    model: VisionLanguageModel,
    writer: Writer,
    images: Images,
    questions: Sequence[Question],
    config: EvaluationConfig,
    progress: bool = False,
) -> tuple[dict[str, Any], np.ndarray, list[str]]:
    """Score each question alone, as a conversation of its own.

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
        Features that were made differently from the training features; questions without choices
        where choices are scored, or with more choices than letters; questions that are too long.
    """
    vision = open_vision(images, run.identity["source"])
    refuse_other_features(run.identity["vision"], vision.manifests(), f"in {images.path}")
    rows = rows_of(questions, images.image_ids, images.path)
    vision.refuse_unreadable(rows)
    if run.config.blind:
        rows = other_images(rows, config.seed)
    if config.score in ("likelihood", "letter"):
        _require_choices(questions, config.score)
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
    found = scoring.summary(questions, scores) | {"score": config.score}
    found["choices"] = "shuffled" if config.shuffle_choices else "as listed"
    found["seed"] = config.seed
    return found, scores, answers


def _require_choices(questions: Sequence[Question], score: str) -> None:
    if lacking := [n for n, one in enumerate(questions, start=1) if len(one.choices) < 2]:
        raise InputError(
            f"--score {score} compares choices, and question {lacking[0]} has none ({len(lacking)} "
            f"in all); give them in a column choices or in columns A, B, ..., or use --score exact"
        )
    most = max(range(len(questions)), key=lambda n: len(questions[n].choices))
    if score == "letter" and len(questions[most].choices) > scoring.LETTERS:
        raise InputError(
            f"question {most + 1} has {len(questions[most].choices)} choices; --score letter takes "
            f"at most {scoring.LETTERS}: use --score likelihood"
        )


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
        for part, batch in self._batches(texts, rows, left=True):
            embedded = self.model.embeddings(batch["tokens"], batch["ids"])
            with self.model.casting(embedded.device.type):
                generated = self.model.language.generate(
                    inputs_embeds=embedded, attention_mask=batch["mask"].long(), do_sample=False,
                    max_new_tokens=self.config.new_tokens, eos_token_id=self.writer.end,
                    pad_token_id=self.writer.end,
                )  # fmt: skip
            found += [self.writer.decoded(line) for line in generated[: len(part)].tolist()]
        return found

    def choose(self, questions: Sequence[Question], rows: np.ndarray) -> list[str]:
        """The choice with the lowest mean token loss, end mark included.

        Source: penghao-wu/vstar, ``multiple_choices_inference``.
        """
        pairs = [(n, option) for n, q in enumerate(questions) for option in q.choices]
        texts = [self.writer.option(questions[n].question, option) for n, option in pairs]
        asked = [n for n, _ in pairs]
        means = self.mean_losses(texts, rows[asked], asked)
        best: dict[int, tuple[float, str]] = {}
        for (n, option), loss in zip(pairs, means, strict=True):
            if n not in best or loss < best[n][0]:
                best[n] = loss, option
        return [best[n][1] for n in range(len(questions))]

    def mean_losses(
        self, texts: Sequence[Text], rows: np.ndarray, asked: Sequence[int] | None = None
    ) -> list[float]:
        """Mean loss in nats over the labelled places of each text.

        `asked` are the numbers of the questions, if a question has several texts.
        """
        means: list[float] = []
        for _, batch in self._batches(texts, rows, left=False, asked=asked):
            counts = (batch["labels"][:, 1:] != IGNORED).sum(1)
            means += (self.model.losses(batch).sum(1) / counts).tolist()
        if not np.isfinite(means).all():
            raise InputError(
                "the loss of a choice is not finite: the model diverged; train it at a lower "
                "learning rate"
            )
        return means

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
        self,
        texts: Sequence[Text],
        rows: np.ndarray,
        *,
        left: bool,
        asked: Sequence[int] | None = None,
    ) -> Any:
        """Yield the numbers of some texts and their batch."""
        for number, text in zip(asked or range(len(texts)), texts, strict=True):
            self._refuse_long(number, len(text.ids), self.config.new_tokens if left else 0)
        device = next(self.model.parameters()).device
        size = self.config.batch
        with shown("answer", total=len(texts), unit="text", wanted=self.progress) as bar:
            for start in range(0, len(texts), size):
                part = list(range(start, min(start + size, len(texts))))
                batch = padded([texts[n] for n in part], left=left)
                batch["tokens"] = self.vision(rows[part])
                yield part, {name: value.to(device) for name, value in batch.items()}
                bar.update(len(part))

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
