"""Where the lists of archives' members are kept, and that archives are not listed again."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

import feature_store
from workbench import datasets
from workbench.datasets.registry import skipped_files

KINDS = ("tar", "zip", "wds")


def made(path, dataset):
    return feature_store.create(
        path, dataset=dataset.name, image_ids=dataset.image_ids, labels=dataset.labels,
        label_names=dataset.label_names,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_has_the_list_beside_it_wherever_it_was_made(
    kind, packed, own_cache, tmp_path, capsys
):
    name, folder = packed.names[kind], tmp_path / "s.zarr.archives"
    dataset = datasets.open(name)  # without a store
    assert not folder.exists()
    listed = len(list(own_cache.iterdir()))
    store = made(tmp_path / "s.zarr", dataset)
    capsys.readouterr()
    datasets.open(name, beside=store.path)
    assert len(list(folder.iterdir())) == listed
    shutil.rmtree(own_cache)
    found = datasets.open_of(store)
    assert skipped_files(name, beside=store.path) == dataset.skipped
    assert "listing" not in capsys.readouterr().err
    assert not own_cache.exists()
    np.testing.assert_array_equal(found.image(1), dataset.image(1))
    shutil.rmtree(folder)
    assert datasets.open(f"view:1:{name}", beside=store.path).image_ids == dataset.image_ids
    assert f"the list is kept in {folder}" in capsys.readouterr().err
    assert not own_cache.exists()


def test_an_archive_that_changed_is_listed_again(packed, put, tmp_path):
    path = tmp_path / "photos.tar"
    store = str(tmp_path / "s.zarr")
    assert len(datasets.open(f"tar:{path}", beside=store)) == 6
    put.tar(path, list(packed.photos.items())[:2])
    assert len(datasets.open(f"tar:{path}", beside=store)) == 2


@pytest.mark.parametrize("place", ["zip:///nowhere/s.zip", "nosuch://bucket/s.zarr", "file"])
def test_where_nothing_can_be_written_the_cache_keeps_the_list(place, packed, own_cache, tmp_path):
    if place == "file":
        place = str(tmp_path / "s.zarr")
        (tmp_path / "s.zarr.archives").write_text("in the way")
    for _ in range(2):
        assert len(datasets.open(packed.names["zip"], beside=place)) == 6
        assert len(list(own_cache.iterdir())) == 1


def test_a_store_of_a_bucket_has_the_list_there(packed, own_cache):
    store = f"memory://{os.path.basename(os.getcwd())}/s.zarr"
    datasets.open(packed.names["tar"], beside=store)
    assert not own_cache.exists()
    assert feature_store.objects.connect(f"{store}.archives").names("") != []
