"""A cloned robot: training from stored features, speed of trials, memory against demonstrations.

    python scripts/benchmarks/robot.py --work runs/robot-benchmark

Expected: 4 minutes on 2 cores, 2 GB of memory, 0.2 GB of disk in --work. Writes results/robot.json
beside this file.

Training: seconds of a step (32 windows of 16 steps, two looks each) from stored features, against
the same step when the frames of the batch are read and encoded in it. Trials: control steps per
second of `roll`, with a simulation per core, against the bare sum of what a step needs in one
process: simulation, and rendering, encoding and policy at each look. Memory: peak of a process that
trains on 4 and on 16 demonstrations.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

import feature_store
from workbench import datasets
from workbench.cost.parallel import peak_mb
from workbench.extraction import ExtractRequest, extract
from workbench.results import strict_json
from workbench.robot.config import DemoConfig, PolicyConfig, RolloutConfig
from workbench.robot.demonstrations import load
from workbench.robot.environments import Environments, default_count
from workbench.robot.fit import Learner, clone
from workbench.robot.live import live_encoder
from workbench.robot.record import record
from workbench.robot.rollout import Controller, Memory, Trial, roll
from workbench.robot.simulation import Simulation, versions
from workbench.training.config import TrainingConfig

RESULTS = Path(__file__).parent / "results" / "robot.json"
TASK, SIZE = "pick-place-v3", 224
MODEL = "bundled:efficientnet_lite0"
SOURCE = f"{MODEL}@224"
CONFIG = PolicyConfig(look_every=8, pooling="map")
STEPS, ROUNDS = 10, 3


def prepared(work: Path, episodes: int) -> tuple[Path, str]:
    demos, store = work / f"demos-{episodes}", str(work / f"{episodes}.zarr")
    record(DemoConfig(task=TASK, episodes=episodes, size=SIZE), demos, print)
    extract(ExtractRequest(dataset=f"lerobot:{demos}", models=[MODEL], scales=["224"], store=store))
    return demos, store


def step_seconds(learner: Learner, read) -> float:
    optimizer = torch.optim.AdamW(learner.policy.parameters())
    start = time.perf_counter()
    for step in range(1, STEPS + 1):
        optimizer.zero_grad(set_to_none=True)
        learner.loss(read(step))[0].backward()
        optimizer.step()
    return (time.perf_counter() - start) / STEPS


def training(demos: Path, store: str) -> dict[str, float]:
    """Seconds per step from the store, and with the frames encoded in each step."""
    learner = Learner(feature_store.open(store), SOURCE, load(demos), CONFIG, 0)
    frames = datasets.open(f"lerobot:{demos}")
    encode = live_encoder(SOURCE, "map")

    def encoding(step: int):
        batch = learner.read(step)
        needed = np.arange(CONFIG.batch * batch.visual.shape[1]) * 37 % len(frames)
        found = encode(np.stack([frames.image(int(row)) for row in needed]))
        batch.visual = found.reshape(batch.visual.shape)
        return batch

    rounds = []
    for _ in range(ROUNDS):
        stored = step_seconds(learner, learner.read)
        rounds.append((stored, step_seconds(learner, encoding)))
    return {
        "seconds_stored": statistics.median(a for a, _ in rounds),
        "seconds_encoding": statistics.median(b for _, b in rounds),
        "encoding_over_stored": statistics.median(b / a for a, b in rounds),
    }


def trials(demos: Path, store: str) -> dict[str, float]:
    """Control steps per second in closed loop, and of the bare parts one after the other."""
    policy = Learner(feature_store.open(store), SOURCE, load(demos), CONFIG, 0).policy.eval()
    controller = Controller(policy, live_encoder(SOURCE, "map"), None)
    config, count = RolloutConfig(positions=2 * default_count(), max_steps=96), default_count()
    rounds = []
    with Environments(partial(Simulation, TASK, SIZE), count) as robots:
        list(roll(controller, robots, range(count), config))  # processes start, renderers too
        robot = Simulation(TASK, SIZE)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            steps = sum(t.steps for t in roll(controller, robots, range(config.positions), config))
            rolled = steps / (time.perf_counter() - start)
            rounds.append((rolled, bare(robot, controller)))
    return {
        "environments": count,
        "steps_per_s": statistics.median(a for a, _ in rounds),
        "bare_steps_per_s": statistics.median(b for _, b in rounds),
        "rolled_over_bare": statistics.median(a / b for a, b in rounds),
    }


def bare(robot: Simulation, controller: Controller, looks: int = 12) -> float:
    """Steps per second of simulation, rendering, encoding and policy without anything else."""
    state, done = robot.reset(1, 0), 0
    memory = Memory(Trial(0), states=[state])
    start = time.perf_counter()
    for _ in range(looks):
        memory.seen[0] = controller.encode(robot.frame()[None])[0]
        plan = controller.policy.act(controller.batch([memory]))[0].numpy()
        for action in plan[: CONFIG.look_every]:
            robot.act(np.clip(action, -1, 1))
            done += 1
    return done / (time.perf_counter() - start)


def peak(demos: Path, store: str, work: Path) -> float:
    """Peak memory of this process in MiB after 50 steps."""
    learner = Learner(feature_store.open(store), SOURCE, load(demos), CONFIG, 0)
    name = f"run-{time.time_ns()}"
    clone(learner, TrainingConfig(iterations=50, checkpoint_every=50), work / name, print)
    return peak_mb(torch.device("cpu")) * 1e6 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/robot-benchmark"))
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak:
        print(peak(Path(asked.peak[0]), asked.peak[1], asked.work))
        return
    few, many = prepared(asked.work, 4), prepared(asked.work, 16)
    memory = {}
    for name, (demos, store) in (("4 demonstrations", few), ("16 demonstrations", many)):
        command = [sys.executable, __file__, "--work", str(asked.work)]
        command += ["--peak", str(demos), store]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        memory[name] = round(float(done.stdout.splitlines()[-1]), 1)
    found = {
        "date": str(datetime.date.today()),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine()},
        "versions": {"torch": importlib.metadata.version("torch"), **versions()},
        "training": training(*many),
        "trials": trials(*many),
        "peak_mib": memory,
        "load_average_at_end": os.getloadavg()[0],
    }
    strict_json.write(found, RESULTS)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
