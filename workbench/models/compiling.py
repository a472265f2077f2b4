"""An optional forward pass fused by ``torch.compile``, where this machine can compile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from workbench.models.backbone import Backbone


def compiled(backbone: Backbone, say: Callable[[str], None]) -> Backbone:
    """The backbone with its forward pass compiled, or as it is where that does not work.

    torch compiles at the first call, so one blank crop is run here: a machine without a compiler
    (a C++ compiler for a CPU, Triton for CUDA) is found out now, and said, not in mid-run.
    Compiled values differ from eager ones by float rounding.
    """
    fast = replace(backbone, read=torch.compile(backbone.read), compiled=True)
    side = backbone.info.native
    try:
        fast(torch.zeros(1, 3, side, side))
    except Exception as error:  # any of the tool chain's own types; each means "run it eagerly"
        reason = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)
        say(f"{backbone.info.name} is not compiled ({reason[:200]}); it runs as it is")
        return backbone
    return fast
