"""Accumulate second moments, batch after batch.

Arithmetic: tokens are shifted by the mean of the first batch, so that large means cost no digits;
products of a block of tokens are float32 (or float64), and blocks add up in float64. Only the
upper block triangle is multiplied. The shift is taken out exactly at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from analyses.moments.second_moments import Moments, MomentsConfig, fold_of
from analyses.moments.tensors import as_tensor, rows_of
from feature_store.errors import InputError

PANEL = 256  # columns of one product: small wastes less of the triangle, large multiplies faster


class Accumulator:
    """Running second moments; feed batches with :meth:`update`, read with :meth:`result`.

    Parameters
    ----------
    channels : mapping of str to int
        Source to its number of channels. Those in ``config.targets`` are put last.
    shift : ndarray of float64, dims (D,), optional
        Vector that is subtracted from tokens; by default the mean token of the first images.

    Examples
    --------
    >>> acc = Accumulator({"a@8": 1}, MomentsConfig(folds=1))
    >>> acc.update({"a@8": np.array([1.0, 3.0]).reshape(2, 1, 1, 1)})
    >>> acc.result().mean.item(), acc.result().scatter.item()
    (2.0, 2.0)
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        config: MomentsConfig | None = None,
        shift: np.ndarray | None = None,
    ) -> None:
        self.config = config or MomentsConfig()
        targets = [name for name in channels if name in self.config.targets]
        order = [*(name for name in channels if name not in targets), *targets]
        self.channels = {name: int(channels[name]) for name in order}
        if not self.channels:
            raise InputError("no sources to accumulate; name at least one")
        self._full = sum(self.channels[n] for n in self.channels if n not in targets)
        folds, width = self.config.folds, sum(self.channels.values())
        self._dtype = getattr(torch, self.config.precision)
        self._device = torch.device(self.config.device)
        self._size = (folds, width)
        self._shift: torch.Tensor | None = None
        if shift is not None:
            self._shift = torch.from_numpy(shift).to(self._device, self._dtype)
        self._finished: Moments | None = None
        self._pending: dict[int, torch.Tensor] = {}
        self._memory: tuple[torch.Tensor, torch.Tensor] | None = None
        self._fill = [0] * folds
        self._begin()

    def _begin(self) -> None:
        """Empty sums, per fold; pages of a fold are not touched before it has tokens."""
        folds, width = self._size
        self._images = np.zeros(folds, np.int64)
        self._tokens = np.zeros(folds, np.int64)
        self._sum = torch.zeros(folds, width, dtype=torch.float64, device=self._device)
        self._square = torch.zeros_like(self._sum)
        self._scatter: torch.Tensor | None = None

    @property
    def images(self) -> int:
        """Images seen so far."""
        before = 0 if self._finished is None else int(self._finished.images.sum())
        return before + int(self._images.sum())

    def update(self, tokens: Mapping[str, Any], index: np.ndarray | None = None) -> None:
        """Add a batch.

        Parameters
        ----------
        tokens : mapping of str to array
            For each source, dims (image, row, col, channel), float16, float32 or float64; NumPy
            arrays or torch tensors. All share images and grid.
        index : ndarray of int64, dims (image,), optional
            Row number of each image, which decides its fold; by default images are counted.

        Raises
        ------
        InputError
            A source is missing, shapes disagree, or a token is not finite.
        """
        images, cells = self._check(tokens)
        if index is None:
            index = np.arange(self.images, self.images + images)
        if images == 0:
            return
        if self._shift is None:
            self._shift = self._mean_token(tokens)
        fold = fold_of(np.asarray(index), self.config.folds)
        for k in np.unique(fold):
            rows = np.flatnonzero(fold == k)
            self._images[k] += len(rows)
            self._tokens[k] += len(rows) * cells
            self._push(int(k), {name: rows_of(tokens[name], rows) for name in self.channels})

    def result(self) -> Moments:
        """The moments of everything fed so far; more may follow."""
        for k in range(self.config.folds):
            self._flush(k)
        if self._scatter is None:
            return self._finished or self._moments(np.zeros((*self._size, self._size[1])))
        made = self._moments(self._scatter.cpu().numpy())  # on a CPU the sums' own memory
        self._begin()
        self._finished = made if self._finished is None else self._finished.combine(made)
        return self._finished

    @property
    def shift(self) -> np.ndarray:
        """Shift of the tokens, to share with other accumulators: float64, dims (D,)."""
        assert self._shift is not None
        return self._shift.cpu().double().numpy()

    def _moments(self, scatter: np.ndarray) -> Moments:
        """Moments from the sums; products in `scatter` are turned into the scatter in place."""
        mean = np.zeros(self._size)
        for k in np.flatnonzero(self._tokens):
            shift = self._shift.cpu().double().numpy()  # type: ignore[union-attr]
            offset = self._sum[k].cpu().numpy() / self._tokens[k]
            _unshift(scatter[k], self._full, offset, int(self._tokens[k]))
            square = self._square[k].cpu().numpy() - self._tokens[k] * offset**2
            own = scatter[k][self._full :, self._full :]
            own[:] = np.nan
            np.fill_diagonal(own, square[self._full :])
            mean[k] = shift + offset
        attrs = {"precision": self.config.precision, "targets": list(self.config.targets)}
        return Moments(dict(self.channels), self._images, self._tokens, mean, scatter, attrs)

    def _check(self, tokens: Mapping[str, Any]) -> tuple[int, int]:
        missing = [name for name in self.channels if name not in tokens]
        if missing:
            raise InputError(f"batch lacks {', '.join(missing)}; it has {', '.join(tokens)}")
        shapes = {name: tuple(tokens[name].shape) for name in self.channels}
        for name, shape in shapes.items():
            if len(shape) != 4 or shape[3] != self.channels[name]:
                raise InputError(
                    f"tokens of {name} have shape {shape}; expected (image, row, col, "
                    f"{self.channels[name]})"
                )
        if len({shape[:3] for shape in shapes.values()}) > 1:
            grids = ", ".join(f"{n} {s[:3]}" for n, s in shapes.items())
            raise InputError(
                f"images or token grids differ: {grids}; pass the same images, and pool the maps "
                f"to a common grid (grid='pool') if that is what you want to compare"
            )
        images, rows, cols, _ = next(iter(shapes.values()))
        return images, rows * cols

    def _mean_token(self, tokens: Mapping[str, Any]) -> torch.Tensor:
        few = {n: as_tensor(tokens[n][:16]) for n in self.channels}  # any centre near the mean does
        means = [
            few[n].reshape(-1, c).to(self._device).mean(0, dtype=torch.float64)
            for n, c in self.channels.items()
        ]
        return torch.cat(means).to(self._dtype)

    def _push(self, k: int, parts: dict[str, torch.Tensor]) -> None:
        """Copy tokens of one fold into its buffer, multiplying whenever the buffer is full."""
        size, width = self.config.block_tokens, self._size[1]
        if k not in self._pending:
            self._pending[k] = torch.empty(size, width, dtype=self._dtype, device=self._device)
        buffer, done = self._pending[k], 0
        count = len(next(iter(parts.values())))
        while done < count:
            at = self._fill[k]
            take, start = min(size - at, count - done), 0
            for name, channels in self.channels.items():
                buffer[at : at + take, start : start + channels].copy_(
                    parts[name][done : done + take]
                )
                start += channels
            self._fill[k] += take
            done += take
            if self._fill[k] == size:
                self._flush(k)

    def _flush(self, k: int) -> None:
        if self._fill[k] == 0:
            return
        z = self._pending[k][: self._fill[k]]
        z -= self._shift  # type: ignore[arg-type]  # set before the first token is pushed
        self._fill[k] = 0
        total = z.sum(0).double()  # pairwise in torch, of centred values: float32 is enough here
        self._refuse_non_finite(total)
        self._sum[k] += total
        if self._full < z.shape[1]:
            self._square[k, self._full :] += z[:, self._full :].square().sum(0, dtype=torch.float64)
        if self._scatter is None:
            shape = (*self._size, self._size[1])
            self._scatter = torch.zeros(shape, dtype=torch.float64, device=self._device)
        for i in range(0, self._full, PANEL):
            stop = min(i + PANEL, self._full)
            product, wide = self._scratch(stop - i, z.shape[1] - i)
            torch.mm(z[:, i:stop].T, z[:, i:], out=product)
            # Converted first: a mixed-type in-place add is four times slower in torch on a CPU.
            self._scatter[k, i:stop, i:].add_(wide.copy_(product))

    def _scratch(self, rows: int, cols: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Memory for one panel in both types, kept: fresh pages cost as much as the sums do."""
        if self._memory is None:
            size, device = PANEL * self._size[1], self._device
            self._memory = (
                torch.empty(size, dtype=self._dtype, device=device),
                torch.empty(size, dtype=torch.float64, device=device),
            )
        product, wide = (flat[: rows * cols].view(rows, cols) for flat in self._memory)
        return product, wide

    def _refuse_non_finite(self, total: torch.Tensor) -> None:
        if bool(torch.isfinite(total).all()):
            return
        bad = int(torch.nonzero(~torch.isfinite(total))[0])
        ends = np.cumsum(list(self.channels.values()))
        name = list(self.channels)[int(np.searchsorted(ends, bad, side="right"))]
        raise InputError(
            f"tokens of {name} are not finite (NaN or infinite); verify the store and extract the "
            f"source again"
        )


def _unshift(scatter: np.ndarray, full: int, offset: np.ndarray, tokens: int) -> None:
    """From products about the shift (upper block triangle) to the scatter about the mean, in place.

    Only the first `full` rows hold products. Panel by panel, through memory that is kept.
    """
    memory = np.empty(PANEL * len(scatter))
    for i in range(0, full, PANEL):
        stop = min(i + PANEL, full)
        own = scatter[i:stop, i:]
        step = memory[: own.size].reshape(own.shape)
        own -= np.multiply(offset[i:stop, None], tokens * offset[i:], out=step)
        for j in range(stop, len(scatter), PANEL):  # square tiles: both sides stay in the cache
            scatter[j : j + PANEL, i:stop] = scatter[i:stop, j : j + PANEL].T
