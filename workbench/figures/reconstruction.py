"""Figures of the reconstruction analysis: information per source, where in the image it lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analyses.reconstruction.table2 import published_row
from analyses.statistics.information import PERFECT, bits_text
from feature_store.source import Source
from workbench.figures import style
from workbench.figures.sources import colour, looks, short, two_lines, without_common_tap


@style.styled
def draw_information(result: xr.Dataset) -> Figure:
    """Bars of test information with 95 % intervals, each with its ratio beside it.

    Ticks are the information on training images, and open diamonds the paper's figures. The axis
    ends where bars and ratios do; a tick beyond it is given as a number. `result` is of
    :func:`analyses.reconstruction.compute`.
    """
    names, shown, goal = _named(result)
    info, high = result["test_info_bits"].values, result["test_info_high"].values
    spans = np.abs(np.stack([info - result["test_info_low"], high - info]))
    at = np.arange(len(names))
    drawn, (axes,) = style.figure(7.2, 1.5 + 0.62 * len(names))
    axes.barh(at, info, color=[colour(n) for n in names], height=0.6)
    axes.errorbar(info, at, xerr=spans, fmt="none", ecolor=style.INK, capsize=4, linewidth=1.2)
    ends = np.maximum(info, high)
    below = ends[info < PERFECT]  # the bar of a perfect reconstruction runs into the margin
    edge = float(below.max(initial=0.0) or ends.max(initial=0.0))
    ends = np.minimum(ends, edge)
    for values, look in _marks(result, names):
        inside = np.where(values <= 1.08 * edge, values, np.nan)
        axes.plot(inside, at, ls="", mec=style.INK, **look)
        ends = np.fmax(ends, inside)
        for far in np.flatnonzero(values > 1.08 * edge):
            axes.annotate(
                f"{bits_text(values[far], 2)} →", (1, far), xycoords=("axes fraction", "data"),
                ha="right", va="center", fontsize=8,
            )  # fmt: skip
    for y, (name, ratio) in enumerate(zip(names, result["test_ratio"].values, strict=True)):
        note = "perfect, " if info[y] >= PERFECT else ""
        note += "" if np.isnan(ratio) else f"{100 * ratio:.1f} %"
        note += " (reference)" if name == result.attrs["reference"] else ""
        axes.annotate(note, (ends[y], y), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(at, [two_lines(name) for name in shown])
    axes.invert_yaxis()
    axes.margins(x=0.02)
    axes.set_xlim(right=edge * 1.4 if edge > 0 else None)
    axes.set_xlabel("information on unseen images, bits (whiskers: 95 % interval over images)")
    axes.set_title(f"Information about {goal}")
    handles = axes.get_legend_handles_labels()
    drawn.legend(*handles, loc="outside lower right", ncols=2, fontsize=9)
    return drawn


def _named(result: xr.Dataset) -> tuple[list[str], list[str], str]:
    """Sources as in the result and as shown, and the target as shown."""
    names = [str(n) for n in result["source"].values]
    *shown, goal = without_common_tap([*names, result.attrs["target"]])
    return names, shown, short(goal)


def _marks(result: xr.Dataset, names: list[str]) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Values beside the bars, NaN if there is none, and their style."""
    train = {"marker": "|", "ms": 14, "label": "on training images"}
    found = [(result["train_info_bits"].values, train)]
    rows = [published_row(result.attrs["target"], name) for name in names]
    if any(row is not None for row in rows):
        paper = np.array([np.nan if row is None else row["test_info"] for row in rows], float)
        found.append((paper, {"marker": "D", "mfc": "white", "label": "S2 paper, Table 2 (test)"}))
    return found


