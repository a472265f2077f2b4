"""Clone demonstrations: train a policy on the stored features of their frames."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR

from analyses.reading.features import require_maps
from analyses.reading.labelled_tokens import good_rows
from feature_store import FeatureStore
from feature_store.errors import InputError, require_at_least
from workbench.code_hash import parts_sha256
from workbench.robot.config import PolicyConfig
from workbench.robot.demonstrations import Demonstrations
from workbench.robot.eyes import Eyes, Sight, read_features, resolved_pooling, survey
from workbench.robot.policy import Policy, Scales
from workbench.robot.windows import WindowBatch, batch_of, window_rows
from workbench.training.config import TrainingConfig
from workbench.training.features import recorded
from workbench.training.loop import train
from workbench.training.randomness import rows_of_step, seed_step
from workbench.training.run_folder import refuse_other_run
from workbench.training.trained import Outcome, Trained

WARM_UP = 0.05
"""Share of the steps over which the learning rate rises."""
VALIDATED = 64
"""Windows validated together."""


class Learner:
    """A policy, its demonstrations and the stored features of their frames.

    Parameters
    ----------
    store : FeatureStore or None
        Store of the demonstrations' frames; None for a blind policy.
    source : str
        ``MODEL[#TAP]@SCALES``; empty for a blind policy.
    seed : int
        Seed of the weights, the order of the windows, and the split of the episodes.

    Raises
    ------
    InputError
        The source is not stored or incomplete, or only some of its token positions or crops are;
        frames could not be read; there are fewer than two episodes; the seed is negative.
    """

    def __init__(
        self,
        store: FeatureStore | None,
        source: str,
        demonstrations: Demonstrations,
        config: PolicyConfig,
        seed: int,
    ) -> None:
        self.store = store
        self.source = str(store.resolve(source)) if store is not None else ""
        self.demonstrations, self.config, self.seed = demonstrations, config, seed
        require_at_least(self, seed=0)
        train, validate = demonstrations.split(config.validation_share, seed)
        self.episodes = train, validate
        self.frames = tuple(map(demonstrations.frames_of, self.episodes))
        if store is not None:
            require_maps(store, self.source)
            _require_all_crops(store, self.source)
            _require_whole(store, self.source, len(demonstrations.image_ids))
            resolved_pooling(store, self.source, config)  # refuses prefixes that are not there

    @cached_property
    def sight(self) -> Sight | None:
        """Survey of all stored training features, read at the first use; None if blind."""
        if self.store is None:
            return None
        return survey(self.store, self.source, self.config, self.frames[0])

    @cached_property
    def policy(self) -> Policy:
        """The policy, with random weights when it is first used."""
        config, sight, data = self.config, self.sight, self.demonstrations
        seed_step(0, self.seed)
        eyes = None if sight is None else Eyes(sight, config.width, norm=config.layer_norm)
        known = data.state[self.frames[0]], data.action[self.frames[0]]
        scales = Scales(*((v.mean(0, np.float64), v.std(0, np.float64)) for v in known))
        return Policy(config, eyes, scales).to(config.device)

    def batch(self, last: np.ndarray) -> WindowBatch:
        """Windows that end at these frames, with their features."""
        rows = window_rows(last, self.demonstrations, self.config)
        visual = None
        if self.store is not None and self.sight is not None:
            frames, back = np.unique(rows.seen, return_inverse=True)
            found = read_features(self.store, self.source, self.sight.pooling, frames)
            visual = torch.from_numpy(found[back.reshape(rows.seen.shape)])
        return batch_of(rows, self.demonstrations, visual)

    def read(self, step: int) -> WindowBatch:
        """The windows of a training step."""
        frames = self.frames[0]
        rows = rows_of_step(step, count=len(frames), batch=self.config.batch, seed=self.seed)
        return self.batch(frames[rows])

    def loss(self, batch: WindowBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Loss of a batch."""
        return self.policy.loss(batch.to(self.config.device)), {}

    @torch.inference_mode()
    def validate(self) -> float:
        """Mean loss over all windows of the validation episodes."""
        total, frames = 0.0, self.frames[1]
        for start in range(0, len(frames), VALIDATED):
            block = frames[start : start + VALIDATED]
            total += float(self.loss(self.batch(block))[0]) * len(block)
        return total / len(frames)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the weights, except training options and seed."""
        sight = self.sight
        return self.known() | {
            "sight": None if sight is None else [sight.pooling, *sight.shape],
        }

    def known(self) -> dict[str, Any]:
        """What of :meth:`identity` is known before features are read."""
        options, data = asdict(self.config), self.demonstrations
        options.pop("device")
        features, vision, dtype = {}, {}, ""
        if self.store is not None:
            singles = list(map(str, self.store.resolve(self.source).singles()))
            sources = {single: self.store.source(single) for single in singles}
            features = {single: source.identity for single, source in sources.items()}
            vision = {single: recorded(source.manifest) for single, source in sources.items()}
            dtype = self.store.features(self.source).dtype.name
        digest = hashlib.sha256("\n".join(data.image_ids).encode())
        for part in (data.state, data.action):
            digest.update(np.ascontiguousarray(part).tobytes())
        return {
            "policy": options,
            "source": self.source,
            "features": features,
            "vision": vision,
            "dtype": dtype,
            "sizes": [data.state.shape[1], data.action.shape[1]],
            "demonstrations": digest.hexdigest(),
            "episodes": {"train": len(self.episodes[0]), "validation": len(self.episodes[1])},
            "fps": data.fps,
            "recording": data.recording,
            "code": parts_sha256(("workbench/robot", "workbench/training")),
        }


def clone(
    learner: Learner,
    training: TrainingConfig,
    folder: Path,
    log: Callable[[str], None],
    *,
    progress: bool = False,
) -> Outcome:
    """Train the policy of a learner. A repeated call resumes.

    Raises
    ------
    InputError
        As :func:`~workbench.training.loop.train`. A folder that holds another run is refused before
        features are read, where that can be known.
    """
    refuse_other_run(folder, learner.known() | {"training": asdict(training), "seed": learner.seed})
    config, policy = learner.config, learner.policy
    optimizer = torch.optim.AdamW(
        policy.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    steps, warm_up = training.iterations, max(round(WARM_UP * training.iterations), 1)

    def rate(done: int) -> float:
        return min((done + 1) / warm_up, 1) * (1 + math.cos(math.pi * min(done / steps, 1))) / 2

    trained = Trained(
        model=policy,
        optimizer=optimizer,
        read=learner.read,
        loss=learner.loss,
        schedule=LambdaLR(optimizer, rate),
        evaluate=lambda step: {"loss": learner.validate()},
    )
    return train(
        trained,
        folder,
        training,
        identity=learner.identity(),
        seed=learner.seed,
        log=log,
        progress=progress,
    )


def _require_all_crops(store: FeatureStore, source: str) -> None:
    for single in store.resolve(source).singles():
        if "selection" in store.source(single).manifest:
            raise InputError(
                f"{single} in {store.path} was extracted with --select; a policy sees live frames, "
                f"of which all crops are encoded: extract it without --select, with another --store"
            )


def _require_whole(store: FeatureStore, source: str, frames: int) -> None:
    lost = np.setdiff1d(np.arange(frames), good_rows(store, source))
    if len(lost):
        raise InputError(
            f"{len(lost)} of {frames} frames have no features of {source} in {store.path}, such as "
            f"{store.image_ids[lost[0]]}; a policy needs every frame: repair the demonstrations"
        )
