"""Curves of policies against cost, and latency against scale: every row is drawn."""

from __future__ import annotations

import pandas as pd

from workbench.figures.latency import draw_latency
from workbench.figures.selection import LOOKS, draw_curve


def curves_of(figure):
    axes = figure.axes[0]
    return {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}


def test_each_policy_has_a_curve_and_model_size_begins_at_the_base_scale():
    rows = [
        {"policy": policy, "budget": budget, "gmacs": 1 + 4 * budget, "metric": at + budget,
         "metric_name": "miou", "low": at, "high": at + 2}
        for at, policy in enumerate(LOOKS) for budget in (0.0, 0.5, 1.0)
    ]  # fmt: skip
    others = pd.DataFrame([{"source": "m:b@1x", "gmacs": 2.0, "metric": 0.3, "low": 0, "high": 1}])
    found = curves_of(draw_curve(pd.DataFrame(rows), others))
    assert list(found) == [*LOOKS, "model size"]
    assert found["random"] == [[1, 1], [3, 1.5], [5, 2]]
    assert found["model size"] == [[1, 0], [2, 0.3]]
    assert "model size" not in curves_of(draw_curve(pd.DataFrame(rows)))


def test_latency_and_memory_of_each_way():
    rows = [
        {"scale": scale, "way": way, "crops": 4, "seconds": n + 0.5, "low": n, "high": n + 1.0,
         "peak_mb": 100.0 * n}
        for n, (way, scale) in enumerate([("batched", "448"), ("batched", "224"), ("whole", "448")])
    ]  # fmt: skip
    figure = draw_latency(pd.DataFrame(rows))
    found = curves_of(figure)
    assert found["crops in one batch"] == [[224, 1.5], [448, 0.5]]
    assert found["the whole image in one piece"] == [[448, 2.5]]
    assert figure.axes[1].get_lines()[0].get_xydata().tolist() == [[224, 100], [448, 0]]
