"""moments.zarr: reload, resume, refuse what belongs to something else."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from analyses.moments import on_disk
from analyses.moments.accumulate import Accumulator, from_batches
from analyses.moments.second_moments import MomentsConfig
from feature_store.errors import InputError

NAMES = ["a#f@1", "b#f@1"]
CONFIG = MomentsConfig(precision="float64")


@pytest.fixture
def store(make_store):
    rng = np.random.default_rng(0)
    arrays = {n: rng.standard_normal((40, 2, 2, 3)).astype(np.float32) for n in NAMES}
    return make_store("s", arrays, shard_images=10)


def test_saved_moments_come_back_equal_and_any_reader_opens_them(store, tmp_path):
    made = from_batches(store.stream(NAMES), NAMES, CONFIG)
    on_disk.save(made, tmp_path / "moments.zarr")
    on_disk.save(made, tmp_path / "moments.zarr")  # replaces what is there
    back = on_disk.load(tmp_path / "moments.zarr")
    assert back.blocks == made.blocks
    np.testing.assert_array_equal(back.scatter, made.scatter)
    np.testing.assert_array_equal(back.mean, made.mean)
    plain = xr.open_zarr(tmp_path / "moments.zarr", consolidated=False)
    assert list(plain["source"].values[[0, -1]]) == NAMES
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_interrupted_run_goes_on_with_the_shards_it_lacks(store, tmp_path, monkeypatch):
    path = tmp_path / "moments.zarr"

    def breaks_after(count):
        for number, batch in enumerate(store.stream(NAMES)):
            if number == count:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        on_disk.from_store(
            store, NAMES, path, CONFIG, read=lambda names, done: breaks_after(3), save_every=2
        )
    assert on_disk.load(path).images.sum() == 30
    updates = []
    original = Accumulator.update
    monkeypatch.setattr(
        Accumulator, "update", lambda self, t, i: updates.append(i[0]) or original(self, t, i)
    )
    whole = on_disk.from_store(store, NAMES, path, CONFIG)
    assert updates == [30]
    expected = from_batches(store.stream(NAMES), NAMES, CONFIG)
    assert whole.images.sum() == 40
    np.testing.assert_allclose(whole.scatter, expected.scatter, atol=1e-10)
    for names in (NAMES, NAMES[:1]):  # a finished file answers for any of its sources
        again = on_disk.from_store(store, names, path, CONFIG, read=lambda names, done: iter(()))
        np.testing.assert_array_equal(again.scatter, whole.scatter)


def test_images_of_a_batch_that_are_done_are_not_counted_twice(store, tmp_path):
    """A run over smaller batches was interrupted within what is one batch now."""

    def breaks_within_a_shard():
        batch = next(iter(store.stream(NAMES)))
        rows = {name: tokens[:4] for name, tokens in batch.tokens.items()}
        yield SimpleNamespace(index=batch.index[:4], tokens=rows)
        raise KeyboardInterrupt

    path = tmp_path / "moments.zarr"
    with pytest.raises(KeyboardInterrupt):
        on_disk.from_store(
            store, NAMES, path, CONFIG, read=lambda names, done: breaks_within_a_shard()
        )
    assert on_disk.load(path).images.sum() == 4
    whole = on_disk.from_store(store, NAMES, path, CONFIG)
    expected = from_batches(store.stream(NAMES), NAMES, CONFIG)
    np.testing.assert_array_equal(whole.images, expected.images)
    np.testing.assert_allclose(whole.scatter, expected.scatter, atol=1e-10)


def test_refusals(store, tmp_path, make_store):
    path = tmp_path / "moments.zarr"
    lean = MomentsConfig(precision="float64", targets=("b#f@1",))
    on_disk.from_store(store, NAMES, path, lean)
    other = MomentsConfig(precision="float64", folds=3, targets=lean.targets)
    with pytest.raises(InputError, match=r"something else \(folds: 5 there, 3 asked for\)"):
        on_disk.from_store(store, NAMES, path, other)
    with pytest.raises(InputError, match="b#f@1: kept as a target only"):
        on_disk.from_store(store, NAMES, path, CONFIG)
    with pytest.raises(InputError, match="grid: 'same' there, 'pool' asked for"):
        on_disk.from_store(store, NAMES, path, lean, grid="pool")
    another = make_store("z", {NAMES[0]: np.ones((5, 1, 1, 3), np.float32)})
    with pytest.raises(InputError, match="image_count: 40 there, 5 asked for"):
        on_disk.from_store(another, NAMES[:1], path, lean)
    with pytest.raises(InputError, match="holds no moments"):
        on_disk.load(tmp_path / "nothing.zarr")
