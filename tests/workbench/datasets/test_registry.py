"""Opening by name: unknown names list the valid ones, missing packages are named."""

from __future__ import annotations

import pytest

from feature_store.errors import InputError
from workbench import datasets


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bundled:textile", "did you mean bundled:textiles"),
        ("bundled:", "there are: bundled:textiles"),
        ("bundled:textiles:val", "no split 'val'.*bundled:textiles:train"),
        ("bundled:photos:all", "no split 'all'"),
        ("nonsense", "write one of: folder:DIR, csv:FILE"),
        ("foldr:x", r"did you mean folder:x\?"),
    ],
)
def test_unknown_names_list_the_valid_ones(name, message):
    with pytest.raises(InputError, match=message):
        datasets.open(name)


def test_existing_folder_without_its_prefix_is_recognised(tmp_path):
    with pytest.raises(InputError, match="a folder of that name exists: folder:"):
        datasets.open(str(tmp_path))


@pytest.mark.parametrize("name", ["bundled:textiles", "bundled:photos"])
def test_missing_package_is_named(name, monkeypatch):
    monkeypatch.setattr("workbench.datasets.bundled.photos.find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs the package .*setup.sh bundled"):
        datasets.open(name)
