"""Held-out losses of logistic heads for one penalty after another, all folds in one problem.

For each fold k the objective of :mod:`analyses.linear.logistic` over the rows outside of k. The
objectives of the folds share no weight, so their sum is minimised at once: each pass multiplies a
block of rows with the heads of all folds that train on it.

The heads of a penalty start on the line through those of the two penalties before it, which halves
the passes where penalties fall in equal ratios. L-BFGS runs on rescaled weights. With R the rows'
correlation matrix, V its eigenvectors and e its eigenvalues, p the probabilities at the start, and
c = mean of p (1 - p) for a class and fold:

    weight = V u / sqrt(l2 + c e),   bias = v / sqrt(c)

where l2 + c e and c are about the curvature along u and v. Few passes are left of those that the
plain solver takes, most of all those for the bias of a rare class, which no penalty holds.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.optimize import OptimizeResult, minimize

from analyses.linear.head import Head
from analyses.linear.logistic import LogisticProblem, threads_for

ROTATED = 2048
"""Channels up to which eigenvectors are used; computing them takes channels^3 operations."""
RARE = 1e-6
"""Least c: a class that the head never expects has no curvature."""
BLOCK_NUMBERS = 2**24
"""Logits in memory at a time."""


class FoldedFits:
    """Heads without each fold, for one penalty after another.

    Parameters
    ----------
    problem : LogisticProblem
        Its rows must be in memory; a second copy is held, sorted by fold.
    folds : int array, dims (row,)
        Fold in which the row is held out, -1 = never.
    """

    def __init__(self, problem: LogisticProblem, folds: np.ndarray) -> None:
        self.problem, self.count = problem, int(folds.max()) + 1
        rows = torch.cat(list(problem.blocks()))
        place = torch.from_numpy(folds).to(rows.device)
        self._groups = [
            (fold, rows[place == fold], problem.labels[place == fold])
            for fold in range(-1, self.count)
            if bool((place == fold).any())
        ]
        trained = len(folds) - torch.bincount(place[place >= 0], minlength=self.count)
        self._share = (1 / trained.double())[:, None]
        self._basis, self._variance = _directions(rows)
        priors = torch.stack(
            [
                torch.bincount(problem.labels[place != fold], minlength=problem.classes)
                for fold in range(self.count)
            ]
        )
        size = (self.count, problem.classes, rows.shape[1] + 1)
        self._at = torch.zeros(size, dtype=torch.float64, device=rows.device)
        log = (priors * self._share).clamp(min=RARE).log()
        self._at[..., -1] = log - log.mean(1, keepdim=True)
        self._before = self._at

    def held_out_loss(self, l2: float, tolerance: float) -> float:
        """Cross-entropy in nats of every row that is held out, summed.

        Parameters
        ----------
        l2 : float
            Penalty, > 0, relative to the mean loss per row.
        tolerance : float
            Stop when no component of the gradient (nats) is larger.
        """
        self._at, self._before = 2 * self._at - self._before, self._at
        scale = self._scale(l2)
        steepest = np.inf

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal steepest
            at = self._turned(torch.from_numpy(flat).view(scale.shape).to(scale.device) * scale)
            loss, gradient = self._loss(at)
            gradient[..., :-1] += l2 * at[..., :-1]
            steepest = float(gradient.abs().max())
            penalty = l2 / 2 * float(at[..., :-1].square().sum())
            back = self._turned(gradient, back=True) * scale
            return loss + penalty, back.flatten().cpu().numpy()

        def close(intermediate_result: OptimizeResult) -> None:
            if steepest <= tolerance:
                raise StopIteration

        limits = {"maxiter": self.problem.config.max_passes}
        start = self._turned(self._at, back=True) / scale
        with threads_for(sum(x.numel() for _, x, _ in self._groups) * self._at.shape[1]):
            found = minimize(
                objective,
                start.flatten().cpu().numpy(),
                jac=True,
                method="L-BFGS-B",
                callback=close,
                options={"gtol": 0.0, "ftol": 0.0, **limits},
            )
        self._at = self._turned(torch.from_numpy(found.x).view(scale.shape).to(scale) * scale)
        return self._held_out()

    def _loss(self, at: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Sum over folds of the mean loss of their training rows, and its gradient."""
        gradient, total = torch.zeros_like(at), 0.0
        for folds, x, labels, logits in self._logits(at):
            logits -= logits.amax(1, keepdim=True)
            own = logits.gather(1, labels)
            sums = logits.exp_().sum(1, keepdim=True)
            share = self._share[folds, :, None].to(x.dtype)
            total += float((share * (sums.log() - own)).sum(dtype=torch.float64))
            residual = logits.mul_(share / sums).scatter_add_(1, labels, -share.expand_as(own))
            product = residual.flatten(0, 1) @ x
            gradient[folds, :, :-1] += product.view(*residual.shape[:2], -1)
            gradient[folds, :, -1] += residual.sum(2, dtype=torch.float64)
        return total, gradient

    def _logits(
        self, at: torch.Tensor
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Folds that train on a block, its rows, their labels, and dims (fold, class, row)."""
        for held_out, rows, labels in self._groups:
            folds = [fold for fold in range(self.count) if fold != held_out]
            heads = at[folds].flatten(0, 1).to(rows.dtype)
            size = max(1, BLOCK_NUMBERS // len(heads))
            for x, y in zip(rows.split(size), labels.split(size), strict=True):
                logits = (heads[:, :-1] @ x.T).add_(heads[:, -1:])
                shape = (len(folds), self.problem.classes, len(x))
                yield folds, x, y.expand(len(folds), 1, -1), logits.view(shape)

    def _held_out(self) -> float:
        total = 0.0
        for fold, x, labels in self._groups:
            if fold >= 0:
                logits = x.double() @ self._at[fold, :, :-1].T + self._at[fold, :, -1]
                total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
        return total

    def _scale(self, l2: float) -> torch.Tensor:
        """Weight per unit of u and v, at the probabilities of the present heads."""
        curvature = torch.zeros_like(self._at[..., 0])
        for folds, _, _, logits in self._logits(self._at):
            p = logits.softmax(1)
            curvature[folds] += (p * (1 - p)).sum(2, dtype=torch.float64)
        curvature = (curvature * self._share).clamp(min=RARE)[..., None]
        return torch.cat([l2 + curvature * self._variance, curvature], 2).rsqrt()

    def _turned(self, at: torch.Tensor, *, back: bool = False) -> torch.Tensor:
        """Convert weights along eigenvectors into weights of channels, or back."""
        if self._basis is None:
            return at.clone()
        basis = self._basis if back else self._basis.T
        weights = at[..., :-1].to(basis.dtype) @ basis
        return torch.cat([weights.double(), at[..., -1:]], 2)


class FitsInTurn:
    """The losses of :class:`FoldedFits` for rows that every pass reads again, fold after fold."""

    def __init__(self, problem: LogisticProblem, folds: np.ndarray) -> None:
        self.problem, self.folds = problem, folds
        self._heads: dict[int, Head | None] = dict.fromkeys(range(folds.max() + 1))

    def held_out_loss(self, l2: float, tolerance: float) -> float:
        """As :meth:`FoldedFits.held_out_loss`."""
        total = 0.0
        for fold, start in self._heads.items():
            held_out = self.folds == fold
            weights = (~held_out).astype(float)
            head = self.problem.fit(l2=l2, weights=weights, start=start, tolerance=tolerance)
            self._heads[fold] = head
            loss, _ = self.problem.evaluate(head)
            total += float(loss[held_out].sum())
        return total


def _directions(rows: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Eigenvectors, dims (channel, direction), and eigenvalues of the mean of x x^T.

    With many channels or few rows: None, and the variances of the channels.
    """
    count, channels = rows.shape
    if channels > min(ROTATED, count):
        return None, rows.square().mean(0).double()
    scatter = sum(part.T @ part for part in rows.split(BLOCK_NUMBERS // channels))
    values, vectors = torch.linalg.eigh(scatter.double() / count)
    return vectors.to(rows.dtype), values.clamp(min=0)
