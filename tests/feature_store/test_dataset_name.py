"""Dataset names: parsed and back, what they say of image ids and folders, refusals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.dataset_name import (
    FORMS,
    DatasetName,
    base,
    canonical,
    collection,
    is_dataset_name,
    is_on_hub,
    path_of,
    view_name,
)
from feature_store.errors import InputError

WORD = st.text(st.characters(codec="utf-8", exclude_characters=":"), min_size=1, max_size=8)
PATH = st.text(min_size=1, max_size=12)


def named(kind, **parts):
    return st.builds(DatasetName, kind=st.just(kind), **parts)


NAMES = st.recursive(
    named("folder", path=PATH)
    | named("csv", path=PATH)
    | named("wds", path=PATH)
    | named("zip", path=PATH.filter(lambda path: not path.startswith("//")))
    | named("torchvision", name=WORD, split=WORD, path=PATH)
    | named("maps", name=WORD, split=WORD, path=PATH)
    | named("imagenet", name=WORD, path=PATH)
    | named("hf", name=PATH, split=WORD)
    | named("bundled", name=WORD, split=st.sampled_from(["", "train", "test"])),
    lambda below: named("view", view=st.integers(1, 99), of=below),
    max_leaves=3,
)


@given(NAMES)
def test_parse_is_the_inverse_of_str(name):
    assert DatasetName.parse(str(name)) == name
    assert name.kind in FORMS
    assert is_dataset_name(str(name))


@given(NAMES, st.integers(1, 99))
def test_a_view_is_of_its_base(name, number):
    view = DatasetName.parse(view_name(number, str(name)))
    assert (view.kind, view.view, view.of) == ("view", number, name)
    assert view.base == name.base
    assert base(str(view)) == str(name.base)
    assert view.collection == name.collection


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("folder:", "folder"),
        ("csv:", "csv"),
        ("wds:", "wds"),
        ("lmdb:", "lmdb"),
        ("torchvision:CIFAR10:train", "torchvision"),
        ("torchvision:CIFAR10::here", "torchvision"),
        ("maps:ade20k:training", "maps"),
        ("imagenet:v2", "imagenet"),
        ("imagenet:v2:", "imagenet"),
        ("hf:cifar10", "hf"),
        ("hf:cifar10:", "hf"),
        ("view:1", "view"),
        ("view:0:folder:x", "view"),
        ("view:-1:folder:x", "view"),
        ("view:bundled:textiles", "view"),
    ],
)
def test_a_name_that_lacks_a_part_is_refused_with_its_form(text, form):
    with pytest.raises(InputError) as refused:
        DatasetName.parse(text)
    assert repr(text) in str(refused.value)
    assert FORMS[form] in str(refused.value)


def test_an_unknown_kind_is_refused_with_every_form_and_a_guess(tmp_path):
    for text in ("nonsense", "s3:bucket", "", "view:1:nonsense"):
        with pytest.raises(InputError) as refused:
            DatasetName.parse(text)
        assert all(form in str(refused.value) for form in FORMS.values())
    with pytest.raises(InputError, match=r"did you mean folder:x\?"):
        DatasetName.parse("foldr:x")
    with pytest.raises(InputError, match="folder of that name exists: folder:"):
        DatasetName.parse(str(tmp_path))
    (tmp_path / "a.csv").touch()
    with pytest.raises(InputError, match=f"csv:{tmp_path}/a.csv"):
        DatasetName.parse(str(tmp_path / "a.csv"))
    (tmp_path / "a.tar").touch()
    with pytest.raises(InputError, match=f"tar:{tmp_path}/a.tar reads its images"):
        DatasetName.parse(str(tmp_path / "a.tar"))


def test_equal_ids_are_one_image_within_a_collection_only():
    same = [
        ("bundled:textiles:train", "view:2:bundled:textiles:test"),
        ("csv:/data/train.csv", "folder:/data"),
        ("hf:x:train", "hf:x:train"),
        ("imagenet:real:/data", "folder:/data"),
        ("maps:voc:trainval:data", f"maps:voc:val:{os.getcwd()}/data"),
        ("folder:data", f"view:1:folder:{os.getcwd()}/data"),
    ]
    for one, other in same:
        assert collection(one) == collection(other)
    different = [
        ("folder:/data/train", "folder:/data/test"),
        ("hf:x:train", "hf:x:test"),
        ("maps:voc:train:/here", "maps:voc:train:/there"),
    ]
    for one, other in different:
        assert collection(one) != collection(other)


def test_one_folder_has_one_canonical_name(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    name = f"folder:{(tmp_path / 'here').resolve()}"
    assert canonical(f"folder:{tmp_path}/link") == canonical(f"folder:{tmp_path}/x/../here") == name
    assert canonical(f"view:3:folder:{tmp_path}/link") == f"view:3:{name}"
    assert canonical("csv:~/a.csv") == f"csv:{Path.home().resolve()}/a.csv"
    assert canonical("bundled:photos:test") == "bundled:photos:test"


@pytest.mark.parametrize("text", ["", "mine", "s3://bucket/train", "view:x:y", "hf:mine"])
def test_text_that_is_no_dataset_name_is_left_alone(text):
    """A store of another program may record any name."""
    assert base(text) == canonical(text) == collection(text) == text
    assert not is_on_hub(text)


def test_kinds_by_their_first_word():
    assert is_dataset_name("view:1:folder:x")
    assert not is_dataset_name("runs/train.zarr")
    assert not is_dataset_name("folder")
    assert is_dataset_name("zip:photos.zip")
    assert not is_dataset_name("zip:///stores/train.zip")  # a store in an archive
    assert is_on_hub("view:1:hf:me/mine:test")
    assert not is_on_hub("folder:hf")


def test_urls_are_their_own_path():
    name = "wds:s3://bucket/{000..003}.tar"
    assert canonical(name) == name
    assert path_of(name) == "s3://bucket/{000..003}.tar"
    assert collection(name) == "files:s3://bucket/{000..003}.tar"


def test_path_of_a_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = tmp_path.resolve()
    assert path_of("view:1:folder:photos") == str(here / "photos")
    assert path_of("torchvision:CIFAR10:test:data") == str(here / "data")
    assert path_of("bundled:textiles") == path_of("mine") == ""
