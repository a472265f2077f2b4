"""Figures of the reconstruction analysis: information per source, where in the image it lies."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import xarray as xr

from analyses.reconstruction.table2 import published_row
from analyses.statistics.information import PERFECT, bits_text
from feature_store.source import Source
from workbench.figures import style


def label(source: str) -> str:
    """A source as two short lines: model without its provider, then tap and scales."""
    parsed = Source.parse(source)
    tap = f"{parsed.tap} " if parsed.tap else ""
    return f"{parsed.model.partition(':')[2]}\n{tap}@ {' + '.join(parsed.scales)}"


def colour(source: str) -> str:
    """Green for S2 sources, grey for single-scale ones."""
    return style.GREEN if len(Source.parse(source).scales) > 1 else style.GREY


@style.styled
def draw_information(result: xr.Dataset, stem: str | Path) -> tuple[Path, Path]:
    """Bars of test information with 95 % intervals; the paper's figures as open diamonds.

    Parameters
    ----------
    result : xarray.Dataset
        As :func:`analyses.reconstruction.compute` returns it.
    stem : str or Path
        Path without suffix; PNG and SVG are written.
    """
    names = [str(n) for n in result["source"].values]
    info = result["test_info_bits"].values
    spans = np.abs(np.stack([info - result["test_info_low"], result["test_info_high"] - info]))
    at = np.arange(len(names))
    drawn, (axes,) = style.figure(7.2, 1.4 + 0.62 * len(names))
    axes.barh(at, info, color=[colour(n) for n in names], height=0.6)
    axes.errorbar(info, at, xerr=spans, fmt="none", ecolor="black", capsize=4, linewidth=1.2)
    axes.plot(
        result["train_info_bits"], at, "|", color="black", markersize=14, label="on training images"
    )
    paper = {i: published_row(result.attrs["target"], n) for i, n in enumerate(names)}
    known = {i: row["test_info"] for i, row in paper.items() if row is not None}
    if known:
        axes.plot(
            list(known.values()),
            list(known),
            "D",
            mfc="none",
            mec="black",
            label="S2 paper, Table 2 (test)",
        )
    finite = np.concatenate([info, result["test_info_high"], result["train_info_bits"]])
    below = finite[finite < PERFECT]  # the bar of a perfect reconstruction runs into the margin
    edge = float(below.max(initial=0.0) or finite.max(initial=0.0))
    for y, name, value in zip(at, names, result["test_ratio"].values, strict=True):
        note = "perfect, " if info[y] >= PERFECT else ""
        note += "" if np.isnan(value) else f"{100 * value:.1f} %"
        note += " (reference)" if name == result.attrs["reference"] else ""
        axes.annotate(note, (edge, y), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(at, [label(n) for n in names])
    axes.invert_yaxis()
    axes.margins(x=0.02)
    axes.set_xlim(right=edge * 1.28 if edge > 0 else None)
    axes.set_xlabel("information on unseen images, bits (bar: 95 % interval over images)")
    goal = label(result.attrs["target"]).replace("\n", " ")
    axes.set_title(f"What each source knows about {goal}", loc="left")
    handles = axes.get_legend_handles_labels()
    drawn.legend(*handles, loc="outside lower right", ncols=2, fontsize=9, frameon=False)
    return style.save(drawn, stem)


@style.styled
def draw_map(result: xr.Dataset, stem: str | Path) -> tuple[Path, Path]:
    """Where in the image the information lies: bits per cell of the token grid, test images."""
    names = [str(n) for n in result["source"].values]
    maps = result["info_map"].values
    low, high = float(np.nanmin(maps)), float(np.nanmax(maps))
    columns = min(len(names), 4)
    lines = -(-len(names) // columns)
    drawn, axes = style.figure(2.5 * columns + 0.8, 2.7 * lines, rows=lines, columns=columns)
    for ax, name, values in zip(axes, names, maps, strict=False):
        shown = ax.imshow(values, cmap="viridis", vmin=low, vmax=high)
        ax.set_title(label(name), fontsize=8)
        ax.set_xticks([])
        ax.set_yticks([])
    for ax in axes[len(names) :]:
        ax.set_axis_off()
    drawn.colorbar(shown, ax=axes, label="bits", shrink=0.8)
    return style.save(drawn, stem)


@style.styled
def draw_scales(result: xr.Dataset, stem: str | Path) -> tuple[Path, Path]:
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
            f"{float(one['together']):.3f}",
            (1, float(one["together"])),
            (-2, 3),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=style.GREEN,
        )
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_xticks(at, [str(s) for s in one["scale"].values])
        ax.set_xlabel("scale, pixels")
        ax.set_title(label(name), fontsize=9)
        ax.margins(y=0.15)
    axes[0].set_ylabel("information on unseen images, bits")
    drawn.legend(
        handles=[alone, unique, together], loc="outside right upper", fontsize=9, frameon=False
    )
    return style.save(drawn, stem)


@style.styled
def draw_ranks(result: xr.Dataset, stem: str | Path) -> tuple[Path, Path]:
    """How many directions are needed: information of the best map of each rank, training images."""
    drawn, (axes,) = style.figure(6.4, 4.0)
    lines = itertools.cycle(("-", "--", "-.", ":"))
    for name, line in zip(map(str, result["source"].values), lines, strict=False):
        curve = result["rank_info"].sel(source=name)
        text = label(name).replace("\n", " ")
        axes.plot(curve["rank"], curve, color=colour(name), linestyle=line, label=text)
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("rank of the linear map")
    axes.set_ylabel("information on training images, bits")
    axes.legend(fontsize=9, frameon=False)
    return style.save(drawn, stem)


@style.styled
def draw_pairs(pairs: xr.Dataset, stem: str | Path) -> tuple[Path, Path]:
    """Bits that each source (row) has about each other (column), on training images.

    A target that is a part of the source itself is left blank.

    Parameters
    ----------
    pairs : xarray.Dataset
        As :func:`analyses.reconstruction.pairs.pair_matrix` returns it.
    stem : str or Path
        Path without suffix; PNG and SVG are written.
    """
    names = [label(str(n)) for n in pairs["source"].values]
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
    axes.set_ylabel("from")
    axes.set_xlabel("about")
    drawn.colorbar(shown, ax=axes, label="information on training images, bits", shrink=0.8)
    return style.save(drawn, stem)
