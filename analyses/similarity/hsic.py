"""Unbiased HSIC of linear kernels in one pass and in feature space: no matrix over tokens.

Let K = X X^T and L = Y Y^T be the kernels of n tokens, K' and L' the same with zeros on the
diagonal, and 1 the vector of ones. Song et al. (2012, eq. 5) estimate

    HSIC = [tr K'L' + 1^T K'1 1^T L'1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1^T K'L'1] / (n (n - 3)).

A constant added to all tokens does not change the estimate, so take them about their means. Then
K 1 = L 1 = 0 and, with k_i = |x_i|^2 and l_i = |y_i|^2, K'1 = -k and L'1 = -l. Hence

    tr K'L'    = sum_ij K_ij L_ij - sum_i k_i l_i = |X^T Y|_F^2 - Q,    Q = sum_i |x_i|^2 |y_i|^2,
    1^T K'1    = -tr X^T X,    1^T L'1 = -tr Y^T Y,
    1^T K'L'1  = k^T l = Q,

which leaves the cross scatter, two traces and Q. Q is of fourth order about means that are known
only at the end. It is accumulated about a fixed shift s: with d the mean minus the shift, a token
about the shift is t = x + d, and |x|^2 = |t|^2 - 2 d^T t + |d|^2. Multiplying this out for x and y
leaves sums of |t|^2 |u|^2, |t|^2 u, |t|^2 and t u^T, which :class:`FourthOrder` and the second
moments hold.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analyses.moments.second_moments import Moments


class FourthOrder:
    """Running sums behind :func:`unbiased_hsic`, for all pairs of sources; float64."""

    def __init__(self, channels: Mapping[str, int], shift: np.ndarray | None = None) -> None:
        self.channels = dict(channels)
        width = sum(self.channels.values())
        self.shift = shift
        """Shift of the tokens, dims (D,): by default the mean of the first batch."""
        self._square_square = np.zeros((len(self.channels), len(self.channels)))
        self._square_token = np.zeros((len(self.channels), width))
        self._square = np.zeros(len(self.channels))

    def update(self, tokens: Mapping[str, np.ndarray]) -> None:
        """Add a batch; for each source dims (image, row, col, channel)."""
        z = np.concatenate(
            [tokens[n].reshape(-1, c).astype(np.float64) for n, c in self.channels.items()], axis=1
        )
        if self.shift is None:
            self.shift = z.mean(axis=0)
        z -= self.shift
        edges = np.cumsum([0, *self.channels.values()])[:-1]
        squares = np.add.reduceat(z**2, edges, axis=1)
        self._square_square += squares.T @ squares
        self._square_token += squares.T @ z
        self._square += squares.sum(axis=0)

    def combine(self, other: FourthOrder) -> FourthOrder:
        """Sums over both sets of tokens; both are about the same shift."""
        both = FourthOrder(self.channels, self.shift)
        both._square_square = self._square_square + other._square_square
        both._square_token = self._square_token + other._square_token
        both._square = self._square + other._square
        return both

    def about_mean(self, moments: Moments) -> np.ndarray:
        """Q of every pair of sources, about their means: dims (source, source)."""
        names = list(self.channels)
        count = moments.count()
        offset = moments.mean_of(names) - self.shift
        about_shift = moments.comoment(names, names) + count * np.outer(offset, offset)
        groups = np.repeat(np.eye(len(names)), list(self.channels.values()), axis=0)  # (D, source)
        lift = groups * offset[:, None]  # column a: the offset within source a, else 0
        c = groups.T @ offset**2
        tt = (
            self._square_square
            + np.outer(self._square, c)
            + np.outer(c, self._square)
            + count * np.outer(c, c)
        )
        tz = (self._square_token + np.outer(c, count * offset)) @ lift
        return tt - 2 * tz - 2 * tz.T + 4 * lift.T @ about_shift @ lift


def unbiased_hsic(frobenius: float, quartic: float, traces: tuple[float, float], n: int) -> float:
    """HSIC of linear kernels, unbiased; NaN for fewer than 4 tokens.

    Source: Song et al. 2012, Feature selection via dependence maximization, eq. 5.

    Parameters
    ----------
    frobenius : float
        Squared Frobenius norm of the scatter of x and y.
    quartic : float
        Sum over tokens of |x|^2 |y|^2, both about their means.
    traces : (float, float)
        Traces of the scatters of x and of y.
    n : int
        Tokens.
    """
    if n < 4:
        return float("nan")
    off_diagonal = frobenius - quartic
    rest = traces[0] * traces[1] / ((n - 1) * (n - 2)) - 2 * quartic / (n - 2)
    return (off_diagonal + rest) / (n * (n - 3))
