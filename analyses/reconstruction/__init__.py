"""How much of a model's representation is a linear function of another's (S2 paper, Table 2)."""

from analyses.reconstruction.question import Question, ReconstructionConfig
from analyses.reconstruction.reconstruction import compute, fit
from analyses.reconstruction.result import ROW_FIELDS, rows

__all__ = ["ROW_FIELDS", "Question", "ReconstructionConfig", "compute", "fit", "rows"]
