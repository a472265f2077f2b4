"""Multinomial logistic head trained to convergence on rows that are read in blocks.

Minimised over W (channel, class) and b (class,), with x standardised by the training rows:

    f(W, b) = sum_i w_i (-log softmax(x_i W + b)[y_i]) / sum_i w_i  +  l2 / 2 * |W|^2

It is strictly convex in W for l2 > 0; the bias is not penalised. scikit-learn's
``LogisticRegression(C=1 / (l2 * n))`` minimises the same function.

Solved by scipy's L-BFGS on the standardised channels. Products are float32 until the gradient is
small, and float64 from there on, where rounding matters. (Whitening the channels by Bohning's bound
on the Hessian took up to three times as many passes, because near the optimum the Hessian is far
below the bound.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from analyses.linear.config import HeadConfig
from analyses.linear.head import Head, loss_and_hits_of_blocks
from analyses.reading.pooled import BLOCK_ROWS, FeatureRows
from feature_store import InputError

FLOAT32_TOLERANCE = 1e-5
"""Gradient (nats) down to which float32 products suffice: their rounding moves it by some 1e-7."""
SMALL_PASS = 1e7
"""Multiplications of a pass up to which all rows are one block and every pass is float64: the calls
and the second start would cost more than float32 saves."""
SCIPY_BLAS = "libscipy_openblas"
"""First part of the file name of the BLAS in numpy's and scipy's wheels."""
ONE_THREAD = 3e7
"""Multiplications below which one thread is fastest: about ten milliseconds on one core."""


@contextmanager
def threads_for(multiplications: float) -> Iterator[None]:
    """Limit torch to one thread inside the block if the largest product is small.

    Waking more threads would cost more than they save. scipy's own products get one thread in any
    case: they are of vectors, and their threads would wait on the cores that torch needs. Other
    libraries of that kind may be torch's, and stay. The previous numbers of threads are restored at
    the end.
    """
    before = torch.get_num_threads()
    if multiplications < ONE_THREAD:
        torch.set_num_threads(1)
    try:
        with threadpool_limits({SCIPY_BLAS: 1}):
            yield
    finally:
        torch.set_num_threads(before)


class LogisticProblem:
    """Standardised rows and their labels, shared by the fits for different penalties and weights.

    Parameters
    ----------
    rows : FeatureRows
        Dims (image, channel).
    labels : int array, dims (image,)
        0 to classes - 1.

    Examples
    --------
    >>> rows = FeatureRows.of(np.array([[-1.0], [-1.0], [1.0], [1.0]]))
    >>> head = LogisticProblem(rows, np.array([0, 0, 1, 1]), 2).fit(l2=1.0)
    >>> float((head.weight[0, 1] - head.weight[0, 0]).round(4))  # d / 2 = sigmoid(-d)
    0.6748
    """

    def __init__(
        self, rows: FeatureRows, labels: np.ndarray, classes: int, config: HeadConfig | None = None
    ) -> None:
        self.config = config or HeadConfig()
        self.rows, self.classes = rows, classes
        self.labels = torch.as_tensor(labels, dtype=torch.int64, device=self.config.device)
        self.mean, spread = self._moments()
        # Scale 0 keeps the weight of a constant channel at zero.
        varies = spread > 1e-6 * self.mean.abs() + 1e-30
        self._spread = torch.where(varies, spread, 0.0)
        self._scale = torch.where(varies, 1 / spread.clamp(min=1e-300), 0.0)
        self._cache: list[torch.Tensor] | None = None
        if 4 * rows.shape[0] * rows.shape[1] <= self.config.memory_mb * 2**20:
            self._cache = list(self.blocks())
        self._small = rows.shape[0] * rows.shape[1] * classes <= SMALL_PASS
        if self._small and self._cache:
            self._cache = [torch.cat(self._cache).to(self._final)]

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
            Start of the search, such as the solution for a neighbouring penalty.
        tolerance : float, optional
            Overrides the configured one.
        """
        if l2 <= 0:
            raise InputError(f"l2 is {l2}; the head needs a positive penalty, such as 1e-4")
        tolerance = self.config.tolerance if tolerance is None else tolerance
        weight = torch.ones(len(self.labels)) if weights is None else torch.as_tensor(weights)
        weight = weight.to(self.config.device, torch.float64)
        weight = weight / weight.sum()
        at = self._start(start)
        count, channels = self.rows.shape
        phases = [(self._final, tolerance)]
        if not self._small:
            first = (torch.float32, max(tolerance, FLOAT32_TOLERANCE))
            phases = [first, *(phases if tolerance < FLOAT32_TOLERANCE else [])]
        passes, steepest, dtype = 0, np.inf, torch.float32

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal passes
            passes += 1
            now = torch.from_numpy(flat).view(at.shape).to(at.device)
            loss, gradient = self._loss(now, weight, dtype)
            gradient[:, :-1] += l2 * now[:, :-1]
            penalty = l2 / 2 * float(now[:, :-1].square().sum())
            return loss + penalty, gradient.flatten().cpu().numpy()

        limits = {"maxiter": self.config.max_passes, "maxfun": 2 * self.config.max_passes}
        with threads_for(min(count, BLOCK_ROWS) * channels * self.classes):
            for dtype, enough in phases:  # noqa: B007  # read above
                found = minimize(
                    objective,
                    at.flatten().cpu().numpy(),
                    jac=True,
                    method="L-BFGS-B",
                    options={"gtol": enough, "ftol": 0.0, **limits},
                )
                at = torch.from_numpy(found.x).view(at.shape).to(at.device)
                steepest = float(np.abs(found.jac).max())
        # The line search may stop one step early, at the rounding limit of the loss.
        reached = steepest <= 10 * tolerance
        raw = (at[:, :-1] * self._scale).T
        bias = at[:, -1] - self.mean @ raw
        return Head(raw.cpu().numpy(), bias.cpu().numpy(), reached, passes)

    def evaluate(self, head: Head) -> tuple[np.ndarray, np.ndarray]:
        """The head's cross-entropy in nats, and its hits, for every row: dims (image,)."""
        at = self._start(head)
        logits = (at[:, :-1] @ block.double().T + at[:, -1:] for block in self.blocks())
        return loss_and_hits_of_blocks(
            (z.T.cpu().numpy() for z in logits), self.labels.cpu().numpy()
        )

    @property
    def _final(self) -> torch.dtype:
        return torch.float64 if self.config.precision == "float64" else torch.float32

    def _start(self, start: Head | None) -> torch.Tensor:
        """Weights for standardised channels, and the bias: dims (class, channel + 1)."""
        if start is None:
            size = (self.classes, self.rows.shape[1] + 1)
            return torch.zeros(size, dtype=torch.float64, device=self.mean.device)
        raw = torch.as_tensor(start.weight, device=self.mean.device)
        bias = torch.as_tensor(start.bias, device=self.mean.device) + self.mean @ raw
        return torch.cat([(raw * self._spread[:, None]).T, bias[:, None]], 1)

    def _loss(
        self, at: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype
    ) -> tuple[float, torch.Tensor]:
        """Weighted mean loss in nats and its gradient, dims (class, channel + 1).

        Logits are (class, image) here: with few classes the products are up to three times as fast
        in this order.
        """
        gradient = torch.zeros_like(at)
        w, offset = at[:, :-1].to(dtype), at[:, -1:].to(dtype)
        loss, done = 0.0, 0
        for block in self.blocks():
            part = slice(done, done + len(block))
            done += len(block)
            x, labels = block.to(dtype), self.labels[None, part]
            share = weight[None, part].to(dtype)
            logits = (w @ x.T).add_(offset)
            logits -= logits.amax(0)
            own = logits.gather(0, labels)
            total = logits.exp_().sum(0, keepdim=True)
            loss += float((share * (total.log() - own)).sum(dtype=torch.float64))
            residual = logits.mul_(share / total).scatter_add_(0, labels, -share)
            gradient[:, :-1] += residual @ x
            gradient[:, -1] += residual.sum(1, dtype=torch.float64)
        return loss, gradient

    def _moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of each channel, float64."""
        first = next(self._read()).double().mean(0)  # a shift, so that squares keep digits
        total, square = torch.zeros_like(first), torch.zeros_like(first)
        for block in self._read():
            shifted = block.double() - first
            total += shifted.sum(0)
            square += shifted.square().sum(0)
        mean = total / len(self.labels)
        return first + mean, (square / len(self.labels) - mean**2).clamp(min=0).sqrt()

    @property
    def in_memory(self) -> bool:
        """Whether the standardised rows are held in memory."""
        return self._cache is not None

    def blocks(self) -> Iterator[torch.Tensor]:
        """Standardised rows: from memory, or read and standardised again."""
        if self._cache is not None:
            yield from self._cache
            return
        for block in self._read():
            yield ((block - self.mean) * self._scale).float()

    def _read(self) -> Iterator[torch.Tensor]:
        for block in self.rows.blocks():
            yield torch.from_numpy(block).to(self.config.device)
