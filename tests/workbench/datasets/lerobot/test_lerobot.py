"""Frames of both versions, from tables and videos, under the same ids; what is missing is named."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

from feature_store.errors import InputError
from workbench import datasets
from workbench.datasets.lerobot.layout import read_layout

IDS = [f"episode_{e:06d}/frame_{f:06d}" for e, n in enumerate((3, 4)) for f in range(n)]
TABLE = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"


def edited(folder, change):
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_both_versions_have_the_same_frames(lerobot, tmp_path, version):
    dataset = datasets.open(f"lerobot:{lerobot.write(tmp_path / 'd', version=version)}")
    assert dataset.image_ids == IDS
    assert (dataset.labels == -1).all()
    again = pickle.loads(pickle.dumps(dataset))
    for row, image_id in enumerate(IDS):
        episode, frame = int(image_id[8:14]), int(image_id[-6:])
        assert np.array_equal(again.image(row), lerobot.picture(episode, frame)), image_id
    assert dataset.file(0)[0] > 0


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_a_video_gives_each_frame_in_any_order(lerobot, tmp_path, version):
    folder = lerobot.write(tmp_path / "d", version=version, video=True)
    dataset = datasets.open(f"lerobot:{folder}")
    for row in (0, 1, 2, 3, 6, 1, 5):
        episode, frame = int(IDS[row][8:14]), int(IDS[row][-6:])
        error = dataset.image(row).astype(int) - lerobot.picture(episode, frame)
        assert np.abs(error).max() < 12, IDS[row]  # lossy; neighbours differ by 30


def test_a_camera_is_named_where_there_are_several(lerobot, tmp_path):
    folder = lerobot.write(tmp_path / "d")
    assert len(datasets.open(f"lerobot:{folder}#{lerobot.camera}")) == 7
    with pytest.raises(InputError, match=r"no camera 'wrist'.*observation\.images\.top"):
        datasets.open(f"lerobot:{folder}#wrist")
    second = {"dtype": "image", "shape": [16, 16, 3]}
    edited(folder, lambda info: info["features"].update({"wrist": second}))
    with pytest.raises(InputError, match="2 cameras.*wrist"):
        datasets.open(f"lerobot:{folder}")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda info: info.update(codebase_version="v1.6"), r"v1\.6, expected v2.*v3"),
        (lambda info: info.update(total_episodes=3), "2 episodes, expected 3"),
        (lambda info: info.update(fps=30), "frame 1 is at 0.1 s, expected 0.0333.*30 frames"),
        (lambda info: info.pop("fps"), "lacks fps"),
        (lambda info: info.update(fps=0), "fps is 0, expected a positive"),
        (lambda info: info.update(fps=None), "fps is null, expected a positive"),
        (lambda info: info.update(fps="ten"), 'fps is "ten", expected a positive'),
        (lambda info: info.update(total_episodes=None), "total_episodes is null, expected at"),
        (lambda info: info.update(chunks_size=0), "chunks_size is 0, expected at least 1"),
        (lambda info: info.update(data_path="data/{year}"), r"data/\{year\}.*no value for year"),
        (lambda info: info.update(data_path="data/{}"), r"data_path is 'data/\{\}'.*no path"),
        (lambda info: info["features"]["action"].pop("dtype"), "'action' has the dtype null"),
    ],
)
def test_metadata_that_contradict_the_frames_are_refused(lerobot, tmp_path, change, found):
    folder = lerobot.write(tmp_path / "d")
    edited(folder, change)
    with pytest.raises(InputError, match=found):
        read_layout(folder)


def test_missing_frames_are_named(lerobot, tmp_path):
    folder = lerobot.write(tmp_path / "d")
    table = parquet.read_table(folder / TABLE)
    for kept, found in ((range(6), "episode 1 has 3 frames.*expected 4"), (range(3), "episode 1")):
        parquet.write_table(table.take(list(kept)), folder / TABLE)
        with pytest.raises(InputError, match=found):
            read_layout(folder)
    parquet.write_table(table.take([0, 2, 3, 4, 5, 6]), folder / TABLE)
    with pytest.raises(InputError, match=r"episode 0.*frame 2 where frame 1 is"):
        read_layout(folder)
    (folder / TABLE).unlink()
    with pytest.raises(InputError, match=r"cannot read .*file-000\.parquet"):
        read_layout(folder)
    with pytest.raises(InputError, match=r"has no meta/info\.json"):
        datasets.open(f"lerobot:{tmp_path}")


def test_a_missing_video_is_named(lerobot, tmp_path):
    folder = lerobot.write(tmp_path / "d", video=True)
    next(folder.rglob("*.mp4")).unlink()
    with pytest.raises(InputError, match=r"episode 0 has no video.*\.mp4"):
        datasets.open(f"lerobot:{folder}")


def without(folder, name):
    """Rewrite the list of episodes without a column."""
    table = parquet.read_table(folder / EPISODES)
    parquet.write_table(table.drop_columns([name]), folder / EPISODES)


@pytest.mark.parametrize("name", ["length", "episode_index", "data/file_index"])
def test_a_column_that_the_list_of_episodes_lacks_is_named(lerobot, tmp_path, name):
    folder = lerobot.write(tmp_path / "d")
    without(folder, name)
    with pytest.raises(InputError, match=name):
        read_layout(folder)


@pytest.mark.parametrize("name", ["from_timestamp", "chunk_index"])
def test_a_video_is_not_read_from_a_place_that_is_unknown(lerobot, tmp_path, name):
    folder = lerobot.write(tmp_path / "d", video=True)
    without(folder, f"videos/{lerobot.camera}/{name}")
    with pytest.raises(InputError, match=f"videos/{lerobot.camera}/{name}"):
        read_layout(folder)


def test_a_video_without_a_pattern_of_paths_is_refused(lerobot, tmp_path):
    folder = lerobot.write(tmp_path / "d", video=True)
    edited(folder, lambda info: info.update(video_path=None))
    with pytest.raises(InputError, match="video_path is null"):
        read_layout(folder)


def test_a_damaged_list_of_episodes_is_named(lerobot, tmp_path):
    folder = lerobot.write(tmp_path / "d")
    (folder / EPISODES).write_bytes(b"PAR1 not a table")
    with pytest.raises(InputError, match=r"cannot read .*meta/episodes.*file-000\.parquet"):
        read_layout(folder)


def test_time_stamps_that_are_not_numbers_are_refused(lerobot, tmp_path):
    folder = lerobot.write(tmp_path / "d")
    table = parquet.read_table(folder / TABLE)
    at = table.schema.get_field_index("timestamp")
    stamps = [0.0, None, 0.2, 0.0, 0.1, 0.2, 0.3]
    for values, found in ((stamps, "holds None"), ([0.0, float("nan"), *stamps[2:]], "nan s")):
        spoilt = table.set_column(at, "timestamp", pyarrow.array(values))
        parquet.write_table(spoilt, folder / TABLE)
        with pytest.raises(InputError, match=found):
            read_layout(folder)
