"""Figures of the encoder laws: losses with fits, and what the next larger encoder gains.

Source: figures 1 to 3 of "Are Bigger Encoders Always Better in Vision Large Models?".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from analyses.scaling_laws.encoder import GroupFit
from analyses.scaling_laws.encoder_gain import gains
from feature_store.errors import InputError
from workbench.figures import style


@style.styled
def draw_losses(group: GroupFit) -> Figure:
    """Loss against pairs per encoder: runs, their own fit L(D), and the best law in N and D."""
    figure, (ax,) = style.figure(6.2, 4.2)
    pairs = group.runs["image_text_pairs"]
    d = np.geomspace(pairs.min(), pairs.max(), 100)
    law = group.fits[group.best]
    for i, (size, part) in enumerate(group.runs.groupby("vit_params")):
        colour = style.PALETTE[i % len(style.PALETTE)]
        marker = style.MARKERS[i % len(style.MARKERS)]
        x = part["image_text_pairs"] / 1e6
        ax.plot(x, part["eval_loss"], marker, color=colour, label=_size(float(size)))
        if float(size) in group.own:
            ax.plot(d / 1e6, group.own[float(size)].predict(float(size), d), color=colour, lw=1.6)
        ax.plot(d / 1e6, law.predict(float(size), d), color=colour, lw=1.2, ls="--")
    ax.plot([], [], color=style.INK, lw=1.6, label="L(D) per encoder")
    ax.plot([], [], color=style.INK, lw=1.2, ls="--", label=f"{group.best} law in N and D")
    ax.set(xlabel="image-text pairs (millions)", ylabel="evaluation loss")
    ax.set_title(f"{group.llm} on {group.dataset}")
    ax.legend(frameon=False, fontsize=8, ncols=2)
    return figure


@style.styled
def draw_gains(groups: Sequence[GroupFit], confidence: float = 0.95) -> Figure:
    """Gain of the largest encoder over the next at every D, with the interval of its trend."""
    figure, axes = style.figure(3.6 * len(groups) + 0.4, 3.4, columns=len(groups))
    drawn = []
    for ax, group in zip(axes, groups, strict=True):
        small, large = sorted(group.runs["vit_params"].unique())[-2:]
        try:
            frame = gains(group, small, large, confidence)
        except InputError:  # the panel names the reason
            ax.text(0.5, 0.5, "too few common D", ha="center", transform=ax.transAxes)
            continue
        drawn.append(frame)
        d = frame["image_text_pairs"] / 1e6
        ax.axhline(0, color=style.INK, lw=0.8)
        ax.fill_between(d, frame["low"], frame["high"], color=style.GREEN, alpha=0.2, lw=0)
        trend = f"trend with {confidence:.0%} interval"
        ax.plot(d, frame["gain"], color=style.GREEN, lw=1.8, label=trend)
        ax.plot(d, frame["observed"], "o", color=style.GREY, label="difference of two runs")
        ax.set(xscale="log", xlabel="image-text pairs (millions)")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.minorticks_off()
        ax.set_title(f"{group.llm}, {group.dataset}", fontsize=10)
    if not drawn:
        return figure
    low = min(min(f["low"].min(), f["observed"].min()) for f in drawn)
    high = max(max(f["high"].max(), f["observed"].max()) for f in drawn)
    pad = 0.08 * (high - low)
    for ax in axes:
        ax.set_ylim(low - pad, high + pad)
    if len({(frame.attrs["small"], frame.attrs["large"]) for frame in drawn}) == 1:
        axes[0].set_ylabel(f"loss({_size(small)}) − loss({_size(large)})")
    else:
        axes[0].set_ylabel("loss(second largest) − loss(largest)")
    axes[0].legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8)
    return figure


def _size(params: float) -> str:
    return f"{params / 1e9:.3g}B" if params >= 1e9 else f"{params / 1e6:.0f}M"
