"""torchvision:... and hf:...: what is on disk is read, what is not is refused with the remedy."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from PIL import Image

from feature_store.errors import InputError
from workbench import datasets
from workbench.datasets.decode import DecodeError


def test_torchvision_folder_dataset(tmp_path):
    for n, label in enumerate(("b", "a", "a")):
        folder = tmp_path / "country211" / "test" / label
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), (n, n, n)).save(folder / f"{n}.png")
    dataset = datasets.open(f"torchvision:Country211:test:{tmp_path}")
    assert dataset.image_ids == ["00000000", "00000001", "00000002"]
    assert dataset.labels.tolist() == [0, 0, 1]
    assert dataset.label_names == ["a", "b"]
    assert dataset.image(2)[0, 0].tolist() == [0, 0, 0]


def test_what_the_library_cannot_decode_is_a_failed_image(tmp_path):
    folder = tmp_path / "country211" / "test" / "a"
    folder.mkdir(parents=True)
    Image.new("RGB", (300, 200)).save(folder / "0.png")
    whole = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(whole[:60])
    dataset = datasets.open(f"torchvision:Country211:test:{tmp_path}")
    with pytest.raises(DecodeError, match="PNG ends after 60 bytes"):
        dataset.image(0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:CIFAR10:train", "write torchvision:NAME:SPLIT:ROOT"),
        ("torchvision:CIFAR:train:.", "known: CIFAR10"),
        ("torchvision:CIFAR10:val:.", "no split 'val'.*train, test"),
        ("torchvision:CIFAR10:train:nowhere", "nothing is fetched"),
        ("torchvision:DTD:other:nowhere", "train.*val.*test"),
        ("hf:cifar10", "write hf:NAME:SPLIT"),
    ],
)
def test_refusals(name, message):
    with pytest.raises(InputError, match=message):
        datasets.open(name)


def test_hub_without_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="needs the library 'datasets'.*setup.sh archives"):
        datasets.open("hf:cifar10:test")


class Rows(list):
    """The few methods of a hub dataset that are used."""

    features: dict

    def __getitem__(self, key):
        return [row[key] for row in self] if isinstance(key, str) else super().__getitem__(key)

    def cast_column(self, column, kind):
        return self


def fake_hub(monkeypatch, png, error=None):
    class ImageKind:
        def __init__(self, decode=True): ...

    class ClassLabelKind:
        names = ("cat", "dog")

    ImageKind.__name__, ClassLabelKind.__name__ = "Image", "ClassLabel"
    rows = Rows([{"img": {"bytes": png, "path": None}, "y": y} for y in (1, 0, None)])
    rows.features = {"img": ImageKind(), "y": ClassLabelKind()}

    def load_dataset(name, split):
        if error:
            raise error
        return rows

    module = types.SimpleNamespace(load_dataset=load_dataset, Image=ImageKind)
    monkeypatch.setitem(sys.modules, "datasets", module)
    return rows


def test_hub_reads_bytes_and_labels(monkeypatch, tmp_path):
    Image.new("L", (3, 2), 9).save(tmp_path / "a.png")
    fake_hub(monkeypatch, (tmp_path / "a.png").read_bytes())
    dataset = datasets.open("hf:owner/animals:test")
    assert dataset.labels.tolist() == [1, 0, -1]
    assert dataset.label_names == ["cat", "dog"]
    np.testing.assert_array_equal(dataset.image(0), np.full((2, 3, 3), 9))


def test_hub_failures_are_one_line(monkeypatch):
    fake_hub(monkeypatch, b"", error=ConnectionError("no\nnetwork"))
    with pytest.raises(InputError, match="cannot load hf:a:test: ConnectionError: no network"):
        datasets.open("hf:a:test")
    rows = fake_hub(monkeypatch, b"")
    rows.features = {"text": object()}
    with pytest.raises(InputError, match="no image column"):
        datasets.open("hf:a:test")
