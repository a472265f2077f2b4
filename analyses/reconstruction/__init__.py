"""How much of a model's representation is a linear function of another's (S2 paper, Table 2)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from analyses.reconstruction.question import Question, ReconstructionConfig

_NEEDS_TORCH = {
    "ROW_FIELDS": "result",
    "compute": "reconstruction",
    "fit": "reconstruction",
    "rows": "result",
}
__all__ = ["Question", "ReconstructionConfig", *_NEEDS_TORCH]


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use, so that options are known without it."""
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
