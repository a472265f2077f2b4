"""Tiny trees in the published layouts: ids, classes and metres, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from feature_store import InputError
from workbench import datasets
from workbench.heads.config import CropConfig
from workbench.heads.crops import MappedImages


def save(path, values, mode=None):
    """An image file, its folders made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values))
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    image.save(path)


def photo(path, size=(4, 6)):
    save(path, np.full((*size, 3), 90, np.uint8))


@pytest.fixture
def ade(tmp_path):
    for split, name in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        photo(tmp_path / f"images/{split}/{name}.jpg")
        values = np.zeros((4, 6), np.uint8)
        values[0] = [0, 1, 2, 3, 149, 150]
        save(tmp_path / f"annotations/{split}/{name}.png", values)
    return tmp_path


def test_ade20k_has_150_classes_and_ignores_zero(ade):
    dataset = datasets.open(f"maps:ade20k:training:{ade}")
    assert dataset.image_ids == ["images/training/ADE_train_00000001.jpg"]
    assert dataset.mask(0)[0].tolist() == [-1, 0, 1, 2, 148, 149]
    assert dataset.mask_names[:2] == ["1", "2"]
    assert dataset.image(0).shape == (4, 6, 3)
    assert dataset.file(0)[0] == (ade / dataset.image_ids[0]).stat().st_size
    lines = ["Idx\tRatio\tTrain\tVal\tName"]
    lines += [f"{k}\t0.1\t1\t1\tclass {k}, other word" for k in range(1, 151)]
    (ade / "objectInfo150.txt").write_text("\n".join(lines))
    assert datasets.open(f"maps:ade20k:validation:{ade}").mask_names[149] == "class 150"
    (ade / "objectInfo150.txt").write_text("\n".join(lines[:100]))
    with pytest.raises(InputError, match="lists 99 classes, expected 150"):
        datasets.open(f"maps:ade20k:validation:{ade}")


def test_numbers_that_are_no_class_are_refused_with_the_file(ade):
    name = "annotations/training/ADE_train_00000001.png"
    save(ade / name, np.full((4, 6), 151, np.uint8))
    dataset = datasets.open(f"maps:ade20k:training:{ade}")
    with pytest.raises(InputError, match=f"{name}.* it holds 151; ADE20k has 1 to 150"):
        dataset.mask(0)


def test_cityscapes_keeps_the_evaluated_classes(tmp_path):
    stem = "aachen/aachen_000000_000019"
    photo(tmp_path / f"leftImg8bit/val/{stem}_leftImg8bit.png")
    values = np.full((4, 6), 255, np.uint8)
    values[0] = [7, 8, 33, 0, 29, 11]
    save(tmp_path / f"gtFine/val/{stem}_gtFine_labelIds.png", values)
    dataset = datasets.open(f"maps:cityscapes:val:{tmp_path}")
    assert dataset.mask(0)[0].tolist() == [0, 1, 18, -1, -1, 2]
    assert (dataset.mask(0)[1:] == -1).all()
    assert (len(dataset.mask_names), dataset.mask_names[18]) == (19, "bicycle")


