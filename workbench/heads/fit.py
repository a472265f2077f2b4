"""Train a decoder on the stored tokens of one source, and score it on unseen images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from analyses.configs import DenseConfig
from analyses.reading.labelled_tokens import TargetMaps, good_rows
from analyses.reading.progress import shown
from analyses.reading.splits import held_out
from analyses.statistics.dense_scores import PerImage
from feature_store import FeatureStore
from feature_store.source import names_of
from workbench.code_hash import parts_sha256
from workbench.datasets.target_maps import maps_sha256
from workbench.heads.base import DenseHead
from workbench.heads.config import DecoderConfig
from workbench.heads.images import Survey, TokenImages, survey
from workbench.heads.optimiser import trained
from workbench.heads.registry import build
from workbench.heads.scored import Scored
from workbench.training.config import TrainingConfig
from workbench.training.loop import train
from workbench.training.randomness import rows_of_step, seed_step
from workbench.training.run_folder import refuse_other_run


def compute(
    train_store: FeatureStore,
    test_store: FeatureStore,
    *,
    sources: str | Sequence[str],
    targets: tuple[TargetMaps, TargetMaps],
    config: DenseConfig,
    decoder: DecoderConfig,
    training: TrainingConfig,
    folder: Path,
    log: Callable[[str], None],
) -> pd.DataFrame | None:
    """One row per source, as in :func:`analyses.dense_probe.compute`; repeat the call to resume.

    `targets` are the maps of train and test, as for the linear probe; `config` gives task, merge,
    resamples and seed; `folder` holds each source's run folder, see :func:`run_name`.

    Returns
    -------
    pandas.DataFrame or None
        Metric and interval as for the linear probe; ``head``, ``iterations``, ``head_params``,
        ``channels``, ``train_images`` (with a known pixel), ``tokens_per_image``, ``test_images``.
        Attributes ``resampled``, ``per_image`` and ``shared_images``. None if a run was asked to
        stop.

    Raises
    ------
    InputError
        As :func:`~workbench.training.loop.train`; no known pixel; or images in both stores.
    """
    split = held_out(train_store, test_store, keep_shared=config.keep_shared)
    sources = names_of(sources)
    found = Scored(config)
    each = [TokenImages(train_store, source, config.merge, targets[0]) for source in sources]
    for seen in each:
        refuse_other(seen, config, decoder, training, folder)
    for source, seen in zip(sources, each, strict=True):
        where = folder / run_name(source, decoder, config.seed)
        head, learnt, done = _train(seen, config, decoder, training, where, log)
        if not done:
            return None
        rows = good_rows(test_store, source)
        rows = rows[~split.left_out[rows]]
        unseen = TokenImages(test_store, source, config.merge, targets[1])
        scored = PerImage.scored(outputs(head, unseen, rows, config, decoder), rows, config)
        found.add(
            source, scored, len(test_store), head=decoder.head, iterations=training.iterations,
            head_params=sum(p.numel() for p in head.parameters()), channels=len(learnt.mean),
            train_images=len(learnt.rows), tokens_per_image=learnt.grid[0] * learnt.grid[1],
        )  # fmt: skip
    return found.table(split.report())


def refuse_other(
    images: TokenImages,
    config: DenseConfig,
    decoder: DecoderConfig,
    training: TrainingConfig,
    folder: Path,
) -> None:
    """Refuse a source whose run folder in `folder` holds another run; no features are read."""
    begun = {"training": asdict(training), "seed": config.seed}
    where = folder / run_name(images.source, decoder, config.seed)
    refuse_other_run(where, _identity(images, config.task, decoder) | begun)


def _train(
    images: TokenImages,
    config: DenseConfig,
    decoder: DecoderConfig,
    training: TrainingConfig,
    folder: Path,
    log: Callable[[str], None],
) -> tuple[DenseHead, Survey, bool]:
    """Train or resume a decoder; returns it, its survey, and whether the training is finished."""
    total = len(good_rows(images.store, images.source))
    with shown("survey", total=total, unit="image", wanted=config.progress) as bar:
        found = survey(images, bar.update)
    seed_step(0, config.seed)
    head = build(decoder, found).to(decoder.device)

    def read(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        count, batch = len(found.rows), decoder.batch
        rows = rows_of_step(step, count=count, batch=batch, seed=config.seed)
        return images.batch(found.rows[rows])

    def tokens(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        there, truth = (part.to(decoder.device, non_blocking=True) for part in batch)
        return there, truth

    outcome = train(
        trained(head, decoder, training.iterations, read, tokens),
        folder,
        training,
        identity=_identity(images, config.task, decoder),
        seed=config.seed,
        log=log,
        progress=config.progress,
    )
    return head, found, outcome.finished


def outputs(
    head: DenseHead,
    images: TokenImages,
    rows: np.ndarray,
    config: DenseConfig,
    decoder: DecoderConfig,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Output map and truth of each store row in `rows`, as for the linear head."""
    head.eval()
    with shown("test", total=len(rows), unit="image", wanted=config.progress) as bar:
        for start in range(0, len(rows), decoder.batch):
            tokens, truth = images.batch(rows[start : start + decoder.batch])
            with torch.inference_mode():
                found = head(tokens.to(decoder.device)).permute(0, 2, 3, 1).float().cpu().numpy()
            yield from zip(found, truth.numpy(), strict=True)
            bar.update(len(truth))


def run_name(source: str, decoder: DecoderConfig, seed: int, crop: int | None = None) -> str:
    """Name of a run's folder; `crop` is the side of the crops when training on the fly.

    Examples
    --------
    >>> run_name("timm:vit@1x+2x", DecoderConfig(head="upernet"), 0)
    'timm_vit@1x+2x-upernet-seed0'
    >>> run_name("timm:vpd@1x", DecoderConfig(head="vpd"), 0, crop=512)
    'timm_vpd@1x-vpd-crops512-seed0'
    """
    crops = "" if crop is None else f"-crops{crop}"
    return re.sub(r"[^A-Za-z0-9@+.-]", "_", f"{source}-{decoder.head}{crops}-seed{seed}")


def _identity(images: TokenImages, task: str, decoder: DecoderConfig) -> dict[str, Any]:
    """Facts that determine the weights, besides the training's own options and seed."""
    store, options = images.store, asdict(decoder)
    options.pop("device")
    singles = [str(single) for single in store.resolve(images.source).singles()]
    return {
        "task": task,
        "source": images.source,
        "merge": images.merge,
        "decoder": options,
        "images": store.attrs["image_ids_sha256"],
        "features": {single: store.source(single).identity for single in singles},
        "maps": maps_sha256(store, task),
        "code": parts_sha256(("workbench/heads", "workbench/training")),
    }
