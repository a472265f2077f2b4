"""Archives that are truncated, damaged, ambiguous or changed: refused, or rows with a reason."""

from __future__ import annotations

import tarfile
import zipfile

import numpy as np
import pytest

import feature_store
from feature_store.errors import InputError
from workbench import datasets
from workbench.cli import main
from workbench.datasets.decode import DecodeError
from workbench.extraction import ExtractRequest, extract
from workbench.extraction.loaded_models import LoadedModels


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(("bytes_left", "message"), [(-3000, "damaged or truncated"), (0, "empty")])
def test_a_truncated_tar_is_refused(bytes_left, message, photos, put, tmp_path):
    path = put.tar(tmp_path / "a.tar", photos.items())
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    cut(path, last.offset_data + last.size + bytes_left if bytes_left else 0)
    with pytest.raises(InputError, match=rf"a\.tar.*{message}.*copy it again"):
        datasets.open(f"tar:{path}")
    with pytest.raises(InputError, match=message):
        datasets.open(f"wds:{path}")


def test_a_tar_that_ends_between_members_is_read_and_told(photos, put, tmp_path):
    path = put.tar(tmp_path / "a.tar", photos.items())
    with tarfile.open(path) as tar:
        cut(path, tar.getmembers()[4].offset)
    dataset = datasets.open(f"tar:{path}")
    assert len(dataset) == 4
    assert dataset.skipped == {"archive without an end mark": 1}


def test_an_end_mark_before_the_end_is_refused(photos, put, tmp_path):
    """Archives that were joined, and a download that was never completed behind its place."""
    path = put.tar(tmp_path / "a.tar", photos.items())
    whole = path.read_bytes()
    path.write_bytes(whole * 2)
    with pytest.raises(InputError, match=r"a\.tar continues after its end mark.*joined"):
        datasets.open(f"tar:{path}")
    path.write_bytes(whole + bytes(1 << 20))
    with pytest.raises(InputError, match=r"a\.tar continues after its end mark.*copy it again"):
        datasets.open(f"wds:{path}")
    path.write_bytes(whole + bytes(1 << 18))
    assert len(datasets.open(f"tar:{path}")) == 6


def test_a_header_of_nonsense_is_refused(photos, put, tmp_path):
    path = put.tar(tmp_path / "a.tar", photos.items())
    with tarfile.open(path) as tar:
        place = tar.getmembers()[3].offset
    data = bytearray(path.read_bytes())
    data[place : place + 512] = b"\x7f" * 512
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"at byte {place}"):
        datasets.open(f"tar:{path}")


@pytest.mark.parametrize(("mode", "kind"), [("w:gz", "gzip"), ("w:bz2", "bzip2"), ("w:xz", "xz")])
def test_a_compressed_tar_is_refused(mode, kind, photos, tmp_path):
    with tarfile.open(tmp_path / "a.tar", mode) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(InputError, match=f"compressed by {kind}.*decompress"):
        datasets.open(f"tar:{tmp_path}/a.tar")


def test_members_that_are_no_images_are_counted_by_kind(photos, tmp_path, put):
    kinds = [("l.jpg", tarfile.SYMTYPE), ("p.jpg", tarfile.FIFOTYPE), ("d", tarfile.DIRTYPE)]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in kinds:
            info = tarfile.TarInfo(name)
            info.type = kind
            tar.addfile(info)
        for name in ("./cat//1.jpg", "cat/._1.jpg", "._cat.tar", "read.me", "noext"):
            tar.addfile(tarfile.TarInfo(name))
    dataset = datasets.open(f"tar:{tmp_path}/a.tar")
    assert dataset.image_ids == ["cat/1.jpg"]
    assert dataset.skipped == {
        "link": 1, "pipe, socket or device": 1, "hidden": 2, ".me": 1, "without extension": 1,
    }  # fmt: skip
    with pytest.raises(DecodeError, match="zero bytes"):
        dataset.image(0)
    put.tar(tmp_path / "b.tar", [("read.me", b"")])
    with pytest.raises(InputError, match=r"holds no image.*skipped: 1 \.me"):
        datasets.open(f"tar:{tmp_path}/b.tar")


