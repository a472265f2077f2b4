"""An optional forward pass fused by ``torch.compile``, if this machine can compile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from workbench.models.backbone import Backbone


def compiled(backbone: Backbone, log: Callable[[str], None]) -> Backbone:
    """The backbone with its forward pass compiled, or unchanged where that fails.

    torch compiles at the first call, so one blank crop runs here: a missing compiler (C++ for a
    CPU, Triton for CUDA) shows now and is logged, rather than in the middle of a run. Compiled
    values differ from eager ones by float rounding.
    """
    fast = replace(backbone, read=torch.compile(backbone.read), compiled=True)
    side = backbone.info.native
    try:
        fast(torch.zeros(1, 3, side, side))
    except Exception as error:  # any of the tool chain's own types; each means "run it eagerly"
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        log(f"{backbone.info.name} is not compiled ({reason[:200]}); it runs as it is")
        return backbone
    return fast
