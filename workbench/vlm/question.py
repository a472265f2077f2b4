"""A question about an image. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question about an image, with its right answer."""

    image: str
    """Name of the image in the file."""
    question: str
    answer: str
    """The answer to train on, and to compare an exact match with."""
    choices: tuple[str, ...] = ()
    """Options of a multiple choice, in the order of the file; `answer` is one of them."""
    answers: tuple[str, ...] = ()
    """Answers of several people, for the soft accuracy of VQA."""
    type: str = ""
    """Kind of question, for scores by kind; empty if the file names none."""
    conversation: str = ""
    """Conversation that the question belongs to; empty if the file has no conversations."""
