"""The same small photographs in a folder and in every kind of archive."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

CLASSES = ("cat", "dog")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Listings of archives go into the test's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "s2-workbench" / "archives"


@pytest.fixture
def photos(tmp_path):
    """Path below ``photos/`` to encoded image: two classes, three images each."""
    rng = np.random.default_rng(0)
    found = {}
    for n in range(6):
        path = f"{CLASSES[n % 2]}/{n:02d}.{'png' if n < 3 else 'jpg'}"
        file = tmp_path / "photos" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 30, 3), np.uint8)).save(file)
        found[path] = file.read_bytes()
    return found


def put_tar(path, members):
    """Write members (name, bytes) in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def put_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


@pytest.fixture
def put():
    """Writers of archives: tar and zip take (name, bytes) pairs, lmdb (key, value) pairs."""
    return SimpleNamespace(tar=put_tar, zip=put_zip, lmdb=put_lmdb)


@pytest.fixture
def packed(tmp_path, photos):
    """Dataset names of the photographs by kind, and the id of each photograph there."""
    return SimpleNamespace(
        names={
            "tar": f"tar:{put_tar(tmp_path / 'photos.tar', photos.items())}",
            "nested": f"tar:{_nested(tmp_path, photos)}",
            "zip": f"zip:{put_zip(tmp_path / 'photos.zip', photos.items())}",
            "wds": f"wds:{_shards(tmp_path, photos)}",
            "parquet": f"parquet:{_parquet(tmp_path, photos)}",
            "hfdisk": f"hfdisk:{_saved(tmp_path, photos)}",
            "lmdb": f"lmdb:{_lmdb(tmp_path, photos)}",
        },
        photos=photos,
    )


def _nested(folder, photos):
    inner = []
    for name in CLASSES:
        members = [(p.partition("/")[2], data) for p, data in photos.items() if p.startswith(name)]
        inner.append((f"{name}.tar", put_tar(folder / f"{name}.tar", members).read_bytes()))
    return put_tar(folder / "nested.tar", inner)


def _shards(folder, photos):
    for number in range(2):
        members = []
        for path, data in list(photos.items())[number::2]:
            key, _, extension = path.partition("/")[2].partition(".")
            members.append((f"{key}.{extension}", data))
            members.append((f"{key}.cls", str(CLASSES.index(path.partition("/")[0])).encode()))
            label = {"label": 7, "class_name": path.partition("/")[0]}
            members.append((f"{key}.json", json.dumps(label).encode()))
            members.append((f"{key}.txt", b"a caption"))
        put_tar(folder / "shards" / f"{number:04d}.tar", members)
    return folder / "shards" / "{0000..0001}.tar"


def hub_rows(photos):
    datasets = pytest.importorskip("datasets", reason="needs the extra archives")
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    cells = [{"bytes": data, "path": path} for path, data in photos.items()]
    labels = [CLASSES.index(path.partition("/")[0]) for path in photos]
    rows = datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)
    return rows.cast_column("image", datasets.Image())


def _parquet(folder, photos):
    rows = hub_rows(photos)
    for number in range(2):
        part = rows.select(range(number * 3, number * 3 + 3))
        part.to_parquet(folder / f"train-{number:05d}-of-00002.parquet", batch_size=2)
    return folder / "train-*.parquet"


def _saved(folder, photos):
    hub_rows(photos).save_to_disk(folder / "saved")
    return folder / "saved"


def put_lmdb(folder, items):
    lmdb = pytest.importorskip("lmdb", reason="needs the extra archives")
    with lmdb.open(str(folder), map_size=1 << 24) as database, database.begin(write=True) as made:
        for key, value in items:
            made.put(key, value)
    return folder


def _lmdb(folder, photos):
    items = [(path.encode(), data) for path, data in photos.items()]
    return put_lmdb(folder / "photos.lmdb", [*items, (b"__len__", b"6")])
