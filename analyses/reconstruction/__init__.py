"""How much of a model's representation is a linear function of another's (S2 paper, Table 2)."""

from __future__ import annotations

from analyses.reconstruction.question import ReconstructionConfig, ReconstructionQuestion
from feature_store.deferred import deferred

_NEEDS_TORCH = {
    "ROW_FIELDS": "result",
    "compute": "reconstruction",
    "fit": "reconstruction",
    "rows": "result",
}
__all__ = ["ReconstructionQuestion", "ReconstructionConfig", *_NEEDS_TORCH]

__getattr__ = deferred(__name__, _NEEDS_TORCH)
