"""folder:DIR: order, ids, labels and refusals."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from feature_store.errors import InputError
from workbench import datasets


def put(root, *paths):
    for n, path in enumerate(paths):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), (n, n, n)).save(target)


def test_class_folders_are_labels_and_order_is_sorted(tmp_path):
    put(tmp_path, "dog/2.PNG", "cat/b/1.jpg", "dog/1.png", "cat/a.jpeg")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"")
    dataset = datasets.open(f"folder:{tmp_path}")
    assert dataset.image_ids == ["cat/a.jpeg", "cat/b/1.jpg", "dog/1.png", "dog/2.PNG"]
    assert dataset.label_names == ["cat", "dog"]
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.labels.dtype == np.int32
    assert dataset.image(2).tolist() == [[[2, 2, 2]] * 3] * 2


def test_flat_folder_is_unlabelled(tmp_path):
    put(tmp_path, "b.png", "a.png")
    dataset = datasets.open(f"folder:{tmp_path}")
    assert dataset.image_ids == ["a.png", "b.png"]
    assert dataset.labels.tolist() == [-1, -1]
    assert dataset.label_names == []


def test_limit_takes_the_first_and_survives_pickling(tmp_path):
    put(tmp_path, "x/a.png", "x/b.png", "y/c.png")
    dataset = pickle.loads(pickle.dumps(datasets.open(f"folder:{tmp_path}", limit=2)))
    assert dataset.image_ids == ["x/a.png", "x/b.png"]
    assert dataset.image(1).shape == (2, 3, 3)
    assert len(datasets.open(f"folder:{tmp_path}", limit=99)) == 3


def test_vanished_file_is_a_decode_error(tmp_path):
    put(tmp_path, "a.png", "b.png")
    dataset = datasets.open(f"folder:{tmp_path}")
    (tmp_path / "a.png").unlink()
    with pytest.raises(datasets.DecodeError, match="cannot read: No such file"):
        dataset.image(0)
    assert dataset.image(1).shape == (2, 3, 3)


def test_pipes_are_no_images_and_dangling_links_are_failed_rows(tmp_path):
    put(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "gone.png")
    dataset = datasets.open(f"folder:{tmp_path}")
    assert dataset.image_ids == ["a.png", "c.png"]
    with pytest.raises(datasets.DecodeError, match="No such file"):
        dataset.image(1)


def test_links_to_themselves_are_failed_rows(tmp_path):
    put(tmp_path, "a.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    dataset = datasets.open(f"folder:{tmp_path}")
    assert dataset.image_ids == ["a.png", "self.png"]
    assert dataset.skipped == {"without extension": 1}
    with pytest.raises(datasets.DecodeError, match="symbolic links"):
        dataset.image(1)


def test_every_readable_format_is_taken_and_the_rest_is_counted(tmp_path):
    image = Image.new("RGB", (16, 16), (255, 0, 0))
    forms = {
        "jpg": "JPEG", "jfif": "JPEG", "jpe": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF",
        "tiff": "TIFF", "bmp": "BMP", "ppm": "PPM", "jp2": "JPEG2000", "j2k": "JPEG2000",
        "ico": "ICO", "tga": "TGA", "avif": "AVIF",
    }  # fmt: skip
    Image.init()
    taken = {end: form for end, form in forms.items() if form in Image.SAVE}
    for end, form in taken.items():
        image.save(tmp_path / f"a.{end}", form)
    for name in ("b.eps", "c.EPS", "d.pdf", "depth.pfm", "e"):
        (tmp_path / name).write_bytes(b"%!PS-Adobe")
    dataset = datasets.open(f"folder:{tmp_path}")
    assert dataset.image_ids == sorted(f"a.{end}" for end in taken)
    for row in range(len(dataset)):
        assert dataset.image(row).shape == (16, 16, 3)
    assert dataset.skipped == {".eps": 2, ".pdf": 1, ".pfm": 1, "without extension": 1}


def test_link_loop_ends(tmp_path):
    put(tmp_path, "x/a.png")
    (tmp_path / "x" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert datasets.open(f"folder:{tmp_path}").image_ids == ["x/a.png"]


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="no folder .*check the path"):
        datasets.open(f"folder:{tmp_path}/missing")
    with pytest.raises(InputError, match="holds no image"):
        datasets.open(f"folder:{tmp_path}")
    file = tmp_path / "a.png"
    put(tmp_path, "a.png")
    with pytest.raises(InputError, match="is a file, not a folder"):
        datasets.open(f"folder:{file}")
    with pytest.raises(InputError, match="give a positive number"):
        datasets.open(f"folder:{tmp_path}", limit=0)


def test_name_that_is_not_unicode_is_refused(tmp_path):
    try:
        with open(os.path.join(os.fsencode(tmp_path), b"bad\xff.png"), "wb"):
            pass
    except OSError:
        pytest.skip("this file system accepts only Unicode names")
    with pytest.raises(InputError, match="not valid UTF-8"):
        datasets.open(f"folder:{tmp_path}")
