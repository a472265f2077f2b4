"""Run a pre-training: put data, model, objective and loop together."""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench import datasets
from workbench.code_hash import parts_sha256
from workbench.datasets import Dataset
from workbench.extraction.local import pick_device
from workbench.extraction.same_images import fingerprints, sampled_rows
from workbench.models import trained
from workbench.models.backbone import weights_sha256
from workbench.models.names import ModelName
from workbench.models.run_names import WEIGHTS
from workbench.multiscale import S2
from workbench.pretraining.backbone import build_s2, weights_of
from workbench.pretraining.config import (
    Distillation,
    PretrainConfig,
    PretrainRecipe,
    check_batch,
)
from workbench.pretraining.evaluation import EvaluationImages, held_out, matched
from workbench.pretraining.images import Augmented
from workbench.pretraining.report import draw, recorder, report
from workbench.pretraining.supervised import Supervised, require_labels
from workbench.results.files import require_folder
from workbench.training import checkpoints, ranks
from workbench.training.batches import Batches
from workbench.training.config import TrainingConfig
from workbench.training.loop import train
from workbench.training.randomness import seed_step
from workbench.training.run_folder import NAMES, refuse_other_run
from workbench.training.status import read_record

CODE = (
    "workbench/datasets",
    "workbench/models",
    "workbench/multiscale",
    "workbench/pretraining",
    "workbench/training",
)
LIBRARIES = ("timm", "lightly")
"""Libraries that the recipes come from; a run that resumes with another version logs a note."""
CLIP = {"supervised": 1.0, "dinov2": 3.0}
"""Largest norm of the gradient, as published."""


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """All options of a run."""

    config: PretrainConfig
    recipe: PretrainRecipe
    distillation: Distillation
    training: TrainingConfig
    """Its iterations follow from the epochs; a clip of None is set by the objective."""
    options: dict[str, Any]
    """Further arguments of the architecture, such as its width; for sweeps of shapes."""


def pretrain(
    asked: Pretraining, folder: Path, log: Callable[[str], None], *, progress: bool = False
) -> dict[str, Any] | None:
    """Train a model or resume its training. For a finished run, only report.

    Parameters
    ----------
    folder : Path
        Folder of this run alone; the finished model is ``run:FOLDER``.

    Returns
    -------
    dict or None
        ``run``, ``steps``, ``images`` (seen in training), ``train_loss`` (mean of the last rows of
        metrics.csv), ``val_accuracy`` (of the head, or of nearest neighbours if there is no head;
        None without labelled validation images), ``checkpoint``. None if the run was asked to stop.

    Raises
    ------
    InputError
        Options, images or labels do not fit together; the folder belongs to another run; the loss
        is not finite.
    """
    log = ranks.of_first(log)
    require_folder(folder, "--out")
    with ranks.joined(pick_device(asked.recipe.device)) as device:
        config, train_images = asked.config, datasets.open(asked.config.dataset)
        train_images = train_images.take(config.limit)
        supervised = config.objective == "supervised"
        if supervised:
            require_labels(train_images)
        check_batch(config, asked.recipe, ranks.count())
        val_images = None if config.val is None else datasets.open(config.val)
        if supervised and val_images is not None:
            matched(train_images, val_images)
        steps = config.steps(len(train_images))
        training = replace(
            asked.training,
            iterations=steps,
            clip=asked.training.clip or CLIP[config.objective],
        )
        identity = _identity(asked, train_images, val_images)
        seed_step(0, config.seed)
        start = _start(asked, training, identity, folder)
        if start is not None:
            identity["init_sha256"] = weights_sha256(start)
        s2 = build_s2(config, asked.recipe, device, asked.options, start)
        del start  # it takes as much memory as the model
        state = _objective(s2, train_images, asked).to(device)
        images = None
        if val_images is not None and ranks.rank() == 0:  # it alone evaluates
            images = held_out(train_images, val_images, s2, state.inputs, classes=supervised)
        made = _trained(state, train_images, images, asked, steps, log)
        if asked.recipe.tensorboard:
            made = replace(made, record=recorder(folder))
        outcome = train(
            made, folder, training, identity=identity, seed=config.seed, log=log, progress=progress,
            libraries={name: importlib.metadata.version(name) for name in LIBRARIES
                       if find_spec(name) is not None},
        )  # fmt: skip
        if not outcome.finished:
            return None
        if ranks.rank() == 0:
            _write(state, s2, asked, identity, folder)
            draw(folder, config.batch)
        ranks.wait()
        return report(folder, outcome.step, config)