@style.styled
def draw_map(result: xr.Dataset) -> Figure:
    """Map of information: bits per cell of the token grid, over test images."""
    names, shown, goal = _named(result)
    maps = result["info_map"].values
    low, high = float(np.nanmin(maps)), float(np.nanmax(maps))
    columns = min(len(names), 4)
    lines = -(-len(names) // columns)
    size = (2.5 * columns + 1.4, 2.6 * lines + 0.7)
    drawn, axes = style.figure(*size, rows=lines, columns=columns)
    for n, (ax, name, values) in enumerate(zip(axes, shown, maps, strict=False)):
        drawing = ax.imshow(values, cmap="viridis", vmin=low, vmax=high)
        ax.set_title(two_lines(name), fontsize=9)
        ax.tick_params(labelsize=8)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
        ax.set_xlabel("token column", fontsize=9)
        if n % columns == 0:
            ax.set_ylabel("token row", fontsize=9)
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    drawn.suptitle(
        f"Where sources know {goal}: mean over {result.attrs['test_images']} test images",
        x=0.01, ha="left", fontsize=11,
    )  # fmt: skip
    drawn.colorbar(drawing, ax=axes, label="information, bits", shrink=0.8)
    return drawn


@style.styled
def draw_scales(result: xr.Dataset) -> Figure:
    """Which scale carries the information: alone, unique part, and all together, test images."""
    found = result.sel(split="test").dropna("source", subset=["together"])
    names = [str(n) for n in found["source"].values]
    drawn, axes = style.figure(3.4 * len(names) + 1.2, 3.4, columns=len(names))
    for ax, name in zip(axes, names, strict=True):
        one = found.sel(source=name).dropna("scale", subset=["alone"])
        at = np.arange(one.sizes["scale"])
        alone = ax.bar(at - 0.2, one["alone"], 0.38, color=style.GREY, label="alone")
        unique = ax.bar(at + 0.2, one["unique"], 0.38, color=style.LIGHT_GREEN, label="unique")
        together = ax.axhline(float(one["together"]), color=style.GREEN, label="all together")
        ax.bar_label(alone, fmt="%.3f", fontsize=8, label_type="center", color="white")
        ax.bar_label(unique, fmt="%.3f", fontsize=8, padding=2)
        ax.annotate(
            f"{float(one['together']):.3f}", (1, float(one["together"])), (-2, 3), ha="right",
            xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=8,
        )  # fmt: skip
        ax.axhline(0, color=style.INK, linewidth=0.8)
        ax.set_xticks(at, [str(s) for s in one["scale"].values])
        ax.set_xlabel("scale, pixels")
        ax.set_title(two_lines(without_common_tap([name])[0]), fontsize=9)
        ax.margins(y=0.15)
    axes[0].set_ylabel("information on unseen images, bits")
    drawn.legend(
        handles=[alone, unique, together], loc="outside right upper", fontsize=9, frameon=False
    )
    return drawn


@style.styled
def draw_ranks(result: xr.Dataset) -> Figure:
    """How many directions are needed: information of the best map of each rank, training images."""
    drawn, (axes,) = style.figure(6.4, 4.2)
    names, shown, _ = _named(result)
    for n, (name, look) in enumerate(zip(shown, looks(names), strict=True)):
        curve = result["rank_info"].sel(source=names[n])
        # Where curves coincide, the later is thinner, and markers stand at different ranks.
        width, every = 1.4 + 1.3 * (len(names) - 1 - n), (0.04 * n, 0.15)
        style.curve(axes, curve["rank"], curve, look, short(name), lw=width, markevery=every)
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("rank of the linear map, log scale")
    axes.set_ylabel("information on training images, bits")
    axes.legend(fontsize=9, handlelength=3.5, loc="lower right")
    return drawn


@style.styled
def draw_pairs(pairs: xr.Dataset) -> Figure:
    """Bits that each source (row) has about each other (column), on training images.

    A target that is a part of the source itself is left blank. `pairs` is of
    :func:`analyses.reconstruction.pairs.pair_matrix`.
    """
    names = [two_lines(str(n)) for n in pairs["source"].values]
    values = pairs["train_info_bits"].values.copy()
    singles = [set(Source.parse(str(n)).singles()) for n in pairs["source"].values]
    held = np.array([[about <= source for about in singles] for source in singles])
    values[held] = np.nan  # a part of the source itself: as many bits as the ridge leaves
    size = 2.2 + 0.8 * len(names)
    drawn, (axes,) = style.figure(size + 0.8, size)
    shown = axes.imshow(values, cmap="Greens", vmin=0)
    middle = np.nanmax(values, initial=0.0) / 2
    for (row, col), value in np.ndenumerate(values):
        text = "" if np.isnan(value) else bits_text(value, 2)
        ink = "white" if value > middle else "black"
        axes.text(col, row, text, ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="about", ylabel="from")
    drawn.colorbar(shown, ax=axes, label="information on training images, bits", shrink=0.8)
    return drawn
