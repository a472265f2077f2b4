"""A dataset is recognised by the pixels of its images, not by how its path was typed."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import feature_store
from feature_store import StoreError, protocol
from feature_store.recorded_images import recorded_images
from feature_store.writer import ShardImages
from workbench import datasets
from workbench.cli import main
from workbench.datasets.pictures import reader
from workbench.extraction.same_images import compare, is_at_its_path, require_same_images
from workbench.pictures.photographs import Photographs

SOURCES = ("toy:a#b@8", "toy:b#b@8")
NAMES = ("0.png", "1.png", "2.png", "3.png", "4.png")


def photo(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(NAMES):
        photo(tmp_path / "x" / "photos" / name, seed)
    return tmp_path / "x" / "photos"


def stored(folder, path, *, fingerprints=True):
    """A store of two sources with two images per shard, as an extraction records it."""
    dataset = datasets.open(f"folder:{folder}")
    store = feature_store.create(
        path, dataset=dataset.name, image_ids=dataset.image_ids, shard_images=2,
        dataset_path=os.path.realpath(folder),
    )  # fmt: skip
    for source in SOURCES:
        writer = store.add_source(source, manifest={}, grid=(1, 1), channels=2)
        for shard in writer.missing():
            rows = writer.rows(shard)
            seen = ShardImages(
                fingerprints=[protocol.fingerprint(dataset.image(row)) for row in rows],
                files=[dataset.file(row) for row in rows],
            )
            images = seen if fingerprints else None
            writer.commit(shard, np.ones((len(rows), 1, 1, 2), np.float32), images=images)
    return feature_store.open(path)


def check(store, name, *, redo_changed=False):
    """The lines that were logged, and the store as it is then."""
    lines: list[str] = []
    store = feature_store.open(store.path)
    dataset = datasets.open(name)
    require_same_images(store, dataset, redo_changed=redo_changed, log=lines.append)
    return lines, feature_store.open(store.path)


def nothing_is_looked_at(store, name):
    """Whether a comparison decodes no image."""
    dataset = replace(datasets.open(name), reader=lambda image_id: b"")  # cannot be decoded
    return not any(compare(store, dataset, lambda line: None).seen.values())


def test_the_same_folder_is_known_by_any_path_without_decoding(folder, tmp_path, monkeypatch):
    store = stored(folder, tmp_path / "s")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path / "x")
    for name in (f"folder:{folder}", "folder:photos", "folder:../x/photos/", "folder:../link"):
        assert is_at_its_path(store, name)
        assert nothing_is_looked_at(store, name)
        assert check(store, name)[0] == []


def test_other_images_of_equal_names_are_refused_and_named(folder, tmp_path, monkeypatch):
    store = stored(folder, tmp_path / "s")
    for seed, name in enumerate(NAMES):
        photo(tmp_path / "y" / "photos" / name, seed + 10 * (seed in (1, 3)))
    monkeypatch.chdir(tmp_path / "y")
    with pytest.raises(StoreError, match=r"x/photos.*folder:photos.* 2 of 5 .*\(1.png, 3.png\)"):
        check(store, "folder:photos")
    assert feature_store.open(store.path).attrs == store.attrs


def test_a_moved_folder_is_recognised_and_its_path_recorded(folder, tmp_path):
    store = stored(folder, tmp_path / "s")
    folder.rename(tmp_path / "moved")
    lines, store = check(store, f"folder:{tmp_path / 'moved'}")
    assert any(str(folder) in line for line in lines)
    assert store.dataset_path == str((tmp_path / "moved").resolve())
    assert store.located_dataset == f"folder:{store.dataset_path}"
    assert nothing_is_looked_at(store, f"folder:{tmp_path / 'moved'}")


def test_a_copy_with_other_times_is_compared_once(folder, tmp_path):
    store = stored(folder, tmp_path / "s")
    shutil.copytree(folder, tmp_path / "copy")
    for name in NAMES:
        os.utime(tmp_path / "copy" / name, ns=(1, 1))
    before = [store.source(s).record(0).checksum for s in SOURCES]
    lines, store = check(store, f"folder:{tmp_path / 'copy'}")
    assert any("5" in line for line in lines)
    assert recorded_images(store).files[:, 1].tolist() == [1] * 5
    assert [store.source(s).record(0).checksum for s in SOURCES] == before
    assert nothing_is_looked_at(store, f"folder:{tmp_path / 'copy'}")


def test_a_moved_folder_with_one_other_image_is_refused(folder, tmp_path):
    store = stored(folder, tmp_path / "s")
    folder.rename(tmp_path / "moved")
    photo(tmp_path / "moved" / "4.png", 99)
    with pytest.raises(StoreError, match=r" 1 of 5 .*4\.png"):
        check(store, f"folder:{tmp_path / 'moved'}")


def test_an_image_replaced_in_place_is_named_and_redone_on_request(folder, tmp_path):
    store = stored(folder, tmp_path / "s")
    photo(folder / "3.png", 99)
    os.utime(folder / "0.png", ns=(1, 1))  # the same image: only its time is another
    with pytest.raises(StoreError, match=r"1 of 5 .*\(3\.png\).*--redo-changed"):
        check(store, f"folder:{folder}")
    _, store = check(store, f"folder:{folder}", redo_changed=True)
    assert [store.source(s).missing() for s in SOURCES] == [[1], [1]]


def test_an_image_stored_anew_with_the_same_pixels_is_the_same(folder, tmp_path):
    store = stored(folder, tmp_path / "s")
    Image.open(folder / "2.png").save(folder / "2.png", compress_level=0)
    os.utime(folder / "2.png", ns=(1, 1))
    _, store = check(store, f"folder:{folder}")
    assert recorded_images(store).files[2, 1] == 1


def test_sources_that_saw_different_pixels_are_found(folder, tmp_path):
    store = stored(folder, tmp_path / "s")
    record = store.source(SOURCES[1]).whole_record(0)
    wrong = replace(record, fingerprints=["1" * 16, *record.fingerprints[1:]])
    key = protocol.record_key(store.source(SOURCES[1]).group, 0)
    store.objects.put(key, wrong.to_json())
    with pytest.raises(StoreError, match=r"1 of 5 .*\(0\.png\)"):
        check(store, f"folder:{folder}")
    _, store = check(store, f"folder:{folder}", redo_changed=True)
    assert [store.source(s).missing() for s in SOURCES] == [[], [0]]


def test_a_store_without_fingerprints_knows_its_dataset_by_its_path(folder, tmp_path):
    store = stored(folder, tmp_path / "s", fingerprints=False)
    assert check(store, f"folder:{folder}")[0] == []
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(StoreError, match="pixels"):
        check(store, f"folder:{tmp_path / 'copy'}")


def test_extract_records_and_recognises_images(folder, tmp_path, monkeypatch, capsys):
    for seed, name in enumerate(NAMES):
        photo(tmp_path / "y" / "photos" / name, seed + 10)
    (tmp_path / "x" / "photos" / "3.png").write_bytes(b"no image")

    def extract(*options):
        command = ["extract", "--dataset", "folder:photos", "--store", "../s.zarr"]
        model = ["--model", "random:timm:test_vit.r160_in1k", "--scales", "160"]
        return main([*command, *model, *options])

    monkeypatch.chdir(tmp_path / "x")
    assert extract("--limit", "2") == 0
    assert extract() == 0  # grown
    store = feature_store.open("../s.zarr")
    assert store.dataset_path == str(folder.resolve())
    record = store.source(store.sources()[0]).whole_record(0)
    dataset = datasets.open("folder:photos")
    seen = [protocol.fingerprint(dataset.image(n)) for n in (0, 1, 2, 4)]
    assert record.fingerprints == [*seen[:3], "", seen[3]]
    assert record.files == [dataset.file(n) for n in range(5)]
    monkeypatch.chdir(tmp_path / "y")
    assert extract() == 2
    assert "4 of 4" in capsys.readouterr().err
    folder.rename(tmp_path / "y" / "moved")
    command = ["extract", "--dataset", "folder:moved", "--store", "../s.zarr"]
    assert main([*command, "--model", "random:timm:test_vit.r160_in1k", "--scales", "160"]) == 0
    photo(tmp_path / "y" / "moved" / "0.png", 77)
    model = ["--model", "random:timm:test_vit.r160_in1k", "--scales", "160"]
    assert main([*command, *model]) == 2
    assert "0.png" in capsys.readouterr().err
    assert main([*command, *model, "--redo-changed"]) == 0
    assert main([*command, *model]) == 0
    assert "nothing to do" in capsys.readouterr().err


def test_pictures_are_found_from_another_directory_and_only_if_they_are_the_same(
    folder, tmp_path, monkeypatch
):
    monkeypatch.chdir(folder.parent)
    store = stored("photos", tmp_path / "s")
    monkeypatch.chdir(tmp_path)
    assert store.dataset == "folder:photos"
    photo(folder / "1.png", 99)
    read = reader(store)
    np.testing.assert_array_equal(read(0), np.asarray(Image.open(folder / "0.png")))
    assert read(1) is None
    assert "1.png" in str(Photographs(store)(1, SOURCES[0]))