def test_names_that_are_no_text_or_come_twice_are_refused(photos, put, tmp_path):
    (data, *_) = photos.values()
    put.tar(tmp_path / "a.tar", [("a.jpg", data), ("./a.jpg", data)])
    with pytest.raises(InputError, match=r"'a\.jpg'.*unique"):
        datasets.open(f"tar:{tmp_path}/a.tar")
    put.tar(tmp_path / "b.tar", [("\udcff.jpg", data)])
    with pytest.raises(InputError, match=r"b\.tar: the name \\udcff\.jpg is not valid UTF-8"):
        datasets.open(f"tar:{tmp_path}/b.tar")


def test_damaged_zips(photos, put, tmp_path):
    (data, *_) = photos.values()
    path = put.zip(tmp_path / "a.zip", [("a.png", data), ("b.png", data)], zipfile.ZIP_STORED)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(data[40:60], bytes(20), 1))
    dataset = datasets.open(f"zip:{path}")
    with pytest.raises(DecodeError, match="checksum is wrong"):
        dataset.image(0)
    assert dataset.image(1).shape == (24, 30, 3)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.zip is not a zip archive, is damaged or is trunc"):
        datasets.open(f"zip:{path}")
    put.zip(tmp_path / "c.zip", [("a.png", data)], zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match="1 of another compression"):
        datasets.open(f"zip:{tmp_path}/c.zip")


def test_keys_of_shards(photos, put, tmp_path):
    (data, other, *_) = photos.values()
    put.tar(tmp_path / "0.tar", [("a.png", data), ("a.seg.png", other), ("x/b.v2.png", other)])
    dataset = datasets.open(f"wds:{tmp_path}/0.tar")
    assert dataset.image_ids == ["a", "x/b"]
    assert dataset.skipped == {".seg.png": 1}
    assert dataset.read(0) == data
    put.tar(tmp_path / "1.tar", [("a.png", data)])
    with pytest.raises(InputError, match=r"'a' occurs in .*0\.tar and in .*1\.tar"):
        datasets.open(f"wds:{tmp_path}/{{0,1}}.tar")
    put.tar(tmp_path / "2.tar", [("photo.1.png", data), ("photo.2.png", data)])
    with pytest.raises(InputError, match=r"'photo' .*2 images \(1\.png, 2\.png\).*tar:"):
        datasets.open(f"wds:{tmp_path}/2.tar")


def test_labels_of_shards(photos, put, tmp_path):
    (data, *_) = photos.values()
    samples = {
        "number": [(".cls", b"3\n")],
        "text": [(".cls", b"dog")],
        "text before number": [(".json", b'{"label": 3}'), (".cls", b"dog")],
        "name before number": [(".json", b'{"label": 3, "class_name": "cat"}')],
        "none": [(".json", b'{"caption": "x"}')],
        "damaged": [(".json", b"{"), (".cls", b"\xff")],
    }
    for name, notes in samples.items():
        put.tar(tmp_path / f"{name}.tar", [(f"a{e}", d) for e, d in [(".png", data), *notes]])
    found = {name: datasets.open(f"wds:{tmp_path}/{name}.tar") for name in samples}
    labels = {name: one.label_names for name, one in found.items()}
    assert labels == {
        "number": ["3"], "text": ["dog"], "text before number": ["dog"],
        "name before number": ["cat"], "none": [], "damaged": [],
    }  # fmt: skip
    assert found["damaged"].skipped == {".json that is not JSON": 1, ".cls that is not text": 1}


def test_labels_that_are_too_large_to_read_are_counted(photos, put, tmp_path):
    (data, *_) = photos.values()
    note = b'{"label": "cat", "text": "' + b"x" * (1 << 20) + b'"}'
    put.tar(tmp_path / "0.tar", [("a.png", data), ("a.json", note), ("a.cls", b"dog")])
    dataset = datasets.open(f"wds:{tmp_path}/0.tar")
    assert (dataset.label_names, dataset.skipped) == (["dog"], {".json above 1 MB": 1})


