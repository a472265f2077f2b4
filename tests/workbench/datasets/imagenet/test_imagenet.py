"""Tiny trees in the published layouts: images, classes, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from feature_store import InputError
from workbench import datasets
from workbench.datasets.imagenet.classes import real_labels, synsets, synsets_of
from workbench.datasets.imagenet.layouts import LEFT_OUT

TENCH, GOLDFISH, WHITE_SHARK = synsets()[:3]


def photo(path, values=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), 90, np.uint8) if values is None else values).save(path)


def classes(dataset):
    """Image id to class name."""
    names = [dataset.label_names[label] for label in dataset.labels]
    return dict(zip(dataset.image_ids, names, strict=True))


def test_folders_of_v2_are_numbers_and_not_places_in_a_sorted_list(tmp_path):
    for folder in ("0", "2", "10", "999"):
        photo(tmp_path / folder / "a.jpeg")
    dataset = datasets.open(f"imagenet:v2:{tmp_path}")
    expected = {f"{n}/a.jpeg": synsets()[n] for n in (0, 10, 2, 999)}
    assert classes(dataset) == expected
    assert (len(dataset.label_names), dataset.label_names[0]) == (1000, TENCH)
    assert dataset.image(0).shape == (4, 6, 3)
    photo(tmp_path / GOLDFISH / "a.jpeg")
    with pytest.raises(InputError, match=f"{GOLDFISH!r}.*folders 0 to 999"):
        datasets.open(f"imagenet:v2:{tmp_path}")


@pytest.mark.parametrize(("which", "other"), [("r", "n07720875"), ("a", "n01770081")])
def test_r_and_a_name_200_classes_whichever_folders_are_there(tmp_path, which, other):
    names = synsets_of(which)
    assert list(names) == sorted(names, key=synsets().index)
    photo(tmp_path / names[7] / "art_0.jpg")
    (tmp_path / "README.txt").write_text("about")
    dataset = datasets.open(f"imagenet:{which}:{tmp_path}")
    assert classes(dataset) == {f"{names[7]}/art_0.jpg": names[7]}
    assert dataset.label_names == list(names)
    assert len(names) == 200
    photo(tmp_path / TENCH / "0.jpg")
    with pytest.raises(InputError, match=f"{TENCH}.*200 folders of ImageNet-{which.upper()}"):
        datasets.open(f"imagenet:{which}:{tmp_path}")


@pytest.mark.parametrize("folders", ["", "val/", f"val/{GOLDFISH}/"])
def test_real_has_several_labels_for_an_image_and_leaves_out_those_without(tmp_path, folders):
    for number in (1, 2, 4):
        photo(tmp_path / folders / f"ILSVRC2012_val_{number:08d}.JPEG")
    (tmp_path / "real.json").write_text("[[0], [2, 1], [0], []]")
    dataset = datasets.open(f"imagenet:real:{tmp_path}")
    found = {image_id[-7:-5]: name for image_id, name in classes(dataset).items()}
    assert found == {"01": TENCH, "02": f"{GOLDFISH}|{WHITE_SHARK}"}
    assert dataset.label_names[:1000] == list(synsets())
    assert dataset.skipped[LEFT_OUT] == 1


def test_labels_of_real_are_those_published():
    labels = real_labels()
    assert labels[:5] == [[], [970, 795], [230, 231], [809], [516, 850]]
    assert (len(labels), sum(map(bool, labels))) == (50_000, 46_837)


def test_images_of_real_without_a_number_or_label_are_refused(tmp_path):
    name = f"imagenet:real:{tmp_path}"
    photo(tmp_path / "ILSVRC2012_val_00000002.JPEG")
    labels = tmp_path / "real.json"
    for text, message in (
        ("[[1]]", "labels for 1 validation images; .* number 2"),
        ("[[1], [-1]]", "class numbers 0 to 999.*found -1"),
        ("[[1], [1000]]", "class numbers 0 to 999"),
        ("[1, 2]", "class numbers 0 to 999"),
        ("{", "class numbers 0 to 999"),
        ("[[], []]", "no label for any image in "),
    ):
        labels.write_text(text)
        with pytest.raises(InputError, match=message):
            datasets.open(name)
    photo(tmp_path / TENCH / "ILSVRC2012_val_00000002.JPEG")
    with pytest.raises(InputError, match="a second time"):
        datasets.open(name)
    photo(tmp_path / "0.jpg")
    with pytest.raises(InputError, match="'0.jpg', which is not a validation image"):
        datasets.open(name)


def test_more_images_than_published_labels_are_refused(tmp_path):
    photo(tmp_path / "ILSVRC2012_val_00050001.JPEG")
    with pytest.raises(InputError, match="labels for 50,000 validation images; .* number 50001"):
        datasets.open(f"imagenet:real:{tmp_path}")


@pytest.fixture
def objectnet(tmp_path):
    """Three folders: one class of ImageNet, two classes, none; texts stand on other lines."""
    grey = np.full((6, 8, 3), 90, np.uint8)
    grey[:2] = grey[-2:] = grey[:, :2] = grey[:, -2:] = (255, 0, 0)
    for folder in ("chair", "mug_cup", "vase"):
        photo(tmp_path / f"images/{folder}/{folder}.png", grey)
    lines = {number: (number * 7 + 3) % 1000 for number in range(1000)}
    texts = {line: f"text, of {number}" for number, line in lines.items()}
    mappings = {
        "folder_to_objectnet_label.json": {"vase": "Vase", "chair": "Chair", "mug_cup": "Mug/Cup"},
        "objectnet_to_imagenet_1k.json": {
            "Chair": "text, of 765; text, of 423", "Vase": "text, of 883"
        },
        "pytorch_to_imagenet_2012_id.json": {str(k): line for k, line in lines.items()},
    }  # fmt: skip
    (tmp_path / "mappings").mkdir()
    for name, values in mappings.items():
        (tmp_path / "mappings" / name).write_text(json.dumps(values))
    listed = "\n".join(texts[line] for line in range(1000))
    (tmp_path / "mappings/imagenet_to_label_2012_v2").write_text(listed + "\n")
    return tmp_path


def test_objectnet_keeps_folders_with_classes_and_cuts_the_border(objectnet):
    dataset = datasets.open(f"imagenet:objectnet:{objectnet}")
    chair = f"{synsets()[423]}|{synsets()[765]}"
    assert classes(dataset) == {"chair/chair.png": chair, "vase/vase.png": synsets()[883]}
    assert dataset.label_names == [chair, synsets()[883]]
    assert dataset.skipped == {LEFT_OUT: 1}
    assert dataset.image(0).tolist() == np.full((2, 4, 3), 90).tolist()
    assert dataset.file(0)[0] == (objectnet / "images/chair/chair.png").stat().st_size


def test_mappings_of_objectnet_that_are_not_as_published_are_refused(objectnet):
    name, mappings = f"imagenet:objectnet:{objectnet}", objectnet / "mappings"

    def refused(file, values, message):
        path = mappings / file
        before = path.read_text()
        path.write_text(values)
        with pytest.raises(InputError, match=message):
            datasets.open(name)
        path.write_text(before)

    to_classes = "objectnet_to_imagenet_1k.json"
    refused(to_classes, '{"Chair": "throne"}', "'Chair' stands for 'throne'")
    refused(to_classes, '{"Sofa": "text, of 1"}', "no folder has the label 'Sofa'")
    refused("pytorch_to_imagenet_2012_id.json", '{"0": 1}', "1000 texts for 1 class numbers")
    refused("imagenet_to_label_2012_v2", "a\nb\n", "2 texts for 1000 class numbers")
    refused("folder_to_objectnet_label.json", '{"chair": "Chair", "v": "Vase"}', "'mug_cup', 'vas")
    refused("folder_to_objectnet_label.json", "[]", "is not a dict")
    (mappings / to_classes).unlink()
    with pytest.raises(InputError, match=f"cannot read .*{to_classes}.*images/ and mappings/"):
        datasets.open(name)


def test_unknown_test_sets_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="no test set 'sketch'.*real, v2, r, a, objectnet"):
        datasets.open(f"imagenet:sketch:{tmp_path}")
    for name in ("real", "v2", "r", "a"):
        with pytest.raises(InputError, match="no folder '.*gone'"):
            datasets.open(f"imagenet:{name}:{tmp_path}/gone")
