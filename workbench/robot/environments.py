"""Several simulated robots at a time: one in this process, or each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL import Image

from feature_store.errors import InputError
from workbench.interrupts import ignore_interrupts
from workbench.robot.config import FILM_SIDE, FILM_STRIDE
from workbench.robot.simulation import Step


class Robot(Protocol):
    """A robot for trials, such as :class:`~workbench.robot.simulation.Simulation`."""

    @property
    def state(self) -> np.ndarray:
        """Proprioception."""

    def reset(self, seed: int, position: int) -> np.ndarray:
        """Start at a position; returns the state."""

    def act(self, action: np.ndarray) -> Step:
        """Take a step."""

    def expert(self) -> np.ndarray:
        """The expert's action in the present state."""

    def frame(self) -> np.ndarray:
        """RGB uint8, dims (row, col, 3)."""

    def close(self) -> None:
        """Free the robot's resources."""


@dataclass(frozen=True)
class Order:
    """Actions for a robot to take before it answers."""

    start: tuple[int, int] | None = None
    """Begin a trial: (seed, position)."""
    actions: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    """float, dims (step, value): actions to take until the object is placed."""
    sees: bool = True
    """Answer with a frame."""
    film_from: int | None = None
    """Number of the first of these steps in a trial that is filmed: answer with a frame of every
    third step of the trial and the expert's action of each step as well."""


@dataclass(frozen=True)
class Answer:
    """Outcome of an order."""

    states: np.ndarray
    """float32, dims (step, value): state after each step, or at the start."""
    grasped: bool = False
    """Whether the object was lifted in any of the steps."""
    placed: bool = False
    """Whether the object was at its goal in any of the steps."""
    frame: np.ndarray | None = None
    """uint8, dims (row, col, 3)."""
    film: list[np.ndarray] = field(default_factory=list)
    """uint8 frames, dims (224, 224, 3), each before a step."""
    experts: list[np.ndarray] = field(default_factory=list)
    """float32, the expert's action in each step."""


def obey(robot: Robot, order: Order) -> Answer:
    """Carry out an order."""
    states: list[np.ndarray] = []
    film: list[np.ndarray] = []
    experts: list[np.ndarray] = []
    if order.start is not None:
        states.append(robot.reset(*order.start))
    grasped = placed = False
    for number, action in enumerate(order.actions, order.film_from or 0):
        if order.film_from is not None:
            if number % FILM_STRIDE == 0:
                film.append(_small(robot.frame()))
            experts.append(robot.expert())
        step = robot.act(action)
        states.append(step.state)
        grasped, placed = grasped or step.grasped, placed or step.placed
        if placed:
            break
    frame = robot.frame() if order.sees and not placed else None
    return Answer(np.stack(states), grasped, placed, frame, film, experts)


class Environments:
    """Robots that carry out orders in parallel.

    Parameters
    ----------
    make : callable
        Builds a robot; must be picklable if there are several.
    count : int
        Number of robots; a single one runs in this process.
    """

    def __init__(self, make: Callable[[], Robot], count: int) -> None:
        self.count = count
        self._own = make() if count == 1 else None
        self._processes: list[Any] = []
        self._pipes: list[Any] = []
        context = multiprocessing.get_context("spawn")  # a fork would share the driver's state
        for _ in range(count if count > 1 else 0):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, make), daemon=True)
            process.start()
            there.close()
            self._processes.append(process)
            self._pipes.append(here)

    def obey(self, orders: Sequence[tuple[int, Order]]) -> list[Answer]:
        """Answers to (robot, order) pairs, in their order.

        Raises
        ------
        InputError
            A robot refused its order or, in a process of its own, failed or ended.
        """
        if self._own is not None:
            return [obey(self._own, order) for _, order in orders]
        for number, order in orders:
            try:
                self._pipes[number].send(order)
            except OSError:
                raise self._ended(number) from None
        found = []
        for number, _ in orders:
            try:
                answer = self._pipes[number].recv()
            except (EOFError, OSError):
                raise self._ended(number) from None
            if isinstance(answer, InputError):
                raise answer
            found.append(answer)
        return found

    def _ended(self, number: int) -> InputError:
        """The error of a process that ended without an answer."""
        process = self._processes[number]
        process.join(timeout=10)
        if process.exitcode == -signal.SIGKILL:
            why = "was killed, probably out of memory; use fewer --environments"
        else:
            why = (
                f"has ended with status {process.exitcode}; repeat with --environments 1 to see why"
            )
        return InputError(f"the process of simulation {number} {why}")

    def close(self) -> None:
        """End the processes."""
        if self._own is not None:
            self._own.close()
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=10)
            process.kill()

    def __enter__(self) -> Environments:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def default_count() -> int:
    """One robot per processor."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _serve(pipe: Any, make: Callable[[], Robot]) -> None:
    """Carry out orders until the pipe is closed, be it during an order."""
    ignore_interrupts()
    robot = None
    while True:
        try:
            order = pipe.recv()
        except (EOFError, OSError):
            break
        answer: Answer | InputError
        try:
            robot = robot or make()
            answer = obey(robot, order)
        except InputError as error:
            answer = error
        except Exception as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            answer = InputError(
                f"a simulation failed ({what}); repeat with --environments 1 to see where"
            )
        try:
            pipe.send(answer)
        except OSError:
            break
    if robot is not None:
        robot.close()


def _small(frame: np.ndarray) -> np.ndarray:
    """A frame in the size of films."""
    return np.asarray(Image.fromarray(frame).resize((FILM_SIDE, FILM_SIDE)))
