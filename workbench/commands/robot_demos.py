"""``workbench robot demos``: demonstrations of a simulated expert."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.robot.config import DemoConfig


@dataclass(frozen=True, kw_only=True)
class RobotDemos:
    r"""Record a scripted expert of Meta-World from seeded positions, as a LeRobotDataset (v3.0).

    Each step has a frame, the state of hand and gripper, the action, and success. Repeat the
    command to resume. Needs the extra 'robot'.

    Examples
    --------
    workbench robot demos --task pick-place-v3 --episodes 120 --size 448 --out demos
    workbench extract --dataset lerobot:demos --model bundled:efficientnet_lite0 \
        --scales 224 448 --store demos.zarr
    """

    demos: Annotated[DemoConfig, options_of(DemoConfig)] = field(default_factory=DemoConfig)
    out: Path
    """Folder of the demonstrations."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.robot.record import record

        found = record(self.demos, self.out, note, progress=not self.json)
        if self.json:
            show(strict_json.dumps(found))
        note(
            f"{found['successes']} of {found['episodes']} demonstrations succeeded; "
            f"{found['frames']} frames in {self.out}"
        )
        return 0
