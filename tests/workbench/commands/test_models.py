"""``workbench models`` lists, finds and describes."""

from __future__ import annotations

import json

import pytest

from feature_store.errors import InputError
from workbench.commands.models import Models
from workbench.models.packages import PACKAGES


def test_the_list_names_every_bundled_and_paper_model(capsys):
    assert Models(json=True).run() == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names)) == len(PACKAGES) + 18
    assert all(row["weights_from"] for row in rows)
    assert Models().run() == 0
    text = capsys.readouterr().out
    assert all(name in text for name in names)
    assert "random:timm:NAME" in text


def test_describe_without_weights(capsys):
    assert Models(name="timm:vit_base_patch16_224.mae#block:9").run() == 0
    text = capsys.readouterr().out
    assert "#block:9" in text
    assert "14 x 14 tokens x 768 channels; 1 prefix tokens" in text
    assert Models(name="random:timm:vit_tiny_patch16_224", json=True).run() == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pretrained"], found["taps"][0]) == (False, "final")


def test_find(capsys):
    assert Models(find="DINOv2").run() == 0
    assert "timm:vit_base_patch14_dinov2.lvd142m" in capsys.readouterr().out
    assert Models(find="Efficientnet_LITE0").run() == 0
    names = capsys.readouterr().out.splitlines()
    assert names[0] == "bundled:efficientnet_lite0"
    assert any(name.startswith("timm:") for name in names)
    assert Models(find="no-such-model").run() == 1
    with pytest.raises(InputError, match="nearest"):
        Models(name="timm:vit_base_patch16_225").run()
