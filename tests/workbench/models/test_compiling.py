"""torch.compile changes nothing beyond rounding, and its absence is said and survived."""

from __future__ import annotations

import shutil

import pytest
import torch

from workbench import models
from workbench.models.compiling import compiled

NAME = "random:timm:test_vit.r160_in1k"


def test_without_a_compiler_the_model_runs_as_it_is(monkeypatch):
    def no_compiler(function):
        def call(x):
            raise RuntimeError("\nno C++ compiler found\nmany more lines")

        return call

    monkeypatch.setattr(torch, "compile", no_compiler)
    backbone, said = models.load(NAME), []
    assert compiled(backbone, said.append) is backbone
    assert said == [f"{NAME} is not compiled (no C++ compiler found); it runs as it is"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_values_are_the_eager_ones_for_any_batch():
    backbone, said = models.load(NAME), []
    fast = compiled(backbone, said.append)
    assert (fast.compiled, backbone.compiled, said) == (True, False, [])
    for count in (3, 1):
        x = torch.randn(count, 3, 160, 160, generator=torch.Generator().manual_seed(count))
        expected, found = backbone(x).map, fast(x).map
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
