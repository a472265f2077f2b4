"""Multinomial logistic head trained to convergence on rows that are read in blocks.

Minimised over W (channel, class) and b (class,), with x standardised by the training rows:

    f(W, b) = sum_i w_i (-log softmax(x_i W + b)[y_i]) / sum_i w_i  +  l2 / 2 * |W|^2

It is strictly convex in W for l2 > 0; the bias is not penalised. scikit-learn's
``LogisticRegression(C=1 / (l2 * n))`` minimises the same function.

Plain L-BFGS needs hundreds of passes because the channels of a network are strongly correlated.
Bohning's bound (1992) says that the Hessian never exceeds half the covariance of x (times a
class-by-class matrix); in coordinates that whiten that bound, W = P V with
P = U (s / 4 + l2)^(-1/2) and s, U the eigen-system of the covariance, tens of passes are enough.
P is a change of coordinates: it changes the number of passes and never the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from analyses.heads import Head
from analyses.pooled import BLOCK_ROWS, FeatureRows
from feature_store import InputError

SMALL_PRODUCT = 3e7
"""Multiplications below which one thread is the fastest: some ten milliseconds of one core."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """How the head is trained."""

    tolerance: float = 1e-6
    """Stop when no component of the preconditioned gradient (nats) is larger."""
    max_passes: int = 1000
    """L-BFGS iterations after which the head counts as not converged."""
    precision: Literal["float32", "float64"] = "float64"
    """Type of the products; sums over blocks are float64."""
    memory_mb: int = 256
    """Rows are kept in memory up to this size; above it they are read again in every pass."""
    device: str = "cpu"
    """Torch device for the products."""

    def __post_init__(self) -> None:
        if self.tolerance <= 0 or self.max_passes < 1 or self.memory_mb < 0:
            raise InputError(
                f"found tolerance {self.tolerance}, max_passes {self.max_passes}, memory_mb "
                f"{self.memory_mb}; expected a positive tolerance, at least one pass, memory >= 0"
            )
        if self.precision not in ("float32", "float64"):
            raise InputError(f"precision is {self.precision!r}; choose float32 or float64")


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """One torch thread inside, if the largest product has few multiplications.

    Waking the others costs more than they save (measured: tenfold on two busy cores for 600 x 640
    times 640 x 3). The former number comes back at the end.
    """
    before = torch.get_num_threads()
    if multiplications < SMALL_PRODUCT:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Problem:
    """Rows and labels with what does not depend on l2 or on the weights of the rows.

    Parameters
    ----------
    rows : FeatureRows
        Dims (image, channel).
    labels : int array, dims (image,)
        0 to classes - 1.
    classes : int
    config : HeadConfig

    Examples
    --------
    >>> rows = FeatureRows.of(np.array([[-1.0], [-1.0], [1.0], [1.0]]))
    >>> head = Problem(rows, np.array([0, 0, 1, 1]), 2).fit(l2=1.0)
    >>> float((head.weight[0, 1] - head.weight[0, 0]).round(4))  # d / 2 = sigmoid(-d)
    0.6748
    """

    def __init__(
        self, rows: FeatureRows, labels: np.ndarray, classes: int, config: HeadConfig | None = None
    ) -> None:
        self.config = config or HeadConfig()
        self.rows, self.classes = rows, classes
        self.labels = torch.as_tensor(labels, dtype=torch.int64, device=self.config.device)
        self._dtype = getattr(torch, self.config.precision)
        self._cache: list[torch.Tensor] | None = None
        self.mean, covariance = self._moments()
        spread = covariance.diagonal().clamp(min=0).sqrt()
        # A constant channel says nothing: scale 0 keeps its weight at zero.
        tiny = 1e-6 * self.mean.abs() + 1e-30
        scale = torch.where(spread > tiny, 1 / spread.clamp(min=1e-300), 0.0)
        values, vectors = torch.linalg.eigh(scale[:, None] * covariance * scale)
        self._values = values.clamp(min=0)
        # Principal coordinates z = (x - mean) @ turn, turn = scale * U; x = mean + z @ back.
        self._turn, self._back = scale[:, None] * vectors, vectors.T * spread
        count, channels = rows.shape
        size = count * channels * (8 if self.config.precision == "float64" else 4)
        if size <= self.config.memory_mb * 2**20:
            self._cache = [self._turned(block) for block in self._read()]

    def fit(
        self,
        *,
        l2: float,
        weights: np.ndarray | None = None,
        start: Head | None = None,
        tolerance: float | None = None,
    ) -> Head:
        """The minimiser for one penalty.

        Parameters
        ----------
        l2 : float
            Penalty, > 0, relative to the mean loss per image.
        weights : float array, dims (image,), optional
            Weight of each row (0 leaves it out); all ones by default.
        start : Head, optional
            Where to start, such as the solution for a neighbouring penalty.
        tolerance : float, optional
            Instead of the configured one.
        """
        if l2 <= 0:
            raise InputError(f"l2 is {l2}; the head needs a positive penalty, such as 1e-4")
        tolerance = self.config.tolerance if tolerance is None else tolerance
        weight = torch.ones(len(self.labels)) if weights is None else torch.as_tensor(weights)
        weight = weight.to(self.config.device, torch.float64)
        weight = weight / weight.sum()
        root = (self._values / 4 + l2).rsqrt()  # dims (direction,)
        at = self._start(start, root).requires_grad_()
        gradient = torch.zeros_like(at)
        passes = 0

        def objective() -> float:
            nonlocal passes, gradient
            passes += 1
            now = at.detach()
            principal = root * now[:, :-1]
            loss, to_principal, to_bias = self._loss(principal, now[:, -1], weight)
            inner = root * (to_principal + l2 * principal)
            gradient = torch.cat([inner, to_bias[:, None]], 1)
            at.grad = gradient
            return loss + l2 / 2 * float((principal**2).sum())

        steps = torch.optim.LBFGS(
            [at],
            max_iter=self.config.max_passes,
            max_eval=2 * self.config.max_passes,
            tolerance_grad=tolerance,
            tolerance_change=0.0,
            history_size=10,
            line_search_fn="strong_wolfe",
        )
        count, channels = self.rows.shape
        with threads_for(min(count, BLOCK_ROWS) * channels * self.classes):
            steps.step(objective)
            # The line search may stop one step early, at the rounding limit of the loss.
            objective()
        reached = float(gradient.abs().max()) <= 10 * tolerance
        raw = self._turn @ (root * at.detach()[:, :-1]).T
        bias = at.detach()[:, -1] - self.mean @ raw
        return Head(raw.cpu().numpy(), bias.cpu().numpy(), reached, passes)

    def logits(self, head: Head) -> np.ndarray:
        """The head's logits for these rows: float64, dims (image, class)."""
        principal = self._back @ torch.as_tensor(head.weight, device=self._back.device)
        bias = torch.as_tensor(head.bias + self.mean.cpu().numpy() @ head.weight)
        parts = [self._product(block, principal) for block in self._blocks()]
        return (torch.cat(parts) + bias.to(self._back.device)).cpu().numpy()

    def _start(self, start: Head | None, root: torch.Tensor) -> torch.Tensor:
        """Coordinates (class, channel + 1) in which L-BFGS moves."""
        if start is None:
            return torch.zeros(self.classes, len(root) + 1, dtype=torch.float64, device=root.device)
        raw = torch.as_tensor(start.weight, device=root.device)
        bias = torch.as_tensor(start.bias, device=root.device) + self.mean @ raw
        return torch.cat([(self._back @ raw).T / root, bias[:, None]], 1)

    def _loss(
        self, principal: torch.Tensor, bias: torch.Tensor, weight: torch.Tensor
    ) -> tuple[float, torch.Tensor, torch.Tensor]:
        """Weighted mean loss in nats and its gradients for principal weights and bias.

        Weights are (class, channel) and logits (class, image) in here: with few classes the
        products are up to three times as fast that way round.
        """
        to_weight, to_bias = torch.zeros_like(principal), torch.zeros_like(bias)
        loss, at = 0.0, 0
        # Rows in memory are principal coordinates already; rows from disk are turned on the fly,
        # by turning the (much smaller) weights instead.
        raw = principal if self._cache is not None else principal @ self._turn.T
        offset = bias if self._cache is not None else bias - raw @ self.mean
        raw, offset = raw.to(self._dtype), offset[:, None]
        for block in self._blocks():
            part = slice(at, at + len(block))
            at += len(block)
            logits = (raw @ block.T).double() + offset
            log_p = logits - torch.logsumexp(logits, 0)
            labels, w = self.labels[None, part], weight[None, part]
            loss -= float((w * log_p.gather(0, labels)).sum())
            residual = log_p.exp_().mul_(w).scatter_add_(0, labels, -w)
            to_weight += (residual.to(self._dtype) @ block).double()
            to_bias += residual.sum(1)
        if self._cache is None:
            to_weight = (to_weight - torch.outer(to_bias, self.mean)) @ self._turn
        return loss, to_weight, to_bias

    def _moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and covariance of the rows, float64."""
        count, channels = self.rows.shape
        first = next(self._read()).double().mean(0)  # a shift, so that squares keep digits
        total = torch.zeros(channels, dtype=torch.float64, device=self.config.device)
        square = torch.zeros(channels, channels, dtype=torch.float64, device=self.config.device)
        for block in self._read():
            shifted = block - first.to(block.dtype)
            total += shifted.double().sum(0)
            square += (shifted.T @ shifted).double()
        mean = total / count
        return first + mean, square / count - torch.outer(mean, mean)

    def _turned(self, block: torch.Tensor) -> torch.Tensor:
        return ((block.double() - self.mean) @ self._turn).to(self._dtype)

    def _product(self, block: torch.Tensor, principal: torch.Tensor) -> torch.Tensor:
        turned = block if self._cache is not None else self._turned(block)
        return turned.double() @ principal

    def _blocks(self) -> Iterator[torch.Tensor]:
        return iter(self._cache) if self._cache is not None else self._read()

    def _read(self) -> Iterator[torch.Tensor]:
        for block in self.rows.blocks():
            yield torch.from_numpy(block).to(self.config.device, self._dtype)
