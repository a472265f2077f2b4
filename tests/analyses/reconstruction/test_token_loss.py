"""Loss maps of single images against an explicit loop, and against the averaged result."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import reconstruction
from analyses.moments import on_disk
from analyses.moments.one_pass import from_batches
from analyses.moments.second_moments import MomentsConfig
from analyses.reconstruction import token_loss
from feature_store import InputError


@pytest.fixture
def asked(make_store, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((24, 2, 3, 4))
    # In the left column the target is a function of the source, elsewhere it is noise.
    y = rng.standard_normal((24, 2, 3, 2))
    y[:, :, 0] = x[:, :, 0, :2]
    stores = [
        make_store(f"{name}.zarr", {"m:x#t@2": x[part], "m:y#t@2": y[part]})
        for name, part in (("train", slice(16)), ("test", slice(16, 24)))
    ]
    config = reconstruction.ReconstructionConfig(ridge=0.1, moments=str(tmp_path / "moments.zarr"))
    result = reconstruction.compute(*stores, target="m:y@2", sources=["m:x@2"], config=config)
    return stores, result, on_disk.load(tmp_path / "moments.zarr"), config


def test_mean_over_images_is_the_result_s_map(asked):
    (_, test), result, moments, config = asked
    maps = token_loss.compute(
        moments, test, target="m:y@2", sources=["m:x@2"], rows=range(8), config=config
    )
    assert maps["loss"].dims == ("source", "image", "row", "col")
    np.testing.assert_allclose(maps["loss"].mean("image"), result["loss_map"], rtol=1e-5)
    np.testing.assert_allclose(maps["null_loss"].mean(), result.attrs["null_test_loss"], rtol=1e-5)


def test_rows_keep_their_order(asked):
    (_, test), _, moments, config = asked
    whole, part = (
        token_loss.compute(
            moments, test, target="m:y@2", sources=["m:x@2"], rows=rows, config=config
        )
        for rows in (range(8), [5, 2])
    )
    np.testing.assert_allclose(part["loss"][:, 0], whole["loss"][:, 5])
    assert part["image"].values.tolist() == [5, 2]


def test_contrast_finds_the_image_with_one_bad_place(asked):
    (_, test), _, moments, config = asked
    maps = token_loss.compute(
        moments, test, target="m:y@2", sources=["m:x@2", "m:x@2"], rows=range(8), config=config
    )
    flat = maps.copy(deep=True)
    flat["loss"][:] = 1.0
    flat["loss"][0, 3, 0, 0] = 9.0
    assert int(token_loss.contrast(flat).values.argmax()) == 3
    assert float(token_loss.contrast(flat)[0]) == 0


@pytest.mark.parametrize(
    ("sources", "rows", "message"),
    [([], [0], "no source"), (["m:x@2"], [], "no row"), (["m:x@2"], [8], "rows 0 to 7")],
)
def test_bad_requests_are_refused(asked, sources, rows, message):
    (_, test), _, moments, config = asked
    with pytest.raises(InputError, match=message):
        token_loss.compute(moments, test, target="m:y@2", sources=sources, rows=rows, config=config)


def test_maps_of_finer_grids_are_pooled_as_the_moments_were(make_store, tmp_path):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((24, 2, 2, 4)), rng.standard_normal((24, 4, 4, 2))
    train, test = (
        make_store(f"{name}.zarr", {"m:x#t@2": x[part], "m:y#t@2": y[part]})
        for name, part in (("train", slice(16)), ("test", slice(16, 24)))
    )
    kept = str(tmp_path / "pooled.zarr")
    config = reconstruction.ReconstructionConfig(ridge=0.1, grid="pool", moments=kept)
    whole = reconstruction.compute(train, test, target="m:y@2", sources=["m:x@2"], config=config)
    single = token_loss.compute(
        on_disk.load(kept),
        test,
        target="m:y@2",
        sources=["m:x@2"],
        rows=range(8),
        config=config,
    )
    assert single["loss"].shape == (1, 8, 2, 2)
    np.testing.assert_allclose(single["loss"].mean("image"), whole["loss_map"], rtol=1e-5)


def test_scale_gains_are_what_is_lost_without_each_scale(make_store):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 24, 2, 3, 3))
    y = a @ rng.standard_normal((3, 2))
    y[:, :, 0] += 3 * b[:, :, 0, :2]  # the second scale helps everywhere but matters on the left
    store = make_store("s.zarr", {"m:x#t@2": a, "m:x#t@4": b, "m:y#t@2": y})
    names = ["m:x#t@2", "m:x#t@4", "m:y#t@2"]
    moments = from_batches(store.stream(names), names, MomentsConfig(folds=2))
    config = reconstruction.ReconstructionConfig(ridge=0)
    how = {"target": "m:y@2", "rows": [1, 5], "config": config}
    sources = ["m:x@2+4", "m:x@4", "m:x@2"]
    resolved = token_loss.scale_sources(store, "m:x@2+4")
    maps = token_loss.compute(moments, store, sources=resolved, **how)
    gain = token_loss.gains(maps)
    assert gain.dims == ("scale", "image", "row", "col")
    assert gain["scale"].values.tolist() == ["2", "4"]
    maps = token_loss.compute(moments, store, sources=sources, **how)
    null = maps["null_loss"].mean(("row", "col"))
    for n, without in enumerate((1, 2)):
        expected = (maps["loss"][without] - maps["loss"][0]) / null
        np.testing.assert_allclose(gain[n].values, expected.values)
    every = how | {"rows": range(24)}
    whole = token_loss.gains(token_loss.compute(moments, store, sources=resolved, **every))
    assert float(whole[1, :, :, 0].mean()) > float(whole[1, :, :, 1:].mean())
    with pytest.raises(InputError, match="m:x@2 has one scale"):
        token_loss.scale_sources(store, "m:x@2")