def test_pickles_are_refused(photos, put, tmp_path):
    import pickle

    (data, *_) = photos.values()
    put.lmdb(tmp_path / "a", [(b"a", pickle.dumps(data))])
    with pytest.raises(InputError, match="holds pickles, which are not loaded.*'a'"):
        datasets.open(f"lmdb:{tmp_path}/a")
    put.lmdb(tmp_path / "b", [(b"a", data), (b"b", pickle.dumps(data))])
    dataset = datasets.open(f"lmdb:{tmp_path}/b")
    with pytest.raises(DecodeError, match="a pickle, which is not loaded"):
        dataset.image(1)
    cut(tmp_path / "b" / "data.mdb", 8192)
    with pytest.raises(InputError, match="truncated: 8192 bytes"):
        datasets.open(f"lmdb:{tmp_path}/b")
    with pytest.raises(DecodeError, match="has changed since"):
        dataset.image(0)


def test_damaged_tables(packed, tmp_path):
    file = tmp_path / "train-00000-of-00002.parquet"
    dataset = datasets.open(packed.names["parquet"])
    cut(file, 200)
    with pytest.raises(DecodeError, match="has changed since"):
        dataset.image(0)
    assert dataset.image(3).shape == (24, 30, 3)
    with pytest.raises(InputError, match=r"train-00000-of-00002\.parquet as parquet"):
        datasets.open(packed.names["parquet"])


def test_labels_of_tables(photos, tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra archives")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {
        "whole": ([1.0, float("nan"), None], ["1"], [0, -1, -1]),
        "text": (["b", None, "a"], ["a", "b"], [1, -1, 0]),
        "lists": ([[1], [2], [1, 2]], [], [-1, -1, -1]),
        "bytes": ([b"b", b"a", b"b"], [], [-1, -1, -1]),
    }
    for name, (values, label_names, labels) in columns.items():
        images = pyarrow.array(list(photos.values())[:3])
        table = pyarrow.table({"image": images, "label": pyarrow.array(values)})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
        dataset = datasets.open(f"parquet:{tmp_path}/{name}.parquet")
        assert (dataset.label_names, dataset.labels.tolist()) == (label_names, labels), name


def test_labels_of_saved_datasets(photos, tmp_path):
    hub = pytest.importorskip("datasets", reason="needs the extra archives")
    columns = {
        "text": (["b", None, "a"], ["a", "b"], [1, -1, 0]),
        "number": ([10, 9, 10], ["9", "10"], [1, 0, 1]),
        "lists": ([[1], [2], [1, 2]], [], [-1, -1, -1]),
    }
    for name, (values, label_names, labels) in columns.items():
        cells = [{"bytes": data, "path": None} for data in list(photos.values())[:3]]
        rows = hub.Dataset.from_dict({"image": cells, "label": values})
        rows.cast_column("image", hub.Image()).save_to_disk(tmp_path / name)
        dataset = datasets.open(f"hfdisk:{tmp_path}/{name}")
        assert (dataset.label_names, dataset.labels.tolist()) == (label_names, labels), name


def test_damaged_saved_datasets(packed, tmp_path):
    dataset = datasets.open(packed.names["hfdisk"])
    state, (rows,) = tmp_path / "saved" / "state.json", (tmp_path / "saved").glob("*.arrow")
    state.write_text(state.read_text() + " ")
    with pytest.raises(DecodeError, match=r"state\.json has changed since"):
        dataset.image(0)
    state.unlink()
    with pytest.raises(DecodeError, match="cannot read: No such file"):
        dataset.image(0)
    state.write_text("{}")
    cut(rows, 3000)
    with pytest.raises(InputError, match="cannot load hfdisk:"):
        datasets.open(packed.names["hfdisk"])
    (tmp_path / "splits" / "train").mkdir(parents=True)
    (tmp_path / "splits" / "dataset_dict.json").write_text("{}")
    with pytest.raises(InputError, match="holds the splits train; name one"):
        datasets.open(f"hfdisk:{tmp_path}/splits")


def test_a_damaged_list_is_made_again(packed, own_cache):
    first = datasets.open(packed.names["tar"])
    (listing,) = own_cache.iterdir()
    listing.write_bytes(listing.read_bytes()[:100])
    assert datasets.open(packed.names["tar"]).image_ids == first.image_ids
    assert listing.stat().st_size > 100


