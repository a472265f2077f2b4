"""Exports hold the stored bits, ids, labels and identity; interrupted ones leave nothing."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from safetensors import safe_open

import feature_store
from analyses.reading.pooled import pool
from workbench.cli import main
from workbench.exports import arrays

RNG = np.random.default_rng(0)
SOURCE, LARGE, BOTH = "toy:a#b@28", "toy:a#b@56", "toy:a#b@28+56"
COUNT = 11
GOOD = np.delete(np.arange(COUNT), 3)
NAMES = ["cat", "dog", "", "cat", "dog", "", "cat", "dog", "", "cat", "dog"]

CODES = {"cat": 0, "dog": 1, "": -1}


@pytest.fixture
def store(make_store):
    shape = (COUNT, 2, 3)
    maps = {SOURCE: RNG.normal(size=(*shape, 5)), LARGE: RNG.normal(size=(*shape, 4))}
    ids = [f"cat/ä{n}.jpg" if n == 1 else f"{n}.jpg" for n in range(COUNT)]
    return make_store(
        "s", maps, dtype="float16", labels=[CODES[name] for name in NAMES],
        label_names=["cat", "dog"], shard_images=4, ids=ids, failed={3: "damaged"},
        prefix={SOURCE: RNG.normal(size=(COUNT, 1, 5)), LARGE: RNG.normal(size=(COUNT, 1, 4))},
    )  # fmt: skip


def exported(store, to, out, pooling, source=BOTH):
    arguments = ["--source", source, "--to", to, "--out", str(out), "--pooling", pooling]
    assert main(["export", store.path, *arguments]) == 0
    return out


def expected(store, pooling, source=BOTH):
    if pooling == "none":
        return store.features(source).values[GOOD]
    return pool(store, [source], pooling).features(source).load()


def read_npz(path, shape):
    with np.load(path) as found:
        names = [*found["label_names"].tolist(), ""]
        labels = [names[k] for k in found["label"]]
        return found["features"], found["image_id"].tolist(), labels, str(found["about"])


def read_safetensors(path, shape):
    with safe_open(path, "np") as found:
        about = found.metadata()["about"]
        names = [*json.loads(about)["label_names"], ""]
        ids = [bytes(row).rstrip(b"\0").decode() for row in found.get_tensor("image_id")]
        labels = [names[k] for k in found.get_tensor("label")]
        return found.get_tensor("features"), ids, labels, about


def read_parquet(path, shape):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra archives")
    table = parquet.read_table(path)
    per_image = len(table) // shape[0]
    flat = table["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    if per_image > 1:
        assert table["row"].to_pylist()[:6] == [0, 0, 0, 1, 1, 1]
        assert table["col"].to_pylist()[:6] == [0, 1, 2, 0, 1, 2]
    labels = [label or "" for label in table["label"].to_pylist()[::per_image]]
    about = table.schema.metadata[b"about"].decode()
    return flat.reshape(shape), table["image_id"].to_pylist()[::per_image], labels, about


def read_hf(path, shape):
    datasets = pytest.importorskip("datasets", reason="needs the extra archives")
    rows = datasets.load_from_disk(str(path))
    per_image = len(rows) // shape[0]
    names = [*rows.features["label"].names, ""]
    flat = rows.data["features"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    labels = [names[k] for k in rows["label"][::per_image]]
    return flat.reshape(shape), rows["image_id"][::per_image], labels, rows.info.description


READERS = {"npz": read_npz, "safetensors": read_safetensors, "parquet": read_parquet, "hf": read_hf}


@pytest.mark.parametrize("pooling", ["mean", "prefix", "none"])
@pytest.mark.parametrize("to", list(READERS))
def test_values_ids_and_labels_come_along(to, pooling, store, tmp_path):
    wanted = expected(store, pooling)
    out = exported(store, to, tmp_path / f"out.{to}", pooling)
    values, ids, labels, about = READERS[to](out, wanted.shape)
    np.testing.assert_array_equal(values, wanted)
    assert values.dtype == wanted.dtype
    assert ids == store.image_ids[GOOD].tolist()
    assert labels == [NAMES[n] for n in GOOD]
    found = json.loads(about)
    assert found["identities"] == {n: store.source(n).identity for n in (SOURCE, LARGE)}
    assert found["failed"] == {"3.jpg": "damaged"}
    assert (found["source"], found["pooling"], found["grid"]) == (BOTH, pooling, [2, 3])


@pytest.mark.parametrize("to", list(READERS))
def test_back_in_a_store_the_bits_are_the_same(to, store, tmp_path):
    out = exported(store, to, tmp_path / f"out.{to}", "none", SOURCE)
    features, ids, labels, text = READERS[to](out, (len(GOOD), 2, 3, 5))
    about = json.loads(text)
    again = feature_store.import_features(
        tmp_path / "again.zarr", features, source=SOURCE, image_ids=ids, manifest=about,
        labels=labels,
    )  # fmt: skip
    stored = store.features(SOURCE).values[GOOD]
    assert again.features(SOURCE).dtype == stored.dtype
    assert again.features(SOURCE).values.tobytes() == stored.tobytes()
    np.testing.assert_array_equal(
        again.features(SOURCE).coords["label"], store.features(SOURCE).coords["label"][GOOD]
    )


def test_kept_positions_come_along(tmp_path):
    store = feature_store.create(tmp_path / "s", dataset="d", image_ids=["a", "b", "c"])
    maps = RNG.normal(size=(3, 4, 5, 2)).astype(np.float32)
    store.add_source(SOURCE, manifest={}, grid=(4, 5), channels=2, keep=6).commit(0, maps)
    places = store.features(SOURCE).coords["position"].values
    with np.load(exported(store, "npz", tmp_path / "a.npz", "none", SOURCE)) as found:
        np.testing.assert_array_equal(found["position"], places)
        assert found["features"].shape == (3, 6, 2)
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra archives")
    table = parquet.read_table(exported(store, "parquet", tmp_path / "a.parquet", "none", SOURCE))
    flat = np.array(table["row"]) * 5 + np.array(table["col"])
    np.testing.assert_array_equal(flat, places.ravel())


@pytest.mark.parametrize("to", list(READERS))
def test_an_interrupted_export_leaves_what_was_there(to, store, tmp_path, monkeypatch):
    out = tmp_path / "out" / f"a.{to}"
    out.parent.mkdir()
    if to != "hf":
        out.write_text("old")
    blocks = arrays.Exported.blocks

    def stopped(content):
        yield next(blocks(content))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrays.Exported, "blocks", stopped)
    arguments = ["--source", SOURCE, "--to", to, "--out", str(out), "--pooling", "none"]
    assert main(["export", store.path, *arguments]) == 2
    assert [p.name for p in out.parent.iterdir()] == ([] if to == "hf" else [out.name])
    assert to == "hf" or out.read_text() == "old"


@pytest.mark.parametrize("to", list(READERS))
@pytest.mark.parametrize("left", ["file", "folder"])
def test_an_export_that_was_killed_is_no_obstacle_to_another_kind(to, left, store, tmp_path):
    partial = tmp_path / ".out.partial"
    if left == "file":
        partial.write_text("half")
    else:
        (partial / "saved").mkdir(parents=True)
    wanted = expected(store, "mean")
    values, *_ = READERS[to](exported(store, to, tmp_path / "out", "mean"), wanted.shape)
    np.testing.assert_array_equal(values, wanted)
    assert not partial.exists()


def test_a_source_without_a_readable_image_is_refused(make_store, tmp_path, capsys):
    store = make_store("f", {SOURCE: np.ones((1, 2, 3, 4))}, failed={0: "damaged"})
    for to in READERS:
        arguments = ["--to", to, "--out", str(tmp_path / "a"), "--pooling", "none"]
        assert main(["export", store.path, "--source", SOURCE, *arguments]) == 2
        assert "holds no readable image for toy:a#b@28" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_refusals(store, tmp_path, capsys, monkeypatch):
    def refused(*changes):
        arguments = ["--to", "npz", "--out", str(tmp_path / "a.npz"), *changes]
        assert main(["export", store.path, "--source", SOURCE, *arguments]) == 2
        return capsys.readouterr().err

    assert f"{tmp_path} exists" in refused("--to", "hf", "--out", str(tmp_path))
    assert "does not hold toy:a#b@84" in refused("--source", "toy:a#b@84")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "'pyarrow'" in (told := refused("--to", "parquet"))
    assert "setup.sh archives" in told
    assert not (tmp_path / "a.npz").exists()


def test_json(store, tmp_path, capsys):
    out = tmp_path / "a.npz"
    main(["export", store.path, "--source", BOTH, "--to", "npz", "--out", str(out), "--json"])
    assert json.loads(capsys.readouterr().out) == {
        "out": str(out), "source": BOTH, "shape": [10, 9], "dims": ["image", "channel"],
        "dtype": "float32", "failed": 1,
    }  # fmt: skip
