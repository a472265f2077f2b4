"""csv:FILE: columns, labels, dense maps and refusals."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from feature_store.errors import InputError
from workbench import datasets


@pytest.fixture
def images(tmp_path):
    for n in range(3):
        Image.new("RGB", (3, 2), (n, n, n)).save(tmp_path / f"{n}.png")
    return tmp_path


def table(folder, text, name="t.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return f"csv:{folder / name}"


def test_order_is_the_tables_and_an_empty_label_is_unlabelled(images):
    dataset = datasets.open(table(images, "path,label\n2.png,b\n0.png,\n1.png,a\n"))
    assert dataset.image_ids == ["2.png", "0.png", "1.png"]
    assert dataset.label_names == ["a", "b"]
    assert dataset.labels.tolist() == [1, -1, 0]
    assert dataset.image(0)[0, 0].tolist() == [2, 2, 2]


def test_integer_labels_sort_as_numbers(images):
    dataset = datasets.open(table(images, "label, path\n10,0.png\n9,1.png\n"))
    assert dataset.label_names == ["9", "10"]
    assert dataset.labels.tolist() == [1, 0]


def test_one_label_has_one_spelling(images):
    dataset = datasets.open(table(images, "path,Label \n0.png,a \n1.png, a\n2.png,e\u0301\n"))
    assert dataset.label_names == ["a", "\xe9"]
    assert dataset.labels.tolist() == [0, 0, 1]


def test_rows_that_repeat_a_path_are_one_image(images):
    text = "path,label,question\n0.png,a,what?\n1.png,b,where?\n./0.png,a,who?\n.//1.png,b,\n"
    dataset = datasets.open(table(images, text))
    assert dataset.image_ids == ["0.png", "1.png"]
    assert dataset.labels.tolist() == [0, 1]


def test_pipe_as_table_image_or_map_is_refused_at_once(images):
    os.mkfifo(images / "pipe.png")
    (images / "zero.png").symlink_to("/dev/zero")
    dataset = datasets.open(table(images, "path,mask\npipe.png,pipe.png\nzero.png,zero.png\n"))
    for row, kind in enumerate(("a pipe", "a device")):
        with pytest.raises(datasets.DecodeError, match=kind):
            dataset.image(row)
        with pytest.raises(datasets.DecodeError, match=kind):
            dataset.mask(row)
    with pytest.raises(InputError, match="a pipe"):
        datasets.open(f"csv:{images}/pipe.png")


def test_mask_and_depth_columns(images):
    mask = Image.fromarray(np.array([[0, 1, 255], [2, 2, 2]], np.uint8))
    mask.save(images / "m.png")
    np.save(images / "d.npy", np.array([[0.0, 1.5, np.inf], [2, 2, 2]]))
    dataset = datasets.open(table(images, "path,mask,depth\n0.png,m.png,d.npy\n"))
    assert dataset.mask(0).tolist() == [[0, 1, -1], [2, 2, 2]]
    depth = dataset.depth(0)
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, [[np.nan, 1.5, np.nan], [2, 2, 2]])


def test_a_palette_image_holds_classes_and_not_colours(images):
    mask = Image.fromarray(np.array([[0, 1, 255], [2, 2, 2]], np.uint8)).convert("P")
    mask.putpalette([(7 * k) % 256 for k in range(768)])
    mask.save(images / "m.png")
    dataset = datasets.open(table(images, "path,mask\n0.png,m.png\n"))
    assert dataset.mask(0).tolist() == [[0, 1, -1], [2, 2, 2]]


@pytest.mark.parametrize(("sides", "fits"), [((30, 20), True), ((7, 5), True), ((20, 30), False)])
def test_a_map_has_the_shape_of_its_image(images, sides, fits):
    Image.new("RGB", (90, 60)).save(images / "0.png")
    Image.new("L", sides).save(images / "m.png")
    dataset = datasets.open(table(images, "path,mask\n0.png,m.png\n"))
    if fits:
        assert dataset.mask(0).shape == sides[::-1]
    else:
        with pytest.raises(InputError, match="20 x 30 pixels, its image 90 x 60"):
            dataset.mask(0)


def test_a_photograph_on_its_side_may_have_an_upright_map(images):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (90, 60)).save(images / "0.jpg", exif=exif)
    Image.new("L", (60, 90)).save(images / "m.png")
    assert datasets.open(table(images, "path,mask\n0.jpg,m.png\n")).mask(0).shape == (90, 60)


def test_dataset_without_maps_says_where_there_are_some(images):
    dataset = datasets.open(table(images, "path\n0.png\n"))
    with pytest.raises(InputError, match="has no masks; use bundled:scenes"):
        dataset.mask(0)
    with pytest.raises(InputError, match="has no depth"):
        dataset.depth(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n0.png,a\n", "must name a column 'path'"),
        ("", "must name a column 'path'"),
        ("path,label\n", "lists no image"),
        ("path,label\n0.png,a\n,b\n", "row 2 has no path"),
        ("path\nno/0.png\nno/1.png\n", "none of its first 2 images exist"),
        ("path,label\n0.png,a\n0.png,b\n", "rows 1 and 2 .*'0.png'.*label .'a' and 'b'"),
        ("path,label\n0.png,a\n./0.png,\n", "rows 1 and 2 .*'0.png'.*label .'a' and ''"),
        ("path,mask\n0.png,m.png\n0.png,n.png\n", "mask .'m.png' and 'n.png'"),
        *(
            (f"path,label\n0.png,a\n1.png,{label}\n", f"row 2 has the label '{label}'")
            for label in ("NaN", "nan", "None", "null", "NA", "N/A", "<NA>")
        ),
        ("path,label\n0.png,1\n1.png,01\n", "'01' and '1' are one number"),
        ("path,label\n0.png,1\n1.png,1.0\n", "'1' and '1.0' are one number"),
        ("path,label,label\n0.png,a,b\n", "2 columns 'label'"),
        ("path,label,Label\n0.png,a,b\n", "2 columns 'label'"),
        ('path,label\n0.png,"a\n1.png,b\n', "cannot read"),
        ('path,label\n0.png,"a\n1.png,b\n2.png,"\n', "row 1 .*line break"),
        ("path,label\n0.png,a\n1.png\n", "row 2 has 1 cells, expected 2"),
        ("path,label\n0.png,a,b\n", "row 1 has 3 cells, expected 2"),
    ],
)
def test_refusals(images, text, message):
    with pytest.raises(InputError, match=message):
        datasets.open(table(images, text))


def test_missing_table_and_folder_in_its_place(tmp_path):
    with pytest.raises(InputError, match="no table"):
        datasets.open(f"csv:{tmp_path}/none.csv")
    with pytest.raises(InputError, match="is a folder"):
        datasets.open(f"csv:{tmp_path}")
    (tmp_path / "b.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(InputError, match="UTF-8"):
        datasets.open(f"csv:{tmp_path}/b.csv")
