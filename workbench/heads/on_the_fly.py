"""Train a decoder as published: the frozen model runs in every step, on random crops of the images.

Only the decoder's checkpoints are stored. Test images are predicted in windows
(:mod:`workbench.heads.windows`) and scored at their own pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from analyses.reading.progress import shown
from analyses.reading.splits import refuse_shared_images
from analyses.statistics.dense_scores import PerImage
from feature_store import protocol
from feature_store.source import names_of
from workbench import code_hash
from workbench.datasets import Dataset
from workbench.datasets.target_maps import cropped, files_sha256, images_sha256
from workbench.heads.base import DenseHead
from workbench.heads.crops import MappedImages
from workbench.heads.encoder import Encoder, refuse_source, survey
from workbench.heads.fit import run_name
from workbench.heads.images import Survey
from workbench.heads.optimiser import trained
from workbench.heads.options import OnTheFly
from workbench.heads.registry import build
from workbench.heads.scored import Scored
from workbench.heads.windows import predict
from workbench.training.batches import Batches
from workbench.training.loop import train
from workbench.training.randomness import seed_step
from workbench.training.run_folder import refuse_other_run
from workbench.training.status import is_run

NOT_COMPARED = {"shared": None, "left_out": False, "repeated": None, "compared": "ids"}
"""``shared_images`` of decoders trained on crops: comparing pixels would mean decoding all images
first. Empty lists would claim that no image is shared."""


def compute(
    train_images: Dataset,
    test_images: Dataset,
    *,
    sources: str | Sequence[str],
    options: OnTheFly,
    folder: Path,
    log: Callable[[str], None],
) -> pd.DataFrame | None:
    """One row per source, as in :func:`workbench.heads.fit.compute`; repeat the call to resume.

    The datasets have masks or depth maps, each as large as its image. A crop is resized to each of
    the scales of a source, ``MODEL[#TAP]@SCALES``. `folder` holds each source's run folder.

    Returns
    -------
    pandas.DataFrame or None
        As :func:`workbench.heads.fit.compute`, with ``crop`` (pixels) and ``window``. None if a
        run was asked to stop. ``shared_images`` compares ids only.

    Raises
    ------
    InputError
        Images with equal ids in both sets; an image or map that cannot be used; a source that
        cannot run on crops; a folder that holds another run. Sources, folders and test images are
        checked before the first training.
    """
    refuse_shared_images(_listed(train_images), _listed(test_images))
    config, decoder, crops = options.config, options.decoder, options.crops
    seen, unseen = (
        MappedImages(images, config.task, crops, config.seed, options.depth_unit)
        for images in (train_images, test_images)
    )
    found = Scored(config)
    rows = np.arange(len(test_images))
    runs = {
        source: folder / run_name(source, decoder, config.seed, crops.side)
        for source in names_of(sources)
    }
    _refuse(runs, seen, unseen, options)
    for source, where in runs.items():
        encoder = Encoder(source, options, log)
        learnt = survey(seen, encoder, options)
        classes = int(learnt.largest) + 1 if config.task == "segmentation" else 0
        images = replace(seen, classes=classes)
        head, done = _train(images, encoder, learnt, options, where, log)
        if not done:
            return None
        scored = PerImage.scored(outputs(head, encoder, unseen, rows, options), rows, config)
        found.add(
            source, scored, len(rows), head=decoder.head,
            iterations=options.training.iterations,
            head_params=sum(p.numel() for p in head.parameters()), channels=len(learnt.mean),
            train_images=len(train_images), tokens_per_image=learnt.grid[0] * learnt.grid[1],
            crop=crops.side, window=crops.window,
        )  # fmt: skip
    return found.table(dict(NOT_COMPARED))


def _refuse(
    runs: Mapping[str, Path], seen: MappedImages, unseen: MappedImages, options: OnTheFly
) -> None:
    """Refuse sources, folders and test images that would end the call after a training."""
    for source, where in runs.items():
        refuse_source(source)
        begun = {"training": asdict(options.training), "seed": options.config.seed}
        refuse_other_run(where, _identity(seen, source, options) | begun)
    if all(map(is_run, runs.values())):  # they were checked when these runs began
        return
    count = len(unseen.dataset)
    with shown("check", total=count, unit="image", wanted=options.config.progress) as bar:
        for row in range(count):
            unseen.pair(row)
            bar.update()


def _listed(images: Dataset) -> Any:
    """The fields of a dataset that the check for shared images reads."""
    names = np.array(images.image_ids, str)
    return SimpleNamespace(path=images.name, dataset=images.name, image_ids=names)


def _train(
    images: MappedImages,
    encoder: Encoder,
    learnt: Survey,
    options: OnTheFly,
    folder: Path,
    log: Callable[[str], None],
) -> tuple[DenseHead, bool]:
    """Train or resume a decoder; returns it and whether its training is finished."""
    config, decoder = options.config, options.decoder
    seed_step(0, config.seed)
    head = build(decoder, learnt).to(decoder.device)
    batches = Batches(images, batch=decoder.batch, workers=options.crops.workers)

    def tokens(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        pixels, truth = batches.ready(batch)
        return encoder(pixels), truth.to(decoder.device, non_blocking=True)

    outcome = train(
        trained(head, decoder, options.training.iterations, batches.read, tokens),
        folder,
        options.training,
        identity=_identity(images, encoder.source, options) | {"weights": encoder.weights},
        seed=config.seed,
        log=log,
        progress=config.progress,
        libraries=code_hash.library_versions(),
    )
    return head, outcome.finished


def outputs(
    head: DenseHead, encoder: Encoder, images: MappedImages, rows: np.ndarray, options: OnTheFly
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Output map and truth of each image in `rows`, at its own pixels."""
    head.eval()
    with shown("test", total=len(rows), unit="image", wanted=options.config.progress) as bar:
        for row in rows.tolist():
            image, truth = images.pair(row)
            if images.task == "depth":
                truth = cropped(truth, options.eigen_crop)
            output = predict(
                lambda windows: head(encoder(windows)), image, options.crops,
                batch=options.decoder.batch,
            )  # fmt: skip
            yield output, truth
            bar.update()


def _identity(images: MappedImages, source: str, options: OnTheFly) -> dict[str, Any]:
    """Facts that determine the weights, besides those of the model and the training's options."""
    decoder, crops = asdict(options.decoder), asdict(options.crops)
    decoder.pop("device")
    for name in ("workers", "window", "window_stride", "mirrored"):
        crops.pop(name)
    names = images.dataset.image_ids
    return {
        "task": options.config.task,
        "source": source,
        "merge": options.config.merge,
        "decoder": decoder,
        "crops": crops,
        "images": protocol.ids_sha256(names),
        "files": images_sha256(images.dataset),
        "depth_unit": options.depth_unit,
        "maps": files_sha256(images.dataset, names, options.config.task),
        "code": code_hash.parts_sha256(code_hash.DECODERS),
    }
