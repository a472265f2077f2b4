"""Options of scale selection, in a module that does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feature_store.errors import InputError, require_at_least

POLICIES = ("oracle", "random", "centre", "bottom-up", "norm", "variance", "top-down")
"""All policies: an upper reference, two lower references, a fitted policy, and scores of tokens."""
SIMPLE = ("random", "centre", "norm", "variance")
"""Policies without a fit, which rank the crops within each image."""
BUDGETS = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Default budgets: shares of the crops of the larger scales."""


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """Policies and budgets to compare, and how predictors are fitted."""

    policies: tuple[str, ...] = ("oracle", "random", "centre", "bottom-up", "norm")
    """Policies that choose the crops."""
    budgets: tuple[float, ...] = BUDGETS
    """Shares of the larger scales' crops to run, each a mean over the dataset."""
    folds: int = 3
    """Groups of training images; predictors fitted on the others measure the gains of each."""
    l2: float | None = None
    """Penalty of logistic heads; by default chosen once for each budget, on training images."""
    ridge: float | None = None
    """Penalty of least squares, relative; by default chosen on training images."""
    train_tokens: int = 2**17
    """Largest number of training tokens of a dense head, equally many per image; half a MiB per
    channel."""
    resamples: int = 1000
    """Resamples of the test images behind the intervals."""
    confidence: float = 0.95
    """Coverage of the intervals."""
    seed: int = 0
    """Seed of the random policy, of drawn tokens, of folds and of resamples."""
    keep_shared: bool = False
    """Keep test images whose pixels are in the training set."""
    progress: bool = False
    """Show a progress bar on standard error."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.policies if name not in POLICIES]
        if unknown or not self.policies:
            found = unknown[0] if unknown else "none"
            raise InputError(f"policy {found!r}; choose from {', '.join(POLICIES)}")
        refuse_budgets(self.budgets)
        require_at_least(self, folds=2, train_tokens=1, resamples=1, l2=0, ridge=0)
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence is {self.confidence}; expected a number like 0.95")


def refuse_budgets(budgets: Sequence[float]) -> None:
    """Refuse budgets that are not shares of the crops."""
    wrong = [budget for budget in budgets if not 0 <= budget <= 1]
    if wrong or not budgets:
        found = f"{wrong[0]:g}" if wrong else "none"
        raise InputError(f"budget is {found}; expected a share of the crops, 0 to 1, such as 0.25")
