"""Features of other tools: imported to the bit, marked, resumed, refused, read by analyses."""

from __future__ import annotations

import numpy as np
import pytest

import feature_store
from analyses import probe, reconstruction
from feature_store import InputError, StoreError, import_features
from feature_store.verify import verify
from workbench.cli import main

RNG = np.random.default_rng(0)
SOURCE = "thingsvision:resnet50#avgpool@224"
IDS = [f"{n:02d}.jpg" for n in range(10)]
ABOUT = {"tool": "thingsvision 2.6", "scale": 224}


def imported(path, features, **changes):
    options = dict(source=SOURCE, image_ids=IDS, manifest=ABOUT, shard_images=4)
    return import_features(path, features, **(options | changes))


@pytest.mark.parametrize(("shape", "dtype"), [((10, 6), "f4"), ((10, 2, 3, 6), "f2")])
def test_bits_ids_labels_and_mark(shape, dtype, tmp_path):
    features = RNG.normal(size=shape).astype(dtype)
    labels = ["dog", "cat", ""] * 3 + ["dog"]
    store = imported(tmp_path / "s", features, labels=labels)
    found = store.features("thingsvision:resnet50@224")
    np.testing.assert_array_equal(found.values.reshape(shape), features)
    assert found.dtype == features.dtype
    assert found.coords["image"].values.tolist() == IDS
    assert found.coords["label"].values.tolist() == labels
    assert store.label_names == ["cat", "dog"]
    manifest = store.manifest(SOURCE)
    assert (manifest["foreign"], manifest["made_by"]) == (True, ABOUT)
    assert store.source_status()[0].foreign
    assert verify(store).problems == []


def test_ids_map_rows_and_a_memory_map_is_enough(tmp_path):
    features = RNG.normal(size=(10, 6)).astype(np.float32)
    imported(tmp_path / "s", features)
    order = RNG.permutation(10)
    np.save(tmp_path / "other.npy", features[order] + 1)
    prefix = RNG.normal(size=(10, 2, 6)).astype(np.float32)
    store = imported(
        tmp_path / "s", np.load(tmp_path / "other.npy", mmap_mode="r"), source="dino:x@224",
        image_ids=[IDS[k] for k in order], prefix=prefix[order],
    )  # fmt: skip
    np.testing.assert_array_equal(store.features("dino:x@224").values[:, 0, 0], features + 1)
    np.testing.assert_array_equal(store.prefix("dino:x@224").values, prefix)
    assert store.sources() == ["dino:x#features@224", SOURCE]


def test_a_repeated_import_resumes_and_other_values_are_refused(tmp_path, monkeypatch):
    features = RNG.normal(size=(10, 6)).astype(np.float32)
    from feature_store.writer import SourceWriter

    commit = SourceWriter.commit

    def stopped(writer, shard, *rest):
        if shard == 1:
            raise OSError("disk full")
        return commit(writer, shard, *rest)

    monkeypatch.setattr(SourceWriter, "commit", stopped)
    with pytest.raises(OSError, match="disk full"):
        imported(tmp_path / "s", features)
    monkeypatch.setattr(SourceWriter, "commit", commit)
    assert feature_store.open(tmp_path / "s").source(SOURCE).missing() == [1, 2]
    with pytest.raises(StoreError, match="values_xxh3"):
        imported(tmp_path / "s", features + 1)
    store = imported(tmp_path / "s", features)
    np.testing.assert_array_equal(store.features(SOURCE).values[:, 0, 0], features)


def test_values_that_are_not_finite_are_refused_before_anything_is_written(tmp_path):
    features = RNG.normal(size=(10, 6)).astype(np.float32)
    damaged = features.copy()
    damaged[7, 2] = np.nan
    with pytest.raises(InputError, match=r"features of '07\.jpg' .* not finite in float32"):
        imported(tmp_path / "s", damaged, shard_images=4)
    with pytest.raises(InputError, match=r"'00\.jpg' .* not finite in float32"):
        imported(tmp_path / "s", features.astype(np.float64) + 1e39)
    assert not (tmp_path / "s").exists()
    store = imported(tmp_path / "s", features)
    with pytest.raises(InputError, match=r"'02\.jpg' .* not finite"):
        imported(tmp_path / "s", damaged, source="a:b@1", image_ids=IDS[5:] + IDS[:5])
    assert store.sources() == [SOURCE]


def test_tensors_and_labels_that_are_none(tmp_path):
    torch = pytest.importorskip("torch")
    features = RNG.normal(size=(10, 6)).astype(np.float16)
    labels = [None, "cat"] * 5
    store = imported(tmp_path / "s", torch.from_numpy(features), labels=labels)
    np.testing.assert_array_equal(store.features(SOURCE).values[:, 0, 0], features)
    assert store.label_names == ["cat"]
    assert store.labels.tolist() == [-1, 0] * 5
    imported(tmp_path / "s", features, labels=labels)  # the same values


def test_refusals(tmp_path):
    features = RNG.normal(size=(10, 6)).astype(np.float32)
    with pytest.raises(InputError, match="10 rows of features for 3 image ids"):
        imported(tmp_path / "s", features, image_ids=IDS[:3])
    with pytest.raises(InputError, match="9 labels for 10 image ids"):
        imported(tmp_path / "s", features, labels=["cat"] * 9)
    with pytest.raises(InputError, match=r"shape \(10, 6, 1\)"):
        imported(tmp_path / "s", features[..., None])
    with pytest.raises(InputError, match="names 2 scales"):
        imported(tmp_path / "s", features, source="a:b@1+2")
    with pytest.raises(InputError, match=r"prefix has shape \(10, 6\), expected"):
        imported(tmp_path / "s", features, prefix=features)
    store = imported(tmp_path / "s", features, labels=["cat"] * 10)
    with pytest.raises(InputError, match=r"such as '09\.jpg', are only in one"):
        imported(tmp_path / "s", features, image_ids=[*IDS[:9], "x"])
    with pytest.raises(InputError, match=r"10 labels, such as the one of '00\.jpg'"):
        imported(tmp_path / "s", features, labels=["dog"] * 10)
    assert len(store.sources()) == 1


def test_analyses_read_them(tmp_path, capsys):
    """Two tools' features of 60 images: a probe and a reconstruction with a known answer."""
    ids = [f"{n:02d}" for n in range(60)]
    labels = ["cat", "dog"] * 30
    paths = []
    for name in ("train", "test"):
        small = RNG.normal(size=(60, 4)).astype(np.float32)
        small[:, 0] += np.where(np.arange(60) % 2, 8, -8)
        large = small @ np.arange(12, dtype=np.float32).reshape(4, 3)
        for source, values in (("clip:a@224", small), ("clip:b@224", large)):
            own = [f"{name}/{i}" for i in ids]
            store = import_features(
                tmp_path / name, values, source=source, image_ids=own, manifest={}, labels=labels
            )
        paths.append(store)
    result = probe.compute(*paths, sources=["clip:a@224"])
    assert result["test_accuracy"].item() == 1
    sides = dict(target="clip:b@224", sources=["clip:a@224"])
    found = reconstruction.compute(*paths, **sides)
    assert found["test_info_bits"].min() > 10
    assert main(["status", str(tmp_path / "train")]) == 0
    assert "made by another tool" in capsys.readouterr().out
