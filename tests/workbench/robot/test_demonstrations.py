"""Numbers of demonstrations: read as written, and refused where a robot could not follow them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

import feature_store
from feature_store.errors import InputError
from workbench import datasets
from workbench.cli import main
from workbench.robot.demonstrations import load, require_same_frames

TABLE = "data/chunk-000/file-001.parquet"


def changed(folder, name, change):
    """Another column in the table of episode 1."""
    table = parquet.read_table(folder / TABLE)
    values = table[name].to_pylist()
    change(values)
    at = table.schema.get_field_index(name)
    parquet.write_table(table.set_column(at, name, pyarrow.array(values)), folder / TABLE)


def test_what_was_recorded_is_read(demos):
    frames = demos.written(demos.folder.parent / "again", episodes=3)
    given = load(demos.folder)
    dataset = datasets.open(f"lerobot:{demos.folder}")
    assert dataset.image_ids == given.image_ids
    assert np.array_equal(dataset.image(len(frames) - 1), frames[-1])
    assert given.state.shape == given.action.shape == (len(frames), 4)
    assert given.fps == 80
    assert (given.state[given.start == np.arange(len(frames)), :2] == 0).all()
    info = json.loads((demos.folder / "meta/info.json").read_text())
    assert (info["total_frames"], info["codebase_version"]) == (len(frames), "v3.0")
    stats = json.loads((demos.folder / "meta/stats.json").read_text())
    assert np.allclose(stats["action"]["mean"], given.action.mean(0), atol=1e-6)
    camera = stats["observation.images.corner2"]
    assert np.shape(camera["mean"]) == np.shape(camera["std"]) == (3, 1, 1)
    rows = (given.frames_of(np.array([episode])) for episode in np.unique(given.episode))
    seen = np.stack([dataset.image(int(frames[len(frames) // 2])) for frames in rows])[:, ::8, ::8]
    assert np.allclose(np.ravel(camera["mean"]), seen.mean((0, 1, 2)) / 255)
    assert np.allclose(np.ravel(camera["max"]), seen.max((0, 1, 2)) / 255)


def test_an_action_that_is_not_finite_is_refused(demos):
    changed(demos.folder, "action", lambda rows: rows[1].__setitem__(2, float("nan")))
    with pytest.raises(InputError, match="action of episode 1, frame 1 is .*nan"):
        load(demos.folder)


def test_an_action_of_another_size_is_refused(demos):
    changed(demos.folder, "action", lambda rows: rows[0].pop())
    with pytest.raises(InputError, match="action of episode 1, frame 0 has 3 values, expected 4"):
        load(demos.folder)


def test_a_feature_that_is_absent_is_named(demos):
    demos.edit(demos.folder / "meta/info.json", lambda info: info["features"].pop("action"))
    with pytest.raises(InputError, match=r"no feature 'action'.*observation\.state"):
        load(demos.folder)


def test_an_action_that_is_text_is_refused(demos):
    def write(rows):
        rows[:] = [["up", *map(str, row[1:])] for row in rows]

    changed(demos.folder, "action", write)
    with pytest.raises(InputError, match=r"action of episode 1, frame 0 is \['up'.*4 numbers"):
        load(demos.folder)


def test_a_state_that_is_a_matrix_is_refused(demos):
    def reshape(info):
        info["features"]["observation.state"]["shape"] = [2, 2]

    demos.edit(demos.folder / "meta/info.json", reshape)
    with pytest.raises(InputError, match=r"observation\.state has the shape \[2, 2\]"):
        load(demos.folder)


def test_a_store_of_other_demonstrations_of_the_same_lengths_is_refused(demos, tmp_path):
    path = str(tmp_path / "s.zarr")
    line = ["extract", "--dataset", f"lerobot:{demos.folder}", "--store", path]
    assert main([*line, "--model", "bundled:efficientnet_lite0", "--scales", "32"]) == 0
    store = feature_store.open(path)
    require_same_frames(store, load(demos.folder), demos.folder)
    moved = demos.folder.rename(tmp_path / "moved")
    require_same_frames(store, load(moved), moved)
    other = tmp_path / "other"
    demos.written(other, episodes=3)
    name = "observation.images.corner2"
    table = parquet.read_table(other / TABLE)
    turned = table[name].to_pylist()[::-1]
    first = parquet.read_table(other / TABLE.replace("001", "000"))[name][0].as_py()
    turned = [first] * len(turned)
    at = table.schema.get_field_index(name)
    kind = table.schema.field(name).type
    parquet.write_table(table.set_column(at, name, pyarrow.array(turned, kind)), other / TABLE)
    with pytest.raises(InputError, match=r"frames compared differ \(episode_000001/frame_"):
        require_same_frames(store, load(other), other)


def test_an_imported_store_is_held_to_the_folder_that_it_records(demos, tmp_path):
    given = load(demos.folder)
    store = feature_store.create(
        tmp_path / "s.zarr", image_ids=given.image_ids, dataset="lerobot:demos",
        dataset_path=str(tmp_path / "elsewhere"),
    )  # fmt: skip
    features = np.ones((len(given.image_ids), 1, 1, 3), np.float32)
    feature_store.import_features(
        store.path, features, source="toy:plane#all@4", image_ids=given.image_ids,
        manifest={"tool": "test"}, dataset="lerobot:demos",
    )  # fmt: skip
    with pytest.raises(InputError, match=f"elsewhere.*{demos.folder}.*does not record"):
        require_same_frames(feature_store.open(store.path), given, demos.folder)
