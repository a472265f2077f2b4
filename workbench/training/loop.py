"""Train a model step by step, and resume it exactly: the loop that all trained parts share.

A run is a folder. It holds what decides the results (``run.json``), the latest checkpoints and a
table of metrics. A run that is killed at any moment and repeated ends with the same bits as an
uninterrupted one, on one CPU device and one version of torch. A first SIGTERM, SIGUSR1, SIGHUP or
Ctrl-C lets the current step finish, saves a checkpoint and ends the run; repeated, it resumes.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from analyses.reading.progress import shown
from feature_store.errors import InputError
from workbench.interrupts import stop_requests
from workbench.training import checkpoints
from workbench.training.config import TrainingConfig
from workbench.training.randomness import seed_step
from workbench.training.run_folder import Metrics, check_identity, held


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a run trains, and on what."""

    model: torch.nn.Module
    """Trained in place."""
    optimizer: Optimizer
    """Of the model's parameters."""
    read: Callable[[int], Any]
    """Step, from 1, to its batch. Called one step ahead in a thread: it draws from
    :func:`~workbench.training.randomness.step_generator`, never from a global random state."""
    loss: Callable[[Any], tuple[torch.Tensor, Mapping[str, float]]]
    """Batch to its loss, a scalar that is differentiated, and further columns of metrics.csv."""
    schedule: LRScheduler | None = None
    """Advanced once a step."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a run ended."""

    step: int
    """Steps done."""
    finished: bool
    """Whether these are all; otherwise the run was asked to stop."""
    seconds: float
    """Time in all steps, those before a resumption included."""


def train(
    trained: Trained,
    folder: Path,
    config: TrainingConfig,
    *,
    identity: Mapping[str, Any],
    seed: int,
    log: Callable[[str], None],
    progress: bool = False,
) -> Outcome:
    """Train to the last step, or to the first request to stop; resume what the folder holds.

    Parameters
    ----------
    trained : Trained
        Built after :func:`~workbench.training.randomness.seed_step` (0, seed).
    folder : Path
        Of this run alone.
    config : TrainingConfig
    identity : mapping
        What decides the results beside `config` and `seed`: data, model, options; as JSON.
    seed : int
    log : callable
        Prints a line.
    progress : bool
        Show a bar with the time left.

    Raises
    ------
    InputError
        The folder belongs to another run, or to a process that is training in it; or the loss or a
        parameter is not finite.
    """
    device = next(trained.model.parameters()).device
    whole = {**identity, "training": asdict(config), "seed": seed}
    with held(folder):
        check_identity(folder, whole, str(device), log)
        step, seconds = _resume(trained, folder, log)
        run = _Run(trained, folder, config, seed, step, seconds)
        if step < config.iterations:
            with (
                stop_requests(log, _AFTER_STEP, also=[signal.SIGUSR1]) as stopping,
                shown("train", total=config.iterations, unit="step", wanted=progress) as bar,
            ):
                bar.initial = bar.n = step
                run.steps(stopping, bar)
    return Outcome(step=run.step, finished=run.step == config.iterations, seconds=run.seconds)


_AFTER_STEP = (
    "stopping after this step, with a checkpoint; once more to stop at once (what came after the "
    "latest checkpoint is then redone)"
)


@dataclass
class _Run:
    """A run on its way."""

    trained: Trained
    folder: Path
    config: TrainingConfig
    seed: int
    step: int
    """The last step done."""
    seconds: float

    def steps(self, stopping: Callable[[], bool], bar: Any) -> None:
        """Steps until the last one or a request to stop, then a checkpoint."""
        metrics = Metrics(self.folder, self.step)
        self.trained.model.train()
        clock = time.perf_counter() - self.seconds
        try:
            for step, batch in self._batches():
                row = self._one(step, batch)
                self.step, self.seconds = step, time.perf_counter() - clock
                last = step == self.config.iterations
                if last or step % self.config.log_every == 0:
                    metrics.add(row)
                    bar.set_postfix(loss=f"{row['loss']:.4g}", refresh=False)
                bar.update()
                stop = stopping()
                if last or stop or step % self.config.checkpoint_every == 0:
                    metrics.sync()
                    self._save()
                if stop:
                    return
        finally:
            metrics.close()

    def _batches(self) -> Iterator[tuple[int, Any]]:
        """Steps and their batches, each read while the step before it is computed."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = reader.submit(self.trained.read, self.step + 1)
            for step in range(self.step + 1, self.config.iterations + 1):
                batch = ahead.result()
                if step < self.config.iterations:
                    ahead = reader.submit(self.trained.read, step + 1)
                yield step, batch

    def _one(self, step: int, batch: Any) -> dict[str, float]:
        """Take a step; its row of metrics."""
        model, optimizer = self.trained.model, self.trained.optimizer
        seed_step(step, self.seed)
        optimizer.zero_grad(set_to_none=True)
        loss, more = self.trained.loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._not_finite(f"step {step}: the loss is {value}")
        loss.backward()
        if self.config.clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.config.clip)
        rate = optimizer.param_groups[0]["lr"]
        optimizer.step()
        if self.trained.schedule is not None:
            self.trained.schedule.step()
        return {"step": step, "loss": value, "learning_rate": float(rate), **more}

    def _save(self) -> None:
        model, schedule = self.trained.model, self.trained.schedule
        for name, value in model.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise self._not_finite(f"after step {self.step} {name} is not finite")
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "model": model.state_dict(),
            "optimizer": self.trained.optimizer.state_dict(),
            "schedule": None if schedule is None else schedule.state_dict(),
        }
        checkpoints.save(state, self.folder, keep=self.config.keep)

    def _not_finite(self, found: str) -> InputError:
        return InputError(
            f"{found}; earlier checkpoints in {self.folder} are intact. Start again in another "
            f"folder with a lower learning rate or a smaller clip, and check the data for values "
            f"that are not finite"
        )


def _resume(trained: Trained, folder: Path, log: Callable[[str], None]) -> tuple[int, float]:
    """Load the latest checkpoint, if any; the steps and seconds done."""
    state = checkpoints.load(folder, log)
    if state is None:
        return 0, 0.0
    trained.model.load_state_dict(state["model"])
    trained.optimizer.load_state_dict(state["optimizer"])
    if trained.schedule is not None:
        trained.schedule.load_state_dict(state["schedule"])
    log(f"resuming {folder} after step {state['step']}")
    return state["step"], state["seconds"]
