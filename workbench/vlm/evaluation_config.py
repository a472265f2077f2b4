"""How questions are asked and answers scored. Importing this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from feature_store.errors import InputError, require_at_least, require_choices

Score = Literal["likelihood", "letter", "exact", "vqa"]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How answers are asked for and scored."""

    score: Score = "exact"
    """likelihood: the choice with the lowest mean token loss; letter: the choice whose letter is
    generated; exact: the generated answer is the expected one, things joined by commas in any
    order; vqa: soft accuracy of VQA, over the answers of several people."""
    shuffle_choices: bool = False
    """With --score letter: shuffle the choices of each question. V* lists the right one first."""
    new_tokens: int = 16
    """Largest number of tokens in a generated answer."""
    batch: int = 16
    """Texts run together."""
    seed: int = 0
    """Draws the order of choices, and which images a blind run sees."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_at_least(self, new_tokens=1, batch=1, seed=0)
        if self.shuffle_choices and self.score != "letter":
            raise InputError(
                f"--shuffle-choices is for --score letter, and --score is {self.score}, which does "
                f"not list the choices; leave it out"
            )

    def recorded(self) -> dict[str, Any]:
        """What decides whether scores are comparable: ``score``, ``choices`` (their order), and
        ``seed``, which draws this order and the images of a blind run."""
        order = "shuffled" if self.shuffle_choices else "as listed"
        return {"score": self.score, "choices": order, "seed": self.seed}
