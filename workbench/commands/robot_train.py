"""``workbench robot train``: clone demonstrations from stored features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import feature_store
from feature_store.errors import InputError, require_at_least
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.files import require_folder
from workbench.results.messages import note, show
from workbench.robot.config import PolicyConfig, RolloutConfig
from workbench.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class RobotTrain:
    r"""Train a policy by behaviour cloning on the stored features of demonstrations.

    A transformer over visual features, states and actions of the last 16 steps predicts the next
    16 actions. Validation episodes end the training early. Repeat the command to resume.

    Examples
    --------
    workbench robot train --store demos.zarr --demos demos \
        --source bundled:efficientnet_lite0@224+448 --look-every 8 --out runs/lite0-s2
    workbench robot train --demos demos --blind --look-every 8 --out runs/blind
    """

    store: str | None = None
    """Store of the demonstrations' frames; left out with --blind."""
    demos: Path | None = None
    """Folder of the demonstrations: a LeRobotDataset, v3.0 or v2.1. Only --dry-run with --frames
    needs none."""
    source: str = ""
    """MODEL[#TAP]@SCALE[+SCALE...] that the policy sees; left out with --blind."""
    episodes: int | None = None
    """Use only the first N demonstrations."""
    out: Path
    """Folder of the run."""
    policy: Annotated[PolicyConfig, options_of(PolicyConfig)] = field(default_factory=PolicyConfig)
    training: Annotated[
        TrainingConfig, options_of(TrainingConfig, "iterations", "checkpoint_every", "patience")
    ] = field(
        default_factory=lambda: TrainingConfig(iterations=2000, checkpoint_every=100, patience=8)
    )
    seed: int = 0
    """Fixes the weights, the order of the windows, and the validation episodes."""
    dry_run: bool = False
    """Estimate the bytes of features and the GPU hours of encoding the demonstrations and 200
    trials; train nothing and read no store."""
    frames: int | None = None
    """Frames of demonstrations that are not there yet, for --dry-run in place of --demos."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.extraction.local import pick_device
        from workbench.robot.demonstrations import load, require_same_frames
        from workbench.robot.fit import Learner, clone

        if self.frames is not None:
            return self._plan(self._frames_alone(self.frames))
        if self.demos is None:
            raise InputError("--demos is missing; expected the folder of the demonstrations")
        if self.dry_run:
            return self._plan(len(load(self.demos).take(self.episodes).image_ids))
        require_folder(self.out, "--out")
        self._require_sight()
        demonstrations = load(self.demos)
        store = None
        if self.store is not None:
            store = feature_store.open(self.store)
            require_same_frames(store, demonstrations, self.demos)
        kept = demonstrations.take(self.episodes)
        policy = replace(self.policy, device=pick_device(self.policy.device))
        learner = Learner(store, self.source, kept, policy, self.seed)
        outcome = clone(learner, self.training, self.out, note, progress=not self.json)
        found = {
            "run": str(self.out),
            "step": outcome.step,
            "finished": outcome.finished,
            "best_step": outcome.best_step,
            "validation_loss": outcome.best_loss,
            "seconds": outcome.seconds,
            "params": sum(p.numel() for p in learner.policy.parameters()),
            "episodes": [len(side) for side in learner.episodes],
        }
        if self.json:
            show(strict_json.dumps(found))
        elif outcome.finished:
            best, at = outcome.best_loss, outcome.best_step
            done = f"step {outcome.step}" if best is None else f"loss {best:.4f} at step {at}"
            what = "trained to" if best is None else "validation"
            note(f"{what} {done}; next: workbench robot rollout --run {self.out}")
        return 0 if outcome.finished else 1

    def _frames_alone(self, frames: int) -> int:
        """The frames of a plan without demonstrations."""
        if not self.dry_run or self.demos is not None or self.episodes is not None:
            raise InputError(
                f"--frames is {frames}, but it needs --dry-run and takes the place of --demos and "
                f"--episodes; leave out one or the other"
            )
        require_at_least(self, frames=1)
        return frames

    def _require_sight(self) -> None:
        """Refuse a policy whose options do not tell whether, and what, it sees."""
        options = {"--store": self.store, "--source": self.source}
        given = [name for name, value in options.items() if value]
        missing = [name for name in options if name not in given]
        if self.policy.blind and given:
            raise InputError(
                f"found --blind and {' and '.join(given)}; a blind policy sees nothing: leave out "
                f"one or the other"
            )
        if missing and not self.policy.blind:
            stored = ""
            if self.store:
                names = ", ".join(map(str, feature_store.open(self.store).sources()))
                stored = f" ({self.store} holds {names or 'no sources yet'})"
            raise InputError(
                f"{' and '.join(missing)} missing; expected --store and --source{stored}, or "
                f"--blind for a policy that sees nothing"
            )

    def _plan(self, frames: int) -> int:
        from workbench.robot.plan import plan

        if not self.source:
            raise InputError("--dry-run needs the --source that the policy would see")
        found = plan(self.source, frames, self.policy, RolloutConfig())
        text = (
            f"{frames} frames, {found['gmacs_per_frame']:.1f} GMACs each: "
            f"{found['feature_bytes'] / 1e9:.2f} GB of features, "
            f"{found['demonstration_gpu_hours']:.2g} GPU hours at {found['assumed_tflops']:g} "
            f"TFLOP/s; {found['trial_gpu_hours']:.2g} for 200 trials, "
            f"{found['gmacs_per_step']:.1f} GMACs per control step"
        )
        if found["missing_file"] is not None:
            note(f"{found['missing_file']} does not exist; its architecture was counted alone")
        show(strict_json.dumps(found) if self.json else text)
        return 0
