"""``workbench cost``: one JSON object, prose, and a device that does not exist."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from feature_store.errors import InputError
from workbench.commands.cost import Cost as CostCommand
from workbench.cost import LatencyConfig, ThroughputConfig

VIT = "random:timm:vit_tiny_patch16_224"


def test_a_device_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr("torch.empty", _no_device)
    command = CostCommand(
        model="bundled:efficientnet_lite0", throughput=True, timing=ThroughputConfig(device="cuda")
    )
    with pytest.raises(InputError, match="device 'cuda' cannot be used"):
        command._measured(command.model, "")


def _no_device(*_, **__):
    raise RuntimeError("no such device")


def test_command_prints_one_json_object(capsys):
    assert CostCommand(model=f"{VIT}#block:0", scales=("1x",), json=True).run() == 0
    found = json.loads(capsys.readouterr().out)
    assert {"params", "gmacs", "tokens", "channels", "bytes_per_image"} <= set(found)
    assert "images_per_s" not in found
    assert found["tap"] == "block:0"


def test_command_prints_prose(capsys):
    assert CostCommand(model=VIT, scales=("1x", "2x")).run() == 0
    assert "196 tokens x 384 channels" in capsys.readouterr().out


def test_latency_of_each_way_is_reported(monkeypatch, capsys):
    rows = [{"scale": "448", "way": "batched", "crops": 4, "seconds": 0.5, "low": 0.4,
             "high": 0.7, "peak_mb": 321.0}]  # fmt: skip
    asked = []

    def measured(*given, **options):
        asked.append((given, options))
        return pd.DataFrame(rows)

    monkeypatch.setattr("workbench.cost.one_image.latency", measured)
    given = {
        "model": VIT,
        "scales": ("1x", "2x"),
        "latency": True,
        "one_image": LatencyConfig(crop_processes=3),
    }
    assert CostCommand(**given, json=True).run() == 0
    assert json.loads(capsys.readouterr().out)["latency"] == rows
    assert asked[0][0][:2] == (VIT, ("1x", "2x"))
    assert asked[0][0][2].crop_processes == 3
    assert CostCommand(**given).run() == 0
    shown = capsys.readouterr().out
    assert "0.500 s (fastest 0.400, slowest 0.700), 321 MB: 448, batched" in shown