def _start(
    asked: Pretraining, training: TrainingConfig, identity: dict[str, Any], folder: Path
) -> dict[str, torch.Tensor] | None:
    """Weights to start from, loaded unless the folder holds another run; None if random."""
    known = identity | {"training": asdict(training), "seed": asked.config.seed}
    known = {name: value for name, value in known.items() if name not in ("init", "init_sha256")}
    refuse_other_run(folder, known)
    return None if asked.config.init is None else weights_of(asked.config.init)


def _objective(s2: S2, images: Dataset, asked: Pretraining) -> Any:
    """The module to train, whose state a checkpoint holds."""
    if asked.config.objective == "supervised":
        return Supervised(s2, len(images.label_names), asked.config, asked.recipe)
    from workbench.pretraining.dinov2 import SelfDistillation  # deferred: an optional package

    teacher = copy.deepcopy(s2)
    return SelfDistillation(s2, teacher, asked.config, asked.recipe, asked.distillation)


def _trained(
    state: Any,
    train_images: Dataset,
    images: EvaluationImages | None,
    asked: Pretraining,
    steps: int,
    log: Callable[[str], None],
) -> Any:
    config = asked.config
    batches = Batches(
        Augmented(train_images, state.views(), config.seed), batch=config.batch,
        workers=asked.recipe.workers,
    )  # fmt: skip
    found = state.trained(batches, config, steps)

    def warn(step: int, values: dict[str, float]) -> None:
        if signs := state.collapse(values):
            log(
                f"step {step}: the features have collapsed ({signs}); start again with "
                f"{state.remedy}"
            )

    if ranks.rank() > 0:
        return found
    if images is None:
        return replace(found, after=_warning(found.after, warn, asked.training, steps))

    def evaluate(step: int) -> dict[str, float]:
        try:
            values = state.evaluate(images, config.batch)
        except InputError as error:
            raise InputError(f"step {step}: {error}") from None
        warn(step, values)
        return {"images": step * config.batch, **values}

    return replace(found, evaluate=evaluate)


def _warning(
    after: Callable[[int], None], warn: Callable[[int, dict[str, float]], None],
    training: TrainingConfig, steps: int,
) -> Callable[[int], None]:  # fmt: skip
    """What follows a step without validation images: signs of collapse that need no features."""

    def found(step: int) -> None:
        after(step)
        if step == steps or step % training.checkpoint_every == 0:
            warn(step, {"effective_rank": math.nan})

    return found


def _identity(
    asked: Pretraining, train_images: Dataset, val_images: Dataset | None
) -> dict[str, Any]:
    """Everything that decides the weights, except training options, seed and initial weights."""
    recipe, config = asdict(asked.recipe), asdict(asked.config)
    del recipe["device"], recipe["workers"], recipe["tensorboard"], config["seed"]
    if asked.config.objective == "dinov2":
        recipe |= asdict(asked.distillation)
    return {
        **config,
        "recipe": recipe,
        "options": asked.options,
        "images": _images(train_images),
        "val_images": None if val_images is None else _images(val_images),
        "init_sha256": None,
        "code": parts_sha256(CODE),
    }


def _images(dataset: Dataset) -> dict[str, Any]:
    """Hashes of a dataset's ids and labels, and of the pixels of :func:`sampled_rows`."""
    rows = sampled_rows(len(dataset)).tolist()
    listed = [dataset.image_ids, dataset.labels.tolist(), dataset.label_names]
    return {
        "count": len(dataset),
        "ids_and_labels": _sha256(listed),
        f"pixels_of_{len(rows)}": _sha256(fingerprints(dataset, rows)),
    }


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _write(state: Any, s2: S2, asked: Pretraining, identity: dict[str, Any], folder: Path) -> None:
    """Write the weights of a finished run, unless they exist."""
    if (folder / WEIGHTS).exists():
        return
    name = ModelName.parse(asked.config.model)
    begun = read_record(folder)["identity"]  # with the names that images then had
    decided = identity | {field: begun[field] for field in NAMES}
    decides = json.dumps([decided, asked.config.seed], sort_keys=True)
    record = {
        "architecture": name.arch.partition(".")[0],
        "pixels": s2.info.native,
        "options": asked.options,
        "objective": asked.config.objective,
        "scales": [str(scale) for scale in s2.scales],
        "identity": hashlib.sha256(decides.encode()).hexdigest(),
    }
    with checkpoints.writing(WEIGHTS, folder):
        trained.write(state.kept.model.state_dict(), record, folder)
