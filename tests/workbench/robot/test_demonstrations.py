"""Numbers of demonstrations: read as written, and refused where a robot could not follow them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

from feature_store.errors import InputError
from workbench import datasets
from workbench.robot.demonstrations import load

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
