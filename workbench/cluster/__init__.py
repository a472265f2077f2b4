"""The same work on many processes: Dask workers on this machine, elsewhere, or in Slurm jobs."""

from workbench.cluster.options import EngineOptions, SlurmOptions

__all__ = ["EngineOptions", "SlurmOptions"]
