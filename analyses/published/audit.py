"""Does the published Table 2 follow from its own figures?

Each printed row has a loss l, an information I and a ratio. If I = -log_b(l / l0), every row of a
block (one target on one split) implies l0 = l * b^I, up to the rounding of l and I. If all rows
come from one study, their intervals of l0 overlap. The base b is the one for which most blocks
overlap. Each cell is then recomputed from its neighbours, and listed if rounding cannot explain it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

BASES = {"2": 2.0, "e": float(np.e), "10": 10.0}


@dataclass(frozen=True)
class Audit:
    """Result of :func:`compute`."""

    bases: pd.DataFrame
    """For each candidate base: blocks whose rows agree on one l0, and the summed squared spread of
    log l0 (natural) over the rows of all blocks."""
    fitted_base: float
    """Base with the least spread, any real number (rows weighted by the rounding of their loss)."""
    blocks: pd.DataFrame
    """Per target and split, in base 2: interval of l0 that all rows allow (empty if low > high),
    whether there is one, the best l0, the rows that disagree with it, and the other target of the
    same split with the nearest l0 and the relative gap (different models are not expected to have
    equal variance)."""
    cells: pd.DataFrame
    """Every contradicted cell: printed, recomputed, and the interval that rounding allows."""


def compute(printed: pd.DataFrame | None = None) -> Audit:
    """Audit a table of printed figures.

    Parameters
    ----------
    printed : DataFrame of str, optional
        Columns family, target, source and, for train and test, ``_loss``, ``_info``,
        ``_ratio_pct``; by default the published Table 2. The last row of each block is its
        reference (100 %).
    """
    if printed is None:  # as text, which keeps printed digits such as 0.0010
        printed = pd.read_csv(Path(__file__).with_name("s2_table02_reconstruction.csv"), dtype=str)
    studies = [
        _Study(f"{family} {target}", split, rows)
        for (family, target), rows in printed.groupby(["family", "target"], sort=False)
        for split in ("train", "test")
    ]
    bases = pd.DataFrame(
        [
            {
                "base": name,
                "blocks": len(studies),
                "consistent": sum(s.allowed(base)[0] <= s.allowed(base)[1] for s in studies),
                "spread": sum(s.spread(base) for s in studies),
            }
            for name, base in BASES.items()
        ]
    )
    blocks = _with_nearest(pd.DataFrame([study.summary() for study in studies]))
    cells = pd.DataFrame([cell for study in studies for cell in study.cells()], columns=_CELL)
    return Audit(bases, _fitted_base(studies), blocks, cells)


_CELL = ["block", "split", "source", "cell", "printed", "recomputed", "low", "high"]


def _with_nearest(blocks: pd.DataFrame) -> pd.DataFrame:
    """Add the other target of the same split with the nearest l0, and the relative gap."""
    nearest, gaps = [], []
    for _, row in blocks.iterrows():
        others = blocks[(blocks["split"] == row["split"]) & (blocks["block"] != row["block"])]
        gap = (others["null_loss"] / row["null_loss"] - 1).abs()
        nearest.append(others["block"][gap.idxmin()] if len(gap) else "")
        gaps.append(float(gap.min()) if len(gap) else float("nan"))
    return blocks.assign(nearest_target=nearest, nearest_gap=gaps)


class _Study:
    """Rows of one target on one split; intervals contain all values that print alike."""

    def __init__(self, name: str, split: str, rows: pd.DataFrame) -> None:
        self.name, self.split = name, split
        self.sources = rows["source"].tolist()
        self.loss, self.info, self.ratio = (
            _Printed(rows[f"{split}_{what}"].tolist()) for what in ("loss", "info", "ratio_pct")
        )

    def implied(self, base: float) -> tuple[np.ndarray, np.ndarray]:
        """Interval of l0 that each row allows."""
        return self.loss.low * base**self.info.low, self.loss.high * base**self.info.high

    def allowed(self, base: float) -> tuple[float, float]:
        """Interval of l0 that all rows allow; empty if low > high."""
        low, high = self.implied(base)
        return float(low.max()), float(high.min())

    @property
    def weights(self) -> np.ndarray:
        return (self.loss.value / (self.loss.high - self.loss.low)) ** 2

    def spread(self, base: float) -> float:
        logs = np.log(self.loss.value) + self.info.value * np.log(base)
        return float(((logs - np.average(logs, weights=self.weights)) ** 2).sum())

    def best(self, base: float = 2.0) -> float:
        """l0 inside the interval of as many rows as possible: the middle of where most overlap."""
        low, high = self.implied(base)
        ends = np.sort(np.concatenate([low, high]))
        middles = (ends[:-1] + ends[1:]) / 2
        votes = ((low <= middles[:, None]) & (middles[:, None] <= high)).sum(axis=1)
        best = votes == votes.max()
        return float(np.exp(np.log(middles[best]).mean()))

    def summary(self) -> dict:
        low, high = self.allowed(2.0)
        row_low, row_high = self.implied(2.0)
        best = self.best()
        off = [
            s for s, a, b in zip(self.sources, row_low, row_high, strict=True) if not a <= best <= b
        ]
        return {
            "block": self.name,
            "split": self.split,
            "null_loss_low": low,
            "null_loss_high": high,
            "consistent": low <= high,
            "null_loss": best,
            "rows_off": ", ".join(off),
        }

    def cells(self) -> list[dict]:
        """Cells that their neighbours contradict: information from loss and l0, ratio from both."""
        contradicted = []
        best = self.best()
        # The interval of information for this l0 is as wide as the printed loss is coarse.
        info = np.log2(best / np.stack([self.loss.value, self.loss.high, self.loss.low]))
        for i in range(len(self.sources)):
            if not (info[1, i] <= self.info.high[i] and self.info.low[i] <= info[2, i]):
                contradicted.append(self._cell(i, "info", self.info, info[:, i]))
        ref = len(self.sources) - 1
        ratio = 100 * np.stack(
            [
                self.info.value / self.info.value[ref],
                self.info.low / self.info.high[ref],
                self.info.high / self.info.low[ref],
            ]
        )
        for i in range(ref):
            if not (ratio[1, i] <= self.ratio.high[i] and self.ratio.low[i] <= ratio[2, i]):
                contradicted.append(self._cell(i, "ratio_pct", self.ratio, ratio[:, i]))
        return contradicted

    def _cell(self, i: int, what: str, printed: _Printed, bounds: np.ndarray) -> dict:
        values = (
            self.name,
            self.split,
            self.sources[i],
            what,
            printed.text[i],
            *(round(float(b), 4) for b in bounds),
        )
        return dict(zip(_CELL, values, strict=True))


class _Printed:
    """Printed numbers, each with the interval that rounds to it: half a unit of its last digit."""

    def __init__(self, text: list[str]) -> None:
        self.text = text
        self.value = np.array([float(t) for t in text])
        half = np.array([0.5 * 10.0 ** -len(t.partition(".")[2]) for t in text])
        self.low, self.high = self.value - half, self.value + half


def _fitted_base(studies: list[_Study]) -> float:
    """Least squares of log l = log l0 - I log b with one l0 per block and one b for all."""
    top = bottom = 0.0
    for study in studies:
        w, y, x = study.weights, np.log(study.loss.value), study.info.value
        x = x - np.average(x, weights=w)
        y = y - np.average(y, weights=w)
        top += float(-(w * x * y).sum())
        bottom += float((w * x * x).sum())
    return float(np.exp(top / bottom))