def test_voc_keeps_palette_numbers_and_ignores_borders(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("2007_000032", "2007_000039"):
        photo(root / f"JPEGImages/{name}.jpg", (2, 3))
        save(root / f"SegmentationClass/{name}.png", np.uint8([[0, 1, 255], [20, 20, 0]]), "P")
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("2007_000039\n")
    for place in (tmp_path, root):
        dataset = datasets.open(f"maps:voc:train:{place}")
        assert dataset.image_ids == ["JPEGImages/2007_000039.jpg"]
        assert dataset.mask(0).tolist() == [[0, 1, -1], [20, 20, 0]]
    with pytest.raises(InputError, match=r"no .*val.txt"):
        datasets.open(f"maps:voc:val:{tmp_path}")


def test_nyuv2_in_files_is_millimetres(tmp_path):
    photo(tmp_path / "images/test/bathroom_1.jpg")
    depth = np.full((4, 6), 2500, np.uint16)
    depth[0, 0] = 0
    save(tmp_path / "annotations/test/bathroom_1.png", depth)
    dataset = datasets.open(f"maps:nyuv2:test:{tmp_path}")
    assert np.isnan(dataset.depth(0)[0, 0])
    assert dataset.depth(0)[1, 1] == 2.5
    assert MappedImages(dataset, "depth", CropConfig()).pair(0)[1][3, 5] == 2.5
    save(tmp_path / "annotations/test/bathroom_1.png", np.full((4, 6), 3, np.uint16))
    with pytest.raises(InputError, match=r"largest value is 3, .* 0.003 m; NYUv2 stores 1000"):
        dataset.depth(0)


@pytest.fixture
def labelled(tmp_path):
    """The published MATLAB file, with three images of 4 x 6."""
    h5py = pytest.importorskip("h5py", reason="install the extra: archives")
    scipy_io = pytest.importorskip("scipy.io")
    image = np.arange(3 * 3 * 6 * 4).reshape(3, 3, 6, 4).astype(np.uint8)
    depth = np.arange(3 * 6 * 4).reshape(3, 6, 4).astype(np.float32) / 10
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"], file["rawDepths"] = image, depth
    splits = {"trainNdxs": [[1], [3]], "testNdxs": [[2]]}
    scipy_io.savemat(tmp_path / "splits.mat", splits)
    return tmp_path, image, depth


def test_nyuv2_in_one_file_follows_the_official_split(labelled):
    root, image, depth = labelled
    train, test = (datasets.open(f"maps:nyuv2:{split}:{root}") for split in ("train", "test"))
    assert (train.image_ids, test.image_ids) == (["0001", "0003"], ["0002"])
    np.testing.assert_array_equal(train.image(1), image[2].transpose(2, 1, 0))
    np.testing.assert_array_equal(test.depth(0), depth[1].T)
    assert np.isnan(train.depth(0)[0, 0])
    photo(root / "images/test/bathroom_1.jpg")
    with pytest.raises(InputError, match="two versions of NYUv2"):
        datasets.open(f"maps:nyuv2:test:{root}")
    (root / "images/test/bathroom_1.jpg").unlink()
    (root / "images/test").rmdir()
    (root / "splits.mat").unlink()
    with pytest.raises(InputError, match="cannot read the official split"):
        datasets.open(f"maps:nyuv2:test:{root}")


def test_nyuv2_in_one_file_is_metres(labelled):
    h5py = pytest.importorskip("h5py")
    root, _, depth = labelled
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "a") as file:
        file["rawDepths"][...] = 1000 * depth
    with pytest.raises(InputError, match="largest depth is 4700; NYUv2 stores metres"):
        datasets.open(f"maps:nyuv2:test:{root}").depth(0)


@pytest.fixture
def kitti(tmp_path):
    image = "2011_09_26/2011_09_26_drive_0002_sync/image_02/data/00000000{}.png"
    depth = "2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/00000000{}.png"
    photo(tmp_path / "input" / image.format(69))
    save(tmp_path / "gt_depth" / depth.format(69), np.full((4, 6), 20 * 256, np.uint16))
    photo(tmp_path / image.format(54))
    value = np.full((4, 6), 0, np.uint16)
    value[3, 5] = 80 * 256
    save(tmp_path / "data_depth_annotated/val" / depth.format(54), value)
    lines = [f"{image.format(n)} {depth.format(n)} 721.5" for n in (69, 54)]
    lines.append(f"{image.format(33)} None 721.5")
    (tmp_path / "eigen_test_files_with_gt.txt").write_text("\n".join(lines))
    return tmp_path


def test_kitti_reads_eigens_split_in_metres(kitti):
    dataset = datasets.open(f"maps:kitti:test:{kitti}")
    assert [name.rpartition("/")[2] for name in dataset.image_ids] == [
        "0000000069.png", "0000000054.png",
    ]  # fmt: skip
    assert dataset.skipped == {"without a map": 1}
    assert (dataset.depth(0) == 20).all()
    assert dataset.depth(1)[3, 5] == 80
    assert np.isnan(dataset.depth(1)[:3]).all()
    for n, value in (
        (20, "largest value is 20, "),
        (60_000, "largest value is 60000, .*234.375 m"),
    ):
        path = next((kitti / "gt_depth").rglob("*.png"))
        save(path, np.full((4, 6), n, np.uint16))  # metres; millimetres
        with pytest.raises(InputError, match=value):
            dataset.depth(0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maps:ade:training:{}", "no dataset 'ade' .* ade20k, cityscapes, voc, nyuv2, kitti"),
        ("maps:ade20k:train:{}", "no split 'train' of ade20k; choose training, validation"),
        ("maps:ade20k:training:{}/nowhere", "no folder"),
        ("maps:cityscapes:train:{}", "no _leftImg8bit.png files .* leftImg8bit/SPLIT/CITY"),
        ("maps:kitti:train:{}", "no .*eigen_train_files_with_gt.txt"),
    ],
)
def test_what_does_not_lie_as_published_is_refused(ade, name, message):
    with pytest.raises(InputError, match=message):
        datasets.open(name.format(ade))


def test_missing_maps_are_counted(ade):
    (ade / "annotations/training/ADE_train_00000001.png").unlink()
    with pytest.raises(InputError, match="1 of 1 maps are missing"):
        datasets.open(f"maps:ade20k:training:{ade}")
