"""``workbench cost``: one JSON object, prose, and a device that does not exist."""

from __future__ import annotations

import json

import pytest

from feature_store.errors import InputError
from workbench.commands.cost import Cost as CostCommand
from workbench.cost import ThroughputConfig

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
