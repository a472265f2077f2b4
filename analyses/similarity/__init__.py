"""How alike two representations are: CKA, CCA, Procrustes and shared nearest neighbours."""

from analyses.similarity.similarity import GEOMETRY, MEASURES, SimilarityConfig, compute

__all__ = ["GEOMETRY", "MEASURES", "SimilarityConfig", "compute"]
