"""Figure 2 style curves: which sources make which curve, and files that hold the labels."""

from __future__ import annotations

import pandas as pd

from workbench.figures import style
from workbench.figures.probe import curves, draw_curve, draw_sources, short

TABLE = pd.DataFrame(
    {
        "source": ["bundled:b0@224", "bundled:b0@224+448", "bundled:b1@224", "bundled:b2@224"],
        "test_accuracy": [0.7, 0.8, 0.72, 0.75],
        "low": [0.6, 0.7, 0.62, 0.65],
        "high": [0.8, 0.9, 0.82, 0.85],
        "gmacs": [0.4, 2.0, 0.6, 0.9],
        "params": [4.0, 4.0, 5.0, 6.0],
    }
)


def test_s2_curve_starts_at_its_own_single_scale():
    grey, green = curves(TABLE)
    assert grey[:2] == ("model size", style.MODEL_SIZE)
    assert grey[2]["source"].tolist() == ["bundled:b0@224", "bundled:b1@224", "bundled:b2@224"]
    assert green[:2] == ("S2 of b0", style.S2_CURVES[0])
    assert green[2]["source"].tolist() == ["bundled:b0@224", "bundled:b0@224+448"]


def test_files_hold_the_labels(tmp_path):
    for draw in (draw_curve, draw_sources):
        png, svg = draw(TABLE, tmp_path / draw.__name__)
        assert png.stat().st_size > 5000
        assert "test accuracy" in svg.read_text()
    assert "GMACs per image" in (tmp_path / "draw_curve.svg").read_text()
    assert "b0@224+448" in (tmp_path / "draw_sources.svg").read_text()


def test_curves_are_told_apart_without_colour():
    looks = [style.MODEL_SIZE, *style.S2_CURVES]
    markers, lines = ({look[n] for look in looks} for n in (1, 2))
    assert len(markers) == len(lines) == len(looks)


def test_short_name():
    assert short("timm:vit_base#block:9@224") == "vit_base#block:9@224"
