"""``workbench pretrain``: train a vision transformer, at one scale or with S2."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from feature_store.errors import InputError, require_at_least
from workbench.options import options_of
from workbench.pretraining.config import (
    Distillation,
    PretrainConfig,
    PretrainRecipe,
    check_batch,
    refuse_idle,
)
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.training.config import TrainingConfig

if TYPE_CHECKING:
    from workbench.pretraining.run import Pretraining


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    r"""Train a vision transformer from random weights, at one scale or with S2.

    The result is the model run:FOLDER, which every command accepts. Repeat the command to resume
    after an interruption; `workbench status FOLDER` shows the progress.

    Examples
    --------
    workbench pretrain --model timm:test_vit:64 --dataset bundled:textiles:train \
        --val bundled:textiles:test --scales 1x 2x --epochs 2 --batch 64 --out runs/small-s2
    """

    config: Annotated[PretrainConfig, tyro.conf.arg(name="")]
    recipe: Annotated[PretrainRecipe, tyro.conf.arg(name="")] = field(
        default_factory=PretrainRecipe
    )
    distillation: Annotated[Distillation, tyro.conf.arg(name="")] = field(
        default_factory=Distillation
    )
    training: Annotated[
        TrainingConfig, options_of(TrainingConfig, "checkpoint_every", "keep", "log_every", "clip")
    ] = field(default_factory=TrainingConfig)
    sweep: Path | None = None
    """CSV file of shapes, from workbench shape-law --plan star: train each in a folder of --out,
    and write --out/sweep.csv, which workbench shape-law --runs reads."""
    out: Path
    """Folder of the run: its identity, checkpoints, metrics and, at the end, its weights."""
    dry_run: bool = False
    """Estimate parameters, GMACs per step, memory per GPU, GPU hours and disk; train nothing.
    Give the number of images by --limit if the dataset is not at hand."""
    devices: int = 1
    """GPUs in the estimate of --dry-run."""
    classes: int | None = None
    """Classes in the estimate of --dry-run; by default those of the dataset, and with --limit
    none, whose head is then left out."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        refuse_idle(self.config, self.recipe, self.distillation)
        if self.dry_run:
            return self._dry_run()
        from workbench.pretraining.run import Pretraining, pretrain
        from workbench.training import ranks

        asked = Pretraining(
            config=self.config, recipe=self.recipe, distillation=self.distillation,
            training=self.training, options={},
        )  # fmt: skip
        if self.sweep is not None:
            return self._sweep(asked, self.sweep)
        found = pretrain(asked, self.out, note, progress=True)
        if found is None:
            return _stopped()
        if ranks.rank() > 0:
            return 0
        accuracy = found["val_accuracy"]
        text = (
            f"run:{found['run']}: {found['steps']} steps, {found['images']} images, training loss "
            f"{found['train_loss']:.4g}"
            + ("" if accuracy is None else f", validation accuracy {100 * accuracy:.1f} %")
        )
        show(strict_json.dumps(found) if self.json else text)
        return 0

    def _sweep(self, asked: Pretraining, plan: Path) -> int:
        from workbench.pretraining.sweep import sweep
        from workbench.training import ranks

        table = sweep(asked, plan, self.out, note, progress=True)
        if table is None:
            return _stopped()
        if ranks.rank() == 0:
            show(strict_json.dumps({"runs": str(table)}) if self.json else f"wrote {table}")
        return 0

    def _dry_run(self) -> int:
        from workbench import datasets
        from workbench.pretraining.dry_run import estimate

        if self.sweep is not None:
            raise InputError(
                "--dry-run estimates one run, not those of --sweep; leave out one or the other"
            )
        if self.devices < 1:
            raise InputError(f"--devices is {self.devices}; expected at least 1")
        require_at_least(self, classes=1)
        check_batch(self.config, self.recipe, self.devices)
        images, classes = self.config.limit, self.classes
        if images is None:
            dataset = datasets.open(self.config.dataset)
            images, classes = len(dataset), classes or len(dataset.label_names)
        found = estimate(
            self.config, self.recipe, self.distillation, images=images, classes=classes,
            keep=self.training.keep, devices=self.devices,
        )  # fmt: skip
        text = (
            f"{found['params'] / 1e6:,.1f} M parameters; {found['steps']:,} steps of "
            f"{found['gmacs_per_step']:,.0f} GMACs; {found['memory_gb']:,.1f} GB on each GPU; "
            f"{found['gpu_hours']:,.1f} GPU hours at {found['tflops']:g} TFLOP/s; "
            f"{found['disk_gb']:,.2f} GB of disk"
        )
        show(strict_json.dumps(found) if self.json else text)
        return 0


def _stopped() -> int:
    from workbench.training import ranks

    if ranks.rank() > 0:
        return 0  # the first process tells how the training ended
    note("workbench pretrain: stopped before the end; repeat the command to resume")
    return 1
