"""A cloned robot: training from stored features, speed of trials, memory against demonstrations.

    python scripts/benchmarks/robot.py --work runs/robot-benchmark [--only control_hz]

Expected: 5 minutes on 2 cores, 2 GB of memory, 1 GB of disk in --work, most of it for --many
demonstrations (120), which are recorded and encoded once. Writes results/robot.json beside this
file; --only measures some of its parts again and keeps the others.

Training: seconds of a step (32 windows of 16 steps, two looks each) from stored features, against
the same step when the frames of the batch are read and encoded in it instead. Trials: control steps
per second of `roll`, with one simulation and with one per core, against the bare sum of what a step
needs in one process: simulation, and rendering, encoding and policy at each look. Control: steps
per second of one robot that encoding and policy allow, for each row of scripts/experiments/robot.py
and its frames. Memory: peak of a process that trains on the first 4, the first 16 and all
demonstrations.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
import robot as experiment  # shares the processor's threads, as the commands do, before torch
import torch

import feature_store
from workbench import datasets, processors
from workbench.cost.parallel import peak_mb
from workbench.extraction import ExtractRequest, extract
from workbench.results import strict_json
from workbench.robot.config import (
    ACTION_RANGE,
    ACTION_SIZE,
    STATE_SIZE,
    DemoConfig,
    PolicyConfig,
    RolloutConfig,
)
from workbench.robot.demonstrations import load
from workbench.robot.environments import Environments, default_count
from workbench.robot.eyes import Eyes, Sight
from workbench.robot.fit import Learner, clone
from workbench.robot.live import Encode, live_encoder
from workbench.robot.policy import Policy, Scales
from workbench.robot.record import record
from workbench.robot.rollout import Controller, Memory, Trial, control_frequency, roll
from workbench.robot.simulation import Simulation, versions
from workbench.robot.windows import WindowBatch, batch_of, window_rows
from workbench.training.config import TrainingConfig
from workbench.training.randomness import rows_of_step

RESULTS = Path(__file__).parent / "results" / "robot.json"
TASK, SIZE = "pick-place-v3", 224
MODEL = "bundled:efficientnet_lite0"
SOURCE = f"{MODEL}@224"
CONFIG = PolicyConfig(look_every=8, pooling="map")
STEPS, ROUNDS = 5, 5
FEW = (4, 16)
"""Demonstrations whose memory is compared with that of all."""
PARTS = ("training", "trials", "control_hz", "peak_mib")


def prepared(work: Path, episodes: int) -> tuple[Path, str]:
    demos, store = work / f"demos-{episodes}", str(work / f"{episodes}.zarr")
    record(DemoConfig(task=TASK, episodes=episodes, size=SIZE), demos, print)
    extract(ExtractRequest(dataset=f"lerobot:{demos}", models=[MODEL], scales=["224"], store=store))
    return demos, store


def learner_of(demos: Path, store: str, episodes: int | None = None) -> Learner:
    return Learner(feature_store.open(store), SOURCE, load(demos).take(episodes), CONFIG, 0)


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
    learner = learner_of(demos, store)
    images, encode = datasets.open(f"lerobot:{demos}"), live_encoder(SOURCE, "map")
    encoding = partial(encoded, learner, images, encode)
    rounds = []
    for _ in range(ROUNDS):
        stored = step_seconds(learner, learner.read)
        rounds.append((stored, step_seconds(learner, encoding)))
    return {
        "seconds_stored": statistics.median(a for a, _ in rounds),
        "seconds_encoding": statistics.median(b for _, b in rounds),
        "encoding_over_stored": statistics.median(b / a for a, b in rounds),
    }


def encoded(learner: Learner, images: datasets.Dataset, encode: Encode, step: int) -> WindowBatch:
    """The batch of :meth:`Learner.read` without the store: its frames are read and encoded."""
    frames = learner.frames[0]
    chosen = rows_of_step(step, count=len(frames), batch=CONFIG.batch, seed=learner.seed)
    rows = window_rows(frames[chosen], learner.demonstrations, CONFIG)
    needed, back = np.unique(rows.seen, return_inverse=True)
    found = encode(np.stack([images.image(int(row)) for row in needed]))
    return batch_of(rows, learner.demonstrations, found[back.reshape(rows.seen.shape)])


def trials(demos: Path, store: str) -> dict[str, Any]:
    """Control steps per second in closed loop, and of the bare parts one after the other."""
    policy = learner_of(demos, store).policy.eval()
    controller = Controller(policy, live_encoder(SOURCE, "map"), None, within=ACTION_RANGE)
    counts = sorted({1, default_count()})
    make, robot = partial(Simulation, TASK, SIZE), Simulation(TASK, SIZE)
    bare(robot, controller, looks=1)  # the renderer starts
    rounds: list[dict[int, float]] = []
    with ExitStack() as stack:
        robots = {count: stack.enter_context(Environments(make, count)) for count in counts}
        for several in robots.values():  # processes start, renderers too
            list(roll(controller, several, range(several.count), RolloutConfig(max_steps=8)))
        for _ in range(ROUNDS):
            found = {count: rolled(controller, several) for count, several in robots.items()}
            rounds.append(found | {0: bare(robot, controller)})
    return {
        "bare_steps_per_s": statistics.median(one[0] for one in rounds),
        "simulations": {
            str(count): {
                "steps_per_s": statistics.median(one[count] for one in rounds),
                "rolled_over_bare": statistics.median(one[count] / one[0] for one in rounds),
            }
            for count in counts
        },
    }


def rolled(controller: Controller, robots: Environments) -> float:
    """Steps per second of two trials in each simulation."""
    config, start = RolloutConfig(max_steps=12 * CONFIG.look_every), time.perf_counter()
    found = roll(controller, robots, range(2 * robots.count), config)
    return sum(trial.steps for trial in found) / (time.perf_counter() - start)


def bare(robot: Simulation, controller: Controller, looks: int = 12) -> float:
    """Steps per second of simulation, rendering, encoding and policy without anything else."""
    state, done = robot.reset(1, 0), 0
    memory = Memory(Trial(0), states=[state])
    start = time.perf_counter()
    for _ in range(looks):
        memory.seen[0] = controller.encode(robot.frame()[None])[0]
        plan = controller.policy.act(controller.batch([memory]))[0].numpy()
        for action in plan[: CONFIG.look_every]:
            robot.act(np.clip(action, *ACTION_RANGE))
            done += 1
    return done / (time.perf_counter() - start)


def control() -> dict[str, float]:
    """Control steps per second of one robot, for each row of the experiment."""
    controllers = {row: untrained(*of) for row, of in experiment.ROWS.items()}
    side = experiment.DEMOS.size
    frame = np.zeros((side, side, 3), np.uint8)
    rounds = [
        {row: control_frequency(one, frame) for row, one in controllers.items()}
        for _ in range(ROUNDS + 1)
    ][1:]  # the first one warms up
    return {row: statistics.median(one[row] for one in rounds) for row in controllers}


def untrained(source: str, config: PolicyConfig) -> Controller:
    """A policy with random weights that sees what a source gives of a frame; weights cost alike."""
    encode, sight = None, None
    if source:
        encode = live_encoder(source, config.pooling)
        side = experiment.DEMOS.size
        tokens, channels = encode(np.zeros((1, side, side, 3), np.uint8)).shape[1:]
        moments = (np.zeros(channels), np.ones(channels))
        sight = Eyes(Sight(config.pooling, (tokens, channels), *moments), config.width)
    scales = Scales(*((np.zeros(size), np.ones(size)) for size in (STATE_SIZE, ACTION_SIZE)))
    policy = Policy(config, sight, scales).eval()
    return Controller(policy, encode, None, within=ACTION_RANGE)


def peak(demos: Path, store: str, episodes: int, work: Path) -> float:
    """Peak memory of this process in MiB after 50 steps."""
    learner = learner_of(demos, store, episodes)
    name = f"run-{time.time_ns()}"
    clone(learner, TrainingConfig(iterations=50, checkpoint_every=50), work / name, print)
    return peak_mb(torch.device("cpu")) * 1e6 / 2**20


def peaks(demos: Path, store: str, many: int, work: Path) -> dict[str, float]:
    """Demonstrations to peak memory in MiB, each of a process of its own."""
    found = {}
    for count in (*FEW, many):
        command = [sys.executable, __file__, "--work", str(work)]
        command += ["--peak", str(demos), store, str(count)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[f"{count} demonstrations"] = round(float(done.stdout.splitlines()[-1]), 1)
    return found


def about() -> dict[str, Any]:
    """What decides the figures of a part that is about to be measured."""
    return {
        "date": str(datetime.date.today()),
        "machine": processors.machine(),
        "versions": {"torch": importlib.metadata.version("torch"), **versions()},
        "load_average_before": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/robot-benchmark"))
    parser.add_argument("--many", type=int, default=120, help="demonstrations, more than 16")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak:
        demos, store, count = asked.peak
        print(peak(Path(demos), store, int(count), asked.work))
        return
    if asked.many <= max(FEW):
        parser.error(f"--many is {asked.many}; expected more than {max(FEW)}")
    made = prepared(asked.work, asked.many) if set(asked.only) - {"control_hz"} else ()
    parts = {
        "training": lambda: training(*made),
        "trials": lambda: trials(*made),
        "control_hz": control,
        "peak_mib": lambda: peaks(*made, asked.many, asked.work),
    }
    found = strict_json.read(RESULTS) if set(asked.only) < set(PARTS) else {}
    for part in asked.only:
        found[part] = {"measured": about(), **parts[part]()}
    strict_json.write(found, RESULTS)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
