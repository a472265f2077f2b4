"""A small store with photographs: one model at two scales, a larger one, labels, hostile names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import feature_store

TRANSFORM = {
    "height": 28, "width": 28, "resize_ratio": 1.0, "mode": "centre", "interpolation": "bicubic",
    "antialias": True,
}  # fmt: skip
EVIL = "<img src=x onerror=alert(1)> $a$ {{ 7*7 }}"


@pytest.fixture
def seen_store(tmp_path):
    """Write a folder of photographs and a store of planted features; returns a function."""

    def make(name="s.zarr", *, count=12, failed=(), labels=("day", EVIL), more=None, shard=4):
        rng = np.random.default_rng(0)
        folder = tmp_path / "photos"
        ids = [f"{EVIL}.png" if k == 1 else f"{k:03d}.png" for k in range(count)]
        folder.mkdir(exist_ok=True)
        pixels = rng.integers(0, 255, (count, 7, 7, 3), dtype=np.uint8)
        for image_id, small in zip(ids, pixels, strict=True):
            Image.fromarray(np.kron(small, np.ones((4, 4, 1), np.uint8))).save(folder / image_id)
        ids = sorted(ids)
        codes = np.arange(count, dtype=np.int32) % 2
        store = feature_store.create(
            tmp_path / name, dataset=f"folder:{folder}", image_ids=ids, labels=codes,
            label_names=list(labels), shard_images=shard,
        )  # fmt: skip
        maps = rng.normal(size=(count, 7, 7, 6))
        maps[:, :3] += np.where(codes == 1, 4.0, -4.0)[:, None, None, None]
        both = np.concatenate([maps, rng.normal(size=maps.shape)], -1)
        sources = {
            "m:small#t@28": maps,
            "m:small#t@56": both[..., 6:],
            "m:large#t@28": both @ rng.normal(size=(12, 5)),
            **(more or {}),
        }
        for source, array in sources.items():
            array = array.copy()
            array[list(failed)] = np.nan
            writer = store.add_source(
                source, manifest={"model": source, "transform": TRANSFORM},
                grid=array.shape[1:3], channels=array.shape[3], dtype="float32",
            )  # fmt: skip
            for number in writer.missing():
                rows = writer.rows(number)
                reasons = {row: f"damaged: {EVIL}" for row in failed if row in rows}
                writer.commit(number, array[rows.start : rows.stop].astype("f4"), None, reasons)
        return feature_store.open(tmp_path / name)

    return make
