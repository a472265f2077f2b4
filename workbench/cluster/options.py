"""Options of the engine and of its Slurm jobs, from flags and from a YAML file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import yaml

from feature_store.errors import InputError, require_at_least

WALLTIME = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)")
"""[DAYS-]HOURS:MINUTES:SECONDS, one of the forms that Slurm takes."""


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """Requests of each worker job to Slurm. None: the default named below, or the site's own."""

    partition: str | None = None
    """Partition (queue); None: the site's default."""
    account: str | None = None
    """Account that is charged."""
    gpu: str | None = None
    """The job's GPU as --gres takes it, gpu:1 or gpu:a100:1; None: a CPU job."""
    cpus: int | None = None
    """CPUs of a job, by default 1; with a GPU one for each decoding process and one more."""
    memory: str | None = None
    """Memory of a job, by default 8GB."""
    walltime: str | None = None
    """[DAYS-]HH:MM:SS after which Slurm ends a job, by default 01:00:00. Workers leave earlier, and
    jobs that left are replaced until the work is done: short jobs start sooner."""
    margin: float | None = None
    """Seconds before walltime at which workers leave, half of it at random so that not all leave at
    once; by default a tenth of the walltime, 10 to 300. Longer than one shard takes is best."""
    interface: str | None = None
    """Network interface between jobs and this machine (ib0, eth0); None: the one with the host's
    address."""
    python: str | None = None
    """Python of the jobs; by default the one that runs this."""
    setup: tuple[str, ...] | None = None
    """Shell lines before the worker starts (module load ..., conda activate ...)."""
    directives: tuple[str, ...] | None = None
    """Further #SBATCH options, such as --qos=preempt or --exclude=node7."""
    logs: str | None = None
    """Folder of the jobs' output, shared with this machine; by default slurm-logs."""
    patience: float | None = None
    """Seconds without any worker after which the run gives up, by default 600; not counted while
    all jobs wait their turn in the queue (for resources, priority, limits of users or accounts)."""

    def __post_init__(self) -> None:
        if self.walltime is not None and not WALLTIME.fullmatch(self.walltime):
            raise InputError(
                f"walltime is {self.walltime!r}; expected [DAYS-]HH:MM:SS such as 04:00:00 (quote "
                f"it in YAML)"
            )
        require_at_least(self, cpus=1)
        if self.patience is not None and not 0 < self.patience < math.inf:
            raise InputError(f"patience is {self.patience:g}; expected seconds, more than 0")
        if not 0 < self.leave_before < self.seconds:
            raise InputError(
                f"margin is {self.leave_before:g} s of a walltime of {self.seconds} s; expected "
                f"more than 0 and less than the walltime"
            )

    @property
    def seconds(self) -> int:
        """Walltime in seconds."""
        found = WALLTIME.fullmatch(self.walltime or "01:00:00")
        days, hours, minutes, rest = (int(part or 0) for part in found.groups())  # type: ignore[union-attr]
        return ((days * 24 + hours) * 60 + minutes) * 60 + rest

    @property
    def leave_before(self) -> float:
        """Seconds before walltime at which workers leave."""
        return self.margin if self.margin is not None else min(max(self.seconds / 10, 10), 300)

    def over(self, base: SlurmOptions) -> SlurmOptions:
        """These options, completed by `base` where they are not set."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(base, **{name: v for name, v in given.items() if v is not None})

    @classmethod
    def read(cls, path: str | Path) -> SlurmOptions:
        """Options from a YAML file: a mapping of the names above.

        Raises
        ------
        InputError
            No such file, no mapping, an unknown name or a value of another type.
        """
        try:
            found = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from error
        known = {f.name for f in fields(cls)}
        if not isinstance(found, dict) or set(found) - known:
            what = sorted(map(str, set(found) - known)) if isinstance(found, dict) else found
            raise InputError(f"{path} holds {what}; expected names of {', '.join(sorted(known))}")
        for name, value in found.items():
            found[name] = _checked(name, value, path)
        return cls(**found)


def _checked(name: str, value: object, path: str | Path) -> object:
    """A value from YAML in the type of its option."""
    if name in ("setup", "directives"):
        lines = [value] if isinstance(value, str) else value
        if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
            return tuple(lines)
        raise InputError(f"{path}: {name} is {value!r}; expected a list of lines")
    number = name in ("cpus", "margin", "patience")
    if isinstance(value, int | float if number else str) and not isinstance(value, bool):
        return value
    raise InputError(
        f"{path}: {name} is {value!r}; expected {'a number' if number else 'text (in quotes)'}"
    )


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where the work runs."""

    engine: Literal["local", "dask", "slurm"] = "local"
    """local: in this process; dask: worker processes here, or of --scheduler; slurm: worker jobs
    that are submitted, replaced when they end, and cancelled at the end."""
    scheduler: str | None = None
    """Address of a running Dask scheduler (tcp://HOST:8786), with --engine dask."""
    processes: int | None = None
    """Worker processes (dask: by default one for each GPU, or one for each CPU core) or worker jobs
    (slurm: by default 2)."""
    cluster_file: Path | None = None
    """YAML file of the options that --help-slurm lists; flags override it."""
    timeout: float = 20.0
    """Seconds within which a scheduler must answer."""
    dry_run: bool = False
    """Print the Slurm job script and submit nothing."""
    slurm: SlurmOptions = field(default_factory=SlurmOptions)

    def __post_init__(self) -> None:
        require_at_least(self, processes=1)
        if not 0 < self.timeout < math.inf:
            raise InputError(f"--timeout is {self.timeout:g}; expected seconds, more than 0")
        if self.scheduler and self.engine != "dask":
            raise InputError(f"--scheduler needs --engine dask, not {self.engine}")
        if self.dry_run and self.engine != "slurm":
            raise InputError(
                f"--dry-run prints a Slurm job script: it needs --engine slurm, not {self.engine}"
            )

    @property
    def jobs(self) -> SlurmOptions:
        """Slurm options of flags and file together."""
        file = self.cluster_file
        return self.slurm.over(SlurmOptions.read(file)) if file else self.slurm
