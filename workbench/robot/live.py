"""Encode live frames, with results equal to the stored features of the same frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from feature_store.errors import InputError
from feature_store.source import Source
from workbench import models
from workbench.datasets import Decoding
from workbench.extraction.jobs import manifest, resolve_jobs
from workbench.multiscale import S2
from workbench.robot.eyes import as_tokens
from workbench.training.features import recorded, refuse_other_features

Encode = Callable[[np.ndarray], torch.Tensor]
"""From frames (uint8, dims (frame, row, col, 3)) to features, dims (frame, token, channel)."""


def live_encoder(
    source: str,
    pooling: str,
    *,
    dtype: str = "float16",
    device: str = "cpu",
    features: Mapping[str, Mapping[str, Any]] | None = None,
) -> Encode:
    """A function that encodes frames as ``workbench extract`` does.

    Parameters
    ----------
    source : str
        ``MODEL[#TAP]@SCALES``.
    pooling : str
        See :func:`~workbench.robot.eyes.read_features`.
    dtype : str
        Dtype of the store; features are rounded to it.
    features : mapping, optional
        Recorded fields of each single-scale source. The model runs in the recorded arithmetic, on
        frames that are fitted as recorded (``--fit``), and all other fields must be equal.

    Raises
    ------
    InputError
        The source is unknown, its weights cannot be fetched or read, or the model differs from the
        record.
    """
    parsed, made = Source.parse(source), (features or {}).values()
    padded = any((fields.get("transform") or {}).get("mode") == "pad" for fields in made)
    (job,) = resolve_jobs([parsed.model_and_tap], parsed.scales, fit="pad" if padded else "model")
    arithmetics = {fields["precision"] for fields in made}
    backbone = models.load(
        job.info.name, tap=job.info.tap, device=device, arithmetic=min(arithmetics, default="fp32")
    )
    fitted = replace(backbone.info, transform=job.info.transform)
    backbone = replace(backbone, info=fitted)
    live = {
        str(single): recorded(manifest(job, plan, backbone, dtype, Decoding()))
        for single, plan in job.plans.items()
    }
    refuse_other_features(features or {}, live, "for live frames")
    model = S2(backbone, parsed.scales).eval()
    kept = np.dtype(dtype)

    def encode(frames: np.ndarray) -> torch.Tensor:
        if not len(frames):
            raise InputError("no frame was given")
        with torch.inference_mode():
            found = model([Image.fromarray(frame) for frame in frames])
        values = found.prefix if pooling == "prefix" else found.map
        rounded = values.float().cpu().numpy().astype(kept).astype(np.float32)
        return torch.from_numpy(rounded if pooling == "prefix" else as_tokens(rounded, pooling))

    return encode
