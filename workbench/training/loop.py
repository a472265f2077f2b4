"""Train a model step by step, and resume it exactly: the loop of everything that is trained.

A run is a folder with its identity (``run.json``: everything that decides the results), the latest
checkpoints and a table of metrics. A run may be killed at any time; the repeated run ends with the
same bits as an uninterrupted one, on one CPU device and one version of torch. The first SIGTERM,
SIGUSR1, SIGHUP or Ctrl-C lets the current step finish, saves a checkpoint and ends the run.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from analyses.reading.progress import shown
from feature_store.errors import InputError
from workbench.interrupts import stop_requests
from workbench.results import strict_json
from workbench.training import checkpoints, ranks
from workbench.training.config import TrainingConfig
from workbench.training.files import EVALUATION, FINISHED, METRICS
from workbench.training.randomness import seed_step
from workbench.training.run_folder import UNDECIDING, Metrics, check_identity, held
from workbench.training.trained import Outcome, Trained, largest_gradient
from workbench.training.validation import Best


def train(
    trained: Trained,
    folder: Path,
    config: TrainingConfig,
    *,
    identity: Mapping[str, Any],
    seed: int,
    log: Callable[[str], None],
    progress: bool = False,
    libraries: Mapping[str, str] | None = None,
) -> Outcome:
    """Train to the last step, or to the first request to stop. Resumes a run in the folder.

    Parameters
    ----------
    trained : Trained
        Built after :func:`~workbench.training.randomness.seed_step` (0, seed).
    folder : Path
        Folder of this run alone.
    identity : mapping
        Everything else that decides the results, as JSON: data, model, options, and a hash of the
        ``code``. A complete run of other code is loaded, not refused.
    libraries : mapping, optional
        Versions to record beside torch's; differences are logged when the run resumes.

    Raises
    ------
    InputError
        The folder belongs to another run, or another process trains in it; the loss or a parameter
        is not finite.
    """
    device = next(trained.model.parameters()).device
    training = {name: v for name, v in asdict(config).items() if name not in UNDECIDING}
    whole = {**identity, "training": training, "seed": seed}
    wanted = progress and ranks.rank() == 0
    with held(folder):
        of_other_code = check_identity(folder, whole, str(device), log, libraries or {})
        ranks.wait()
        run = _Run(trained, folder, config, seed)
        run.resume(log)
        if of_other_code and not run.finished:
            raise InputError(
                f"another version of the code has trained {folder}, whose last checkpoint is gone "
                f"or damaged; name another folder to train again"
            )
        if not run.finished:
            if ranks.rank() == 0:  # left where the last checkpoint is damaged
                (folder / FINISHED).unlink(missing_ok=True)
            with (
                stop_requests(log, _AFTER_STEP, also=[signal.SIGUSR1]) as stopping,
                shown("train", total=config.iterations, unit="step", wanted=wanted) as bar,
            ):
                bar.initial = bar.n = run.step
                run.steps(stopping, bar)
        if run.finished and ranks.rank() == 0:
            with checkpoints.writing(FINISHED, folder):
                strict_json.write({"step": run.step}, folder / FINISHED)
        return run.outcome()


KILLED = (
    "a decoding process was killed, probably out of memory; checkpoints are safe: repeat the "
    "command, with fewer --workers"
)
_AFTER_STEP = (
    "stopping after this step, with a checkpoint; repeat to stop at once (steps after the latest "
    "checkpoint are then lost)"
)


@dataclass
class _Run:
    """A run in progress."""

    trained: Trained
    folder: Path
    config: TrainingConfig
    seed: int
    step: int = 0
    """The last step done."""
    seconds: float = 0.0
    norm: torch.Tensor | None = None
    """Norm of the latest gradient before it was clipped."""
    best: Best = field(default_factory=Best)

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.step >= self.config.iterations or self.best.waited(self.config.patience)

    def outcome(self) -> Outcome:
        """How the run ended; a finished model gets its best weights."""
        if self.finished:
            self.best.restore(self.trained.model)
        return Outcome(
            step=self.step, finished=self.finished, seconds=self.seconds, **self.best.found()
        )

    def resume(self, log: Callable[[str], None]) -> None:
        """Load the latest checkpoint, if any; of a finished run the model alone."""
        with ranks.first_alone():  # it removes files
            state = checkpoints.load(self.folder, log)
            checkpoints.remove_old(self.folder, keep=self.config.keep)  # the disk may be full
        if state is None:
            return
        self.step, self.seconds = state["step"], state["seconds"]
        self.best = Best(**state.get("best", {}))
        try:
            self.trained.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise InputError(
                f"the checkpoint of step {self.step} in {self.folder} does not fit the model "
                f"({shorten(str(error), 200)}); name another folder, or repeat the command with "
                f"the version of the code that wrote it"
            ) from error
        if self.finished:
            log(f"{self.folder} is finished, after step {self.step}")
            return
        self.trained.optimizer.load_state_dict(state["optimizer"])
        if self.trained.schedule is not None:
            self.trained.schedule.load_state_dict(state["schedule"])
        log(f"resuming {self.folder} after step {self.step}")

    def steps(self, stopping: Callable[[], bool], bar: Any) -> None:
        """Train to the last step or to a request to stop, then save a checkpoint."""
        metrics = Metrics(self.folder, METRICS, self.step)
        evaluation = Metrics(self.folder, EVALUATION, self.step) if self.trained.evaluate else None
        self.trained.model.train()
        clock = time.perf_counter() - self.seconds
        try:
            for step, batch in self._batches():
                row = self._one(step, batch)
                self.step, self.seconds = step, time.perf_counter() - clock
                last = step == self.config.iterations
                if last or step % self.config.log_every == 0:
                    self._add(metrics, row)
                    bar.set_postfix(self._shown(row, bar), refresh=False)
                bar.update()
                stop = ranks.any_of(stopping())
                due = last or step % self.config.checkpoint_every == 0
                if due or stop:
                    self._require_finite()
                if due and evaluation is not None:
                    self._add(evaluation, {"step": step, **self._evaluated()})
                if due or stop:
                    metrics.sync()
                    if evaluation is not None:
                        evaluation.sync()
                    self._save()
                    ranks.wait()  # torchrun ends all processes once one has ended with an error
                if stop or self.finished:
                    return
        except RuntimeError as error:  # from anywhere: torch handles SIGCHLD
            if "DataLoader worker (pid" not in str(error):
                raise
            raise InputError(KILLED) from error
        finally:
            metrics.close()
            if evaluation is not None:
                evaluation.close()

    def _add(self, table: Metrics, row: Mapping[str, float]) -> None:
        table.add(row)
        if self.trained.record is not None and ranks.rank() == 0:
            self.trained.record(self.step, row)

    def _shown(self, row: Mapping[str, float], bar: Any) -> dict[str, str]:
        """Values beside the bar."""
        found = {"loss": f"{row['loss']:.4g}", "rate": f"{row['learning_rate']:.2g}"}
        so_far = bar.format_dict
        rate = so_far["rate"]  # None until the bar is drawn again, which a short run may end before
        if not rate and so_far["elapsed"]:
            rate = (so_far["n"] - so_far["initial"]) / so_far["elapsed"]
        counts = {"images/s": self.trained.images, "tokens/s": row.get("tokens", 0)} if rate else {}
        return found | {name: f"{rate * count:.4g}" for name, count in counts.items() if count}

    def _evaluated(self) -> Mapping[str, float]:
        assert self.trained.evaluate is not None
        self.trained.model.eval()
        try:
            found = self.trained.evaluate(self.step)
        finally:
            self.trained.model.train()
        if self.config.patience is not None:
            if not math.isfinite(found["loss"]):
                raise self._not_finite(f"step {self.step}: the evaluated loss is {found['loss']}")
            self.best.update(self.step, found["loss"], self.trained.model)
        return found

    def _batches(self) -> Iterator[tuple[int, Any]]:
        """Yield steps and their batches; each batch is read during the step before it."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead = reader.submit(self.trained.read, self.step + 1)
            for step in range(self.step + 1, self.config.iterations + 1):
                batch = ahead.result()
                if step < self.config.iterations:
                    ahead = reader.submit(self.trained.read, step + 1)
                yield step, batch

    def _one(self, step: int, batch: Any) -> dict[str, float]:
        """Take a step; returns its row of metrics."""
        trained, optimizer = self.trained, self.trained.optimizer
        if trained.before is not None:
            trained.before(step)
        seed_step(step, self.seed, ranks.rank())
        parts = [batch] if trained.parts is None else trained.parts(batch)
        rows = [self._part(step, part, k, len(parts)) for k, part in enumerate(parts)]
        if self.config.clip is not None:
            self.norm = torch.nn.utils.clip_grad_norm_(trained.model.parameters(), self.config.clip)
        rate = max(group["lr"] for group in optimizer.param_groups)
        optimizer.step()
        if trained.schedule is not None:
            trained.schedule.step()
        if trained.after is not None:
            trained.after(step)
        means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        loss = means.pop("loss")
        return {"step": step, "loss": loss, "learning_rate": float(rate), **means}

    def _part(self, step: int, part: Any, number: int, count: int) -> dict[str, float]:
        """Add the gradients of one part of a batch; returns its loss and further values."""
        loss, more = self.trained.loss(part)
        row = ranks.means({"loss": float(loss.detach()), **more})
        if not math.isfinite(row["loss"]):
            # Of the step before, as clipped; or of this step's parts so far, each divided by count.
            factor = self._clipped_by() if number == 0 else count / number
            before = largest_gradient(self.trained.model, factor)
            raise self._not_finite(f"step {step}: the loss is {row['loss']}{before}")
        if number == 0:  # only now, so that the message above can name the earlier gradients
            self.trained.optimizer.zero_grad(set_to_none=True)
        (loss / count).backward()
        return row

    def _clipped_by(self) -> float:
        """What the latest gradients were divided by; 1 if they were not clipped."""
        if self.norm is None or self.config.clip is None:
            return 1.0
        return max(1.0, float(self.norm) / self.config.clip)

    def _require_finite(self) -> None:
        for name, value in self.trained.model.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise self._not_finite(f"after step {self.step} {name} is not finite")

    def _save(self) -> None:
        model, schedule = self.trained.model, self.trained.schedule
        if ranks.rank() > 0:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "model": model.state_dict(),
            "optimizer": self.trained.optimizer.state_dict(),
            "schedule": None if schedule is None else schedule.state_dict(),
            "best": vars(self.best),
        }
        checkpoints.save(state, self.folder, keep=self.config.keep)

    def _not_finite(self, found: str) -> InputError:
        return InputError(
            f"{found}; earlier checkpoints in {self.folder} are intact. Start again in another "
            f"folder with a lower learning rate or a smaller clip, and check the data for values "
            f"that are not finite"
        )
