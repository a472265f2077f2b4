"""Trials of a policy in closed loop: it acts on live frames until the object is placed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from workbench.robot.config import RolloutConfig
from workbench.robot.environments import Answer, Environments, Order
from workbench.robot.live import Encode
from workbench.robot.policy import Policy
from workbench.robot.windows import WindowBatch, looks


@dataclass
class Trial:
    """One attempt."""

    position: int
    steps: int = 0
    """Steps taken."""
    grasped: bool = False
    """Whether the object was lifted."""
    placed: bool = False
    """Whether it was brought to the goal."""
    film: list[np.ndarray] = field(default_factory=list)
    """uint8 frames of every third step, dims (224, 224, 3), if the trial was filmed."""
    losses: list[float] = field(default_factory=list)
    """Mean absolute difference of each filmed step's action from the expert's."""


@dataclass
class Memory:
    """History of a trial: the input of the policy."""

    trial: Trial
    states: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    seen: dict[int, torch.Tensor] = field(default_factory=dict)
    """Step to the features of its frame."""
    plans: list[tuple[int, np.ndarray]] = field(default_factory=list)
    """Step of each look, and the actions predicted there."""

    def intend(self, actions: np.ndarray) -> np.ndarray:
        """Note the actions that are ordered; the robot may stop before their end."""
        self.actions += list(actions)
        return actions

    def take(self, answer: Answer) -> None:
        """Note the outcome of an order, and drop the actions that were not taken."""
        self.states += list(answer.states)
        del self.actions[len(self.states) - 1 :]
        self.trial.steps = len(self.actions)
        self.trial.grasped |= answer.grasped
        self.trial.placed |= answer.placed
        self.trial.film += answer.film
        done = self.actions[len(self.actions) - len(answer.experts) :]
        self.trial.losses += [
            float(np.abs(own - other).mean())
            for own, other in zip(done, answer.experts, strict=True)
        ]


class Controller:
    """A policy and its vision model, controlling several robots at a time.

    Parameters
    ----------
    encode : callable or None
        Encodes live frames; None for a blind policy.
    ensemble : float or None
        See :class:`~workbench.robot.config.RolloutConfig`.
    within : tuple of float, optional
        Least and greatest value of an action, to which actions are clipped before they are given
        and remembered. A robot whose actions have other units, such as degrees, has none.
    """

    def __init__(
        self,
        policy: Policy,
        encode: Encode | None,
        ensemble: float | None,
        device: str = "cpu",
        *,
        within: tuple[float, float] | None = None,
    ) -> None:
        self.policy, self.encode, self.ensemble, self.device = policy, encode, ensemble, device
        self.within = within
        self.config = policy.config
        self.places = looks(self.config)

    def decide(self, memories: list[Memory], frames: list[np.ndarray | None]) -> list[np.ndarray]:
        """Actions until the next look: dims (step, value) for each robot."""
        if self.encode is not None:
            features = self.encode(np.stack([f for f in frames if f is not None]))
            for memory, own in zip(memories, features, strict=True):
                memory.seen[len(memory.actions)] = own
        plans = self.policy.act(self.batch(memories).to(self.device)).cpu().numpy()
        return [self._next(memory, plan) for memory, plan in zip(memories, plans, strict=True)]

    def _next(self, memory: Memory, plan: np.ndarray) -> np.ndarray:
        now, count = len(memory.actions), self.config.look_every
        memory.plans.append((now, plan))
        if self.ensemble is None:
            actions = plan[:count]
        else:
            actions = ensembled(memory.plans, now, count, self.ensemble)
        return actions if self.within is None else np.clip(actions, *self.within)

    def batch(self, memories: list[Memory]) -> WindowBatch:
        """Windows that end at the present step of each robot."""
        context = self.config.context
        size = self.policy.state.mean.shape[0], self.policy.action.mean.shape[0]
        state = np.zeros((len(memories), context, size[0]), np.float32)
        past = np.zeros((len(memories), context, size[1]), np.float32)
        known = np.zeros((len(memories), context), bool)
        past_known = known.copy()
        for k, memory in enumerate(memories):
            states, actions = memory.states[-context:], memory.actions[-context:]
            state[k, context - len(states) :] = states
            known[k, context - len(states) :] = True
            if actions:
                past[k, context - len(actions) :] = actions
                past_known[k, context - len(actions) :] = True
        visual = None if self.encode is None else torch.stack([self._seen(m) for m in memories])
        return WindowBatch(
            state=torch.from_numpy(state),
            known=torch.from_numpy(known),
            past=torch.from_numpy(past),
            past_known=torch.from_numpy(past_known),
            visual=visual,
        )

    def _seen(self, memory: Memory) -> torch.Tensor:
        """Features at the looks of the present window; zeros before the first look."""
        first = len(memory.actions) - self.config.context + 1
        blank = torch.zeros_like(memory.seen[len(memory.actions)])
        return torch.stack([memory.seen.get(first + place, blank) for place in self.places])


def ensembled(plans: list[tuple[int, np.ndarray]], now: int, count: int, rate: float) -> np.ndarray:
    """Average all predictions of each next step with weights exp(-rate x rank), oldest first.

    Source: Zhao et al. (2023), "Learning Fine-Grained Bimanual Manipulation" (temporal ensemble).

    Parameters
    ----------
    plans : list of (step, float array, dims (horizon, value))
    now, count : int
        First step, and number of steps.

    Examples
    --------
    >>> old, new = np.zeros((4, 1)), np.ones((4, 1))
    >>> ensembled([(0, old), (2, new)], 2, 1, 0.0).tolist()
    [[0.5]]
    """
    found = []
    for step in range(now, now + count):
        predicted = [plan[step - at] for at, plan in plans if at <= step < at + len(plan)]
        weights = np.exp(-rate * np.arange(len(predicted)))
        found.append(np.average(predicted, axis=0, weights=weights))
    return np.stack(found)


def roll(
    controller: Controller,
    robots: Environments,
    positions: Iterable[int],
    config: RolloutConfig,
    *,
    filmed: Callable[[int], bool] = lambda position: False,
) -> Iterator[Trial]:
    """Run trials from these positions; yields each when it ends.

    Parameters
    ----------
    robots : Environments
        Each takes the next position when its trial ends.
    positions : iterable of int
    filmed : callable
        Whether the trial from a position is filmed.
    """
    waiting, idle = iter(positions), list(range(robots.count))
    sees = controller.encode is not None
    active: dict[int, Memory] = {}
    frames: dict[int, np.ndarray | None] = {}
    while True:
        starting = [(robot, position) for robot, position in zip(idle, waiting)]  # noqa: B905
        orders = [(k, Order(start=(config.seed, at), sees=sees)) for k, at in starting]
        for (robot, position), answer in zip(starting, robots.obey(orders), strict=True):
            active[robot], frames[robot] = Memory(Trial(position)), answer.frame
            active[robot].take(answer)
        if not active:
            return
        memories = list(active.values())
        plans = controller.decide(memories, [frames[robot] for robot in active])
        orders = []
        for (robot, memory), plan in zip(active.items(), plans, strict=True):
            wanted = memory.intend(plan[: config.max_steps - len(memory.actions)])
            start = memory.trial.steps if filmed(memory.trial.position) else None
            order = Order(actions=wanted, sees=sees, film_from=start)
            orders.append((robot, order))
        idle = []
        for (robot, _), answer in zip(orders, robots.obey(orders), strict=True):
            memory, frames[robot] = active[robot], answer.frame
            memory.take(answer)
            if answer.placed or len(memory.actions) >= config.max_steps:
                idle.append(robot)
                yield active.pop(robot).trial


def control_frequency(controller: Controller, frame: np.ndarray, repeats: int = 10) -> float:
    """Control steps per second of one robot on this machine: encoding and policy.

    Parameters
    ----------
    frame : uint8 array, dims (row, col, 3)
    repeats : int
        Number of timed looks, of which the median is taken.
    """
    seconds = []
    size = controller.policy.state.mean.shape[0]
    for _ in range(repeats):
        memory = Memory(Trial(0), states=[np.zeros(size, np.float32)])
        start = time.perf_counter()
        controller.decide([memory], [frame])
        seconds.append(time.perf_counter() - start)
    return controller.config.look_every / float(np.median(seconds))
