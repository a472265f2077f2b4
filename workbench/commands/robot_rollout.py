"""``workbench robot rollout``: success rate of a cloned policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.results.rates import rate, rate_difference
from workbench.robot.config import PICKING, RolloutConfig


@dataclass(frozen=True, kw_only=True)
class RobotRollout:
    r"""Let a trained policy act on live frames in simulation, from many positions.

    A trial of pick-place-v3 succeeds when the object is lifted (the paper's criterion); the share
    of placed objects is reported as well. A trial of another task succeeds when the object is
    placed. Repeat the command to resume. Needs the extra 'robot'.

    Examples
    --------
    workbench robot rollout --run runs/lite0-s2 --positions 200 --seed 1 --video video --json
    workbench robot rollout --run runs/lite0-s2 --against runs/lite0
    """

    run_folder: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of the trained policy."""
    trials: Annotated[RolloutConfig, options_of(RolloutConfig)] = field(
        default_factory=RolloutConfig
    )
    video: Path | None = None
    """Folder for trials.gif: successes and failures side by side, with their loss over time."""
    encoder: str | None = None
    """run:FOLDER of the frozen model, if `workbench pretrain` trained it."""
    other: Annotated[Path | None, tyro.conf.arg(name="against")] = None
    """Folder of another run, tried with the same options: report the difference in success over the
    positions that both have finished."""
    device: str = "cpu"
    """Torch device of model and policy."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.extraction.local import pick_device
        from workbench.robot.against import differences, finished_trials
        from workbench.robot.evaluate import evaluate

        trials, device = None, pick_device(self.device)
        if self.other is not None:
            trials = finished_trials(self.run_folder, self.other, self.trials, device)
        found = evaluate(
            self.run_folder, self.trials, note, video=self.video, encoder=self.encoder,
            device=device, progress=not self.json,
        )  # fmt: skip
        if trials is not None:
            found["against"] = {"run": str(self.other), **differences(found["outcomes"], trials)}
        if self.json:
            show(strict_json.dumps(found))
        for name in ("grasp", "placed") if found["task"] == PICKING else ("placed",):
            part = found[name]
            share = rate(part["success_rate"], part["low"], part["high"])
            note(f"{name}: {part['successes']} of {part['trials']} = {share}")
            if trials is not None:
                against = found["against"]
                note(
                    f"{name}, minus {against['run']}: {rate_difference(against[name])}, over "
                    f"{against['positions']} positions"
                )
        return 0
