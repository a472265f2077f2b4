"""Figures of the shape law: IsoFlop curves, predicted against actual, exponents, frontier.

Source: figures 1, 3, 4 and 5 of "Getting ViT in Shape".
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.scaling_laws import sovit
from analyses.scaling_laws.architecture import DIMENSIONS, NAMED_SHAPES
from analyses.scaling_laws.planners import GRID_IMAGES, scale_shape
from analyses.scaling_laws.runs import pareto
from analyses.scaling_laws.shape import ShapeFit
from workbench.figures import style

VIOLET = style.PALETTE[2]
_LABELS = {"width": "width", "depth": "depth", "mlp": "MLP size"}


@style.styled
def draw_isoflop(fits: Sequence[ShapeFit]) -> Figure:
    """Metric against the dimension at fixed compute, with the runs and the optima (figure 4)."""
    figure, axes = style.figure(3.6 * len(fits) + 0.9, 3.6, columns=len(fits))
    for ax, fit in zip(axes, fits, strict=True):
        runs, law = fit.runs, fit.law
        limits = mpl.colors.LogNorm(runs["compute"].min(), runs["compute"].max())
        colour = mpl.colormaps["viridis"]
        x = np.geomspace(runs["value"].min() / 1.3, runs["value"].max() * 1.3, 200)
        for t in np.geomspace(runs["compute"].min(), runs["compute"].max(), 5):
            shade = colour(limits(t))
            ax.plot(x, law.metric(x, t), color=shade, lw=1.4)
            best = float(law.optimum(t))
            if x[0] <= best <= x[-1]:
                ax.plot(best, law.metric(best, t), "*", color=shade, ms=11, mec=style.INK)
        ax.scatter(
            runs["value"], runs["metric"], c=runs["compute"], cmap=colour, norm=limits, s=22,
            ec=style.INK, lw=0.4,
        )  # fmt: skip
        _log_ticks(ax, runs["value"])
        top = 1.15 * runs["metric"].max()
        ax.set(title=_title(fit), xlabel=_LABELS.get(fit.dimension, "value"), ylim=(0, top))
        bar = figure.colorbar(mpl.cm.ScalarMappable(limits, colour), ax=ax, pad=0.02)
        bar.set_label("compute", fontsize=9)
    axes[0].set_ylabel("metric")
    return figure


@style.styled
def draw_predicted(fits: Sequence[ShapeFit]) -> Figure:
    """Predicted against actual metric; the held-out largest value in violet (figure 4, left)."""
    figure, axes = style.figure(3.5 * len(fits), 3.5, columns=len(fits))
    for ax, fit in zip(axes, fits, strict=True):
        runs = fit.runs
        held = runs["extrapolated"].notna()
        shown = runs[["metric", "predicted", "extrapolated"]]
        ends = [0.9 * shown.min().min(), 1.1 * shown.max().max()]
        ax.plot(ends, ends, color=style.INK, lw=0.8)
        actual, unseen = runs["metric"], runs["extrapolated"][held]
        ax.scatter(actual, runs["predicted"], s=22, color=style.GREY, label="fitted, all runs")
        ax.scatter(actual[held], unseen, s=32, marker="D", color=VIOLET, label="predicted unseen")
        ax.set(title=_title(fit), xlabel="actual metric", xscale="log", yscale="log")
        ax.set(xlim=ends, ylim=ends, aspect="equal")
        for axis in (ax.xaxis, ax.yaxis):
            style.log_axis(axis)
    axes[0].set_ylabel("predicted metric")
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure


@style.styled
def draw_exponents(fits: Sequence[ShapeFit]) -> Figure:
    """Exponents a, b, c and s of every dimension with their intervals (figure 5)."""
    figure, axes = style.figure(9.0, 3.0, columns=4)
    for ax, name in zip(axes, ("a", "b", "c", "s"), strict=True):
        for i, fit in enumerate(fits):
            value = fit.law.s if name == "s" else getattr(fit.law, name)
            lost = name in fit.unidentified or (name == "s" and fit.unidentified)
            face = "white" if lost else style.PALETTE[0]
            if name in fit.intervals:
                ax.plot(fit.intervals[name], [i, i], color=style.PALETTE[0], lw=2)
            ax.plot(value, i, "o", mfc=face, mec=style.PALETTE[0], ms=7)
        ax.set(title=f"${name}$" if name != "s" else "$s = c/(a+b)$", ylim=(-0.6, len(fits) - 0.4))
        ax.set_yticks(range(len(fits)), [_LABELS.get(f.dimension, f.dimension) for f in fits])
        ax.set_xscale("log")
        style.log_axis(ax.xaxis)
        if ax is not axes[0]:
            ax.tick_params(labelleft=False)
    if any(fit.unidentified for fit in fits):
        axes[0].set_xlabel("hollow: not determined by the runs", fontsize=8)
    return figure


@style.styled
def draw_frontier(fits: Sequence[ShapeFit]) -> Figure:
    """Optimal value against compute with the middle 95 % of resamples; dotted outside the runs."""
    figure, axes = style.figure(3.5 * len(fits), 3.4, columns=len(fits))
    for ax, fit in zip(axes, fits, strict=True):
        low, high = fit.runs["compute"].min(), fit.runs["compute"].max()
        t = np.geomspace(low, high * 10, 120)
        best = fit.law.optimum(t)
        inside = (best >= fit.runs["value"].min()) & (best <= fit.runs["value"].max())
        known = np.where((t <= high) & inside, best, np.nan)
        ax.plot(t, best, color=style.GREEN, ls=":", lw=1.6, label="extrapolated")
        ax.plot(t, known, color=style.GREEN, lw=2.2, label="within the runs")
        if len(fit.replicates):
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                band = _band(fit, t)
            ax.fill_between(t, *band, color=style.GREEN, alpha=0.18, lw=0)
        ax.scatter(fit.runs["compute"], fit.runs["value"], s=10, color=style.GREY, label="runs")
        ax.set(xscale="log", yscale="log", title=_title(fit), xlabel="compute")
        ax.set_ylim(fit.runs["value"].min() / 3, fit.runs["value"].max() * 3)
        style.log_axis(ax.yaxis)
    axes[0].set_ylabel("compute-optimal value")
    axes[-1].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


@style.styled
def draw_runs(fits: Sequence[ShapeFit]) -> Figure:
    """Metric against compute of every run, Pareto-optimal ones joined (figure 3)."""
    figure, (ax,) = style.figure(6.2, 4.0)
    names = ["compute", "metric"]
    table = pd.concat([fit.runs[[*names, "value"]].assign(leg=fit.dimension) for fit in fits])
    # Repeats (seeds) of a run count once, by their mean; centre runs appear on every leg.
    table = table.groupby(["leg", "value", "compute"], as_index=False)["metric"].mean()
    for i, fit in enumerate(fits):
        part = table[table["leg"] == fit.dimension]
        colour, marker = style.PALETTE[i], style.MARKERS[i]
        label = f"{_title(fit)} varied" if len(fits) > 1 else "runs"
        ax.scatter(part["compute"], part["metric"], color=colour, marker=marker, label=label, s=26)
    best = table[pareto(table)].sort_values("compute")
    ax.plot(best["compute"], best["metric"], color=style.INK, lw=1.2, label="Pareto-optimal")
    ax.set(xscale="log", yscale="log", xlabel="compute", ylabel="metric")
    style.log_axis(ax.yaxis)
    ax.legend(frameon=False, fontsize=8)
    return figure


@style.styled
def draw_published_frontier() -> Figure:
    """The paper's recipe from x⁰ on, and the published networks at their compute (figure 1)."""
    figure, axes = style.figure(11.5, 3.2, columns=4)
    start = {name: float(getattr(sovit.SMALL_OPTIMUM, name)) for name in DIMENSIONS}
    first = sovit.gflops(sovit.SMALL_OPTIMUM, GRID_IMAGES)
    tau = np.geomspace(1, 3000, 60)
    path = [scale_shape(start, float(x), sovit.exponents()) for x in tau]
    networks = {
        "ViT-B/14": ("B/14", 4e9, style.GREY, "s"),
        "ViT-g/14": ("g/14", 16e9, style.GREY, "D"),
        "SoViT-150m": ("SoViT-150m/14", None, style.GREEN, "o"),
        "SoViT-400m": ("SoViT-400m/14", 40e9, style.GREEN, "^"),
    }
    for ax, name in zip(axes, (*DIMENSIONS, "params"), strict=True):
        params = name == "params"
        line = [sovit.fractional_params(p) / 1e6 if params else p[name] for p in path]
        ax.plot(first * tau, line, color=style.GREEN, lw=1.8, label="recipe from $x^0$")
        for label, (key, images, colour, marker) in networks.items():
            shape = NAMED_SHAPES[key]
            compute = sovit.gflops(shape if images else NAMED_SHAPES["B/14"], images or 4e9)
            value = shape.params / 1e6 if name == "params" else getattr(shape, name)
            ax.plot(compute, value, marker, color=colour, ms=7, ls="", label=label)
        ax.set(xscale="log", yscale="log", xlabel="compute (GFLOPs)")
        ax.set_title("parameters (M)" if name == "params" else _LABELS[name])
        style.log_axis(ax.yaxis)
    axes[-1].legend(frameon=False, fontsize=7.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _band(fit: ShapeFit, t: np.ndarray) -> np.ndarray:
    r = {name: fit.replicates[name].to_numpy()[:, None] for name in fit.replicates}
    ratio = r["alpha"] * r["a"] * t ** r["c"] / (r["beta"] * r["b"])
    return np.nanquantile(ratio ** (1 / (r["a"] + r["b"])), [0.025, 0.975], axis=0)


def _title(fit: ShapeFit) -> str:
    return _LABELS.get(fit.dimension, fit.dimension)


def _log_ticks(ax: Axes, values: np.ndarray) -> None:
    ax.set_xscale("log")
    distinct = np.unique(values)
    turned = 90 if len(distinct) > 5 and distinct[-1] >= 100 else 0  # long labels would touch
    ax.set_xticks(distinct, [f"{v:g}" for v in distinct], fontsize=8, rotation=turned)
    ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