LOADED = LoadedModels()
"""One model for all extractions."""
SOURCE = "random:timm:test_vit.r160_in1k@1x"


def extracted(name, store, **changes):
    options = dict(
        dataset=name, models=["random:timm:test_vit.r160_in1k"], scales=["1x"], store=str(store),
        device="cpu", dtype="float32", shard_images=2,
    )  # fmt: skip
    report = extract(ExtractRequest(**(options | changes)), loaded=LOADED)
    return report, feature_store.open(store)


def test_features_are_those_of_the_folder_and_an_archive_that_changed_keeps_its_rows(
    packed, put, tmp_path, capsys
):
    _, expected = extracted(f"folder:{tmp_path}/photos", tmp_path / "folder.zarr")
    place = {image_id: n for n, image_id in enumerate(expected.image_ids.tolist())}
    name, path = packed.names["tar"], tmp_path / "photos.tar"
    _, store = extracted(name, tmp_path / "tar.zarr", limit=4)
    _, store = extracted(name, tmp_path / "tar.zarr")
    rows = [place[image_id] for image_id in store.image_ids.tolist()]
    values = store.features(SOURCE).values
    np.testing.assert_array_equal(values, expected.features(SOURCE).values[rows])
    names = [store.label_names[k] for k in store.labels]
    assert names == [expected.label_names[k] for k in expected.labels[rows]]

    (new, *_) = packed.photos.values()
    put.tar(path, [*packed.photos.items(), ("dog/06.png", new)])  # the same and one more
    report, store = extracted(name, tmp_path / "tar.zarr")
    assert report.computed == 1
    np.testing.assert_array_equal(store.features(SOURCE).values[:6], values)

    paths = list(packed.photos)
    swapped = dict(packed.photos) | {paths[0]: packed.photos[paths[2]], "dog/06.png": new}
    put.tar(path, swapped.items())
    with pytest.raises(InputError, match=f"1 of 7 images .*{paths[0]}.*--redo-changed"):
        extracted(name, tmp_path / "tar.zarr")
    put.tar(path, list(packed.photos.items())[:3])
    with pytest.raises(InputError, match="4 image"):
        extracted(name, tmp_path / "tar.zarr")
    stored = feature_store.open(tmp_path / "tar.zarr")
    np.testing.assert_array_equal(stored.features(SOURCE).values[:6], values)
    assert main(["status", str(tmp_path / "tar.zarr"), "--json"]) == 0


def test_features_of_every_kind_are_those_of_the_folder(packed, tmp_path):
    """In rows of the archive's order: the same set of features, each with its class."""
    _, folder = extracted(f"folder:{tmp_path}/photos", tmp_path / "folder.zarr")

    def by_class(store):
        found = store.features(SOURCE)
        pairs = zip(found.coords["label"].values.tolist(), found.values, strict=True)
        return sorted((label, values.tobytes()) for label, values in pairs)

    for kind, name in packed.names.items():
        _, store = extracted(name, tmp_path / f"{kind}.zarr")
        assert store.image_ids.tolist() == datasets.open(name).image_ids
        assert by_class(store) == by_class(folder), kind


def test_an_archive_that_changes_during_a_run_gives_failed_rows(packed, tmp_path, monkeypatch):
    from workbench.extraction import local

    path = tmp_path / "photos.tar"
    whole, opened = path.read_bytes(), datasets.open

    def opened_then_cut(*args, **kwargs):
        dataset = opened(*args, **kwargs)
        path.write_bytes(whole[:-2000])
        return dataset

    monkeypatch.setattr(local.datasets, "open", opened_then_cut)
    report, _ = extracted(packed.names["tar"], tmp_path / "s.zarr")
    assert set(report.failed) == set(packed.photos)
    assert all(f"{path} has changed since" in why for why in report.failed.values())
    monkeypatch.setattr(local.datasets, "open", opened)
    path.write_bytes(whole)
    report, _ = extracted(packed.names["tar"], tmp_path / "s.zarr", retry_failed=True)
    assert report.failed == {}
