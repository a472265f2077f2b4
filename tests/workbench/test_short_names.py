"""Short names of sources in commands."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.commands.reconstruct import Reconstruct
from workbench.commands.similarity import Similarity
from workbench.short_names import with_full_names

LITE = "bundled:efficientnet_lite"


@pytest.fixture
def path(make_store):
    x = np.ones((2, 1, 1, 2), np.float32)
    return make_store("s", {f"{LITE}{k}#f@{side}": x for k in (0, 1) for side in (8, 16)}).path


def test_short_names_are_written_out_in_a_line_each(path, capsys):
    names = ("efficientnet_lite0@8+16", f"{LITE}1@8")
    found = with_full_names(Similarity(store=path, source=names))
    assert found.source == (f"{LITE}0@8+16", f"{LITE}1@8")
    asked = Reconstruct(train=path, test=path, target="efficientnet_lite1#f@8", source=names)
    found = with_full_names(asked)
    assert (found.target, found.source) == (f"{LITE}1#f@8", (f"{LITE}0@8+16", f"{LITE}1@8"))
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"source efficientnet_lite0@8+16 is {LITE}0@8+16"
    assert len(said) == 3


@pytest.mark.parametrize("name", [f"{LITE}0@8", "unknown@8", "no source"])
def test_other_names_are_left_to_the_command(path, capsys, name):
    command = Similarity(store=path, source=(name,))
    assert with_full_names(command) == command
    assert with_full_names(Similarity(store="no/store", source=(name,))).source == (name,)
    assert capsys.readouterr().err == ""
