"""Each kind of archive against a folder of the same images: ids, labels, pixels, processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys

import numpy as np
import pytest

from feature_store.errors import InputError
from workbench import datasets

KINDS = ("tar", "nested", "zip", "wds", "parquet", "hfdisk", "lmdb")


def expected_ids(kind, photos):
    """The id of each photograph, in the order in which it was packed."""
    paths = list(photos)
    if kind == "wds":
        return [p.partition("/")[2].partition(".")[0] for p in paths[0::2] + paths[1::2]]
    if kind == "parquet":
        return [f"train-{n // 3:05d}-of-00002/{n % 3:08d}" for n in range(6)]
    if kind == "hfdisk":
        return [f"{n:08d}" for n in range(6)]
    return sorted(paths) if kind in ("nested", "lmdb") else paths


def paths_in_order(kind, photos):
    paths = list(photos)
    if kind == "wds":
        return paths[0::2] + paths[1::2]
    return sorted(paths) if kind in ("nested", "lmdb") else paths


@pytest.mark.parametrize("kind", KINDS)
def test_ids_labels_and_pixels_are_those_of_the_folder(kind, packed, tmp_path):
    folder = datasets.open(f"folder:{tmp_path}/photos")
    found = datasets.open(packed.names[kind])
    paths = paths_in_order(kind, packed.photos)
    assert found.image_ids == expected_ids(kind, packed.photos)
    assert [found.label_names[k] for k in found.labels] == [p.partition("/")[0] for p in paths]
    assert found.labels.dtype == np.int32
    for row in (5, 0, 3):  # out of order, as galleries read
        other = folder.image(folder.image_ids.index(paths[row]))
        np.testing.assert_array_equal(found.image(row), other)
    assert datasets.open(packed.names[kind], limit=2).image_ids == found.image_ids[:2]


def pixels_of(dataset):
    return [dataset.image(row).tobytes() for row in range(len(dataset))]


@pytest.mark.parametrize("kind", KINDS)
def test_other_processes_read_it(kind, packed):
    found = datasets.open(packed.names[kind])
    here = pixels_of(found)
    again = pickle.loads(pickle.dumps(found))
    assert pixels_of(again) == here
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(pixels_of, [again] * 4) == [here] * 4


def test_what_is_not_an_image_is_counted_by_kind(packed):
    assert datasets.open(packed.names["wds"]).skipped == {".txt": 6}
    assert datasets.open(packed.names["lmdb"]).skipped == {"__key__": 1}


@pytest.mark.parametrize(
    ("kind", "module"),
    [("wds", "braceexpand"), ("parquet", "pyarrow"), ("hfdisk", "datasets"), ("lmdb", "lmdb")],
)
def test_an_absent_library_is_named_with_its_extra(kind, module, packed, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, f"{module}.parquet", None)
    with pytest.raises(InputError, match=f"'{module}'.*setup.sh archives"):
        datasets.open(packed.names[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_pipes_and_missing_files_are_refused(kind, tmp_path):
    scheme = "tar" if kind == "nested" else kind
    with pytest.raises(InputError, match="No such file"):
        datasets.open(f"{scheme}:{tmp_path}/gone")
    if kind == "hfdisk":
        return
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="a pipe, not a regular file"):
        datasets.open(f"{scheme}:{tmp_path}/pipe")
