"""moments.zarr: reload, resume, refuse what belongs to something else."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from analyses.moments import on_disk
from analyses.moments.accumulate import Accumulator
from analyses.moments.one_pass import from_batches
from analyses.moments.second_moments import MomentsConfig
from analyses.reading import partition
from analyses.reading.passes import Reading
from feature_store.errors import InputError

NAMES = ["a#f@1", "b#f@1"]
CONFIG = MomentsConfig(precision="float64")


class Running:
    """A stream with the images of a store, whose batches are given."""

    def __init__(self, store, batches):
        self._store, self._batches = store, batches

    def __getattr__(self, name):
        return getattr(self._store, name)

    def stream(self, sources, *, done=None):
        return self._batches


def finish(features, path, config=CONFIG, names=NAMES, **options):
    return on_disk.from_features(features, Reading(names), path, config, **options)


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
    assert back.channels == made.channels
    np.testing.assert_array_equal(back.scatter, made.scatter)
    np.testing.assert_array_equal(back.mean, made.mean)
    plain = xr.open_zarr(tmp_path / "moments.zarr", consolidated=False)
    assert list(plain["source"].values[[0, -1]]) == NAMES
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_an_interrupted_run_resumes_with_the_shards_it_lacks(store, tmp_path, monkeypatch):
    path = tmp_path / "moments.zarr"

    def breaks_after(count):
        for number, batch in enumerate(store.stream(NAMES)):
            if number == count:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        finish(Running(store, breaks_after(3)), path, save_every=2)
    assert on_disk.load(path).images.sum() == 30
    updates = []
    original = Accumulator.update
    monkeypatch.setattr(
        Accumulator, "update", lambda self, t, i: updates.append(i[0]) or original(self, t, i)
    )
    whole = finish(store, path)
    assert updates == [30]
    expected = from_batches(store.stream(NAMES), NAMES, CONFIG)
    assert whole.images.sum() == 40
    np.testing.assert_allclose(whole.scatter, expected.scatter, atol=1e-10)
    for names in (NAMES, NAMES[:1]):  # a finished file answers for any of its sources
        again = finish(Running(store, iter(())), path, names=names)
        np.testing.assert_array_equal(again.scatter, whole.scatter)


@pytest.mark.parametrize("save_every", [1, 3])
def test_an_interruption_between_partitions_changes_no_bit(
    store, tmp_path, monkeypatch, save_every
):
    monkeypatch.setattr(partition, "PARTITION_IMAGES", 10)
    whole = finish(store, tmp_path / "whole.zarr", save_every=save_every)
    path, original = tmp_path / "moments.zarr", Accumulator.update

    def killed(self, tokens, index=None):
        if index[0] == 30:
            raise KeyboardInterrupt
        original(self, tokens, index)

    monkeypatch.setattr(Accumulator, "update", killed)
    with pytest.raises(KeyboardInterrupt):
        finish(store, path, save_every=save_every)
    assert on_disk.load(path).images.sum() == 30
    monkeypatch.setattr(Accumulator, "update", original)
    np.testing.assert_array_equal(finish(store, path).scatter, whole.scatter)


def test_a_killed_run_loses_what_came_after_the_last_saving(store, tmp_path, monkeypatch):
    monkeypatch.setattr(partition, "PARTITION_IMAGES", 10)
    original = Accumulator.update

    def killed(self, tokens, index=None):
        if index[0] == 30:
            raise MemoryError
        original(self, tokens, index)

    monkeypatch.setattr(Accumulator, "update", killed)
    with pytest.raises(MemoryError):
        finish(store, tmp_path / "moments.zarr", save_every=2)
    assert on_disk.load(tmp_path / "moments.zarr").images.sum() == 20


def test_images_of_a_batch_that_are_done_are_not_counted_twice(store, tmp_path):
    """A run over smaller batches was interrupted within what is one batch now."""

    def breaks_within_a_shard():
        batch = next(iter(store.stream(NAMES)))
        rows = {name: tokens[:4] for name, tokens in batch.tokens.items()}
        yield SimpleNamespace(index=batch.index[:4], tokens=rows)
        raise KeyboardInterrupt

    path = tmp_path / "moments.zarr"
    with pytest.raises(KeyboardInterrupt):
        finish(Running(store, breaks_within_a_shard()), path)
    assert on_disk.load(path).images.sum() == 4
    whole = finish(store, path)
    expected = from_batches(store.stream(NAMES), NAMES, CONFIG)
    np.testing.assert_array_equal(whole.images, expected.images)
    np.testing.assert_allclose(whole.scatter, expected.scatter, atol=1e-10)


def test_refusals(store, tmp_path, make_store):
    path = tmp_path / "moments.zarr"
    lean = MomentsConfig(precision="float64", targets=("b#f@1",))
    finish(store, path, lean)
    other = MomentsConfig(precision="float64", folds=3, targets=lean.targets)
    with pytest.raises(InputError, match=r"something else \(folds: 5 there, 3 asked for\)"):
        finish(store, path, other)
    with pytest.raises(InputError, match="b#f@1: .*target only"):
        finish(store, path)
    same = on_disk.from_features(store, Reading(NAMES, "pool"), path, lean)  # equal grids
    assert same.attrs["grid"] == "same"
    pooled = tmp_path / "pooled.zarr"
    on_disk.from_features(store, Reading(NAMES, "pool"), pooled, lean)
    with pytest.raises(InputError, match="grid: 'pool' there, 'same' asked for"):
        on_disk.from_features(store, Reading(NAMES), pooled, lean)
    another = make_store("z", {NAMES[0]: np.ones((5, 1, 1, 3), np.float32)})
    with pytest.raises(InputError, match="image_count: 40 there, 5 asked for"):
        finish(another, path, lean, NAMES[:1])
    with pytest.raises(InputError, match="holds no moments"):
        on_disk.load(tmp_path / "nothing.zarr")
