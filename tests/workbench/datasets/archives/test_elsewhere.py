"""Shards at URLs, WebDataset's own writer and reader, and what the rest of the program does."""

from __future__ import annotations

import email.utils
import http.server
import os
import threading
import uuid
from pathlib import Path

import fsspec
import numpy as np
import pytest

import feature_store
from feature_store import protocol
from feature_store.errors import InputError
from feature_store.writer import ShardImages
from workbench import datasets
from workbench.datasets.archives import ranges
from workbench.datasets.decode import DecodeError
from workbench.datasets.pictures import reader
from workbench.datasets.registry import skipped_files
from workbench.tables.pipeline.config import _problem


@pytest.fixture
def bucket(monkeypatch):
    """A file system, the name of a fresh bucket there, and the address of its server."""
    moto_server = pytest.importorskip("moto.server", reason="needs moto[server] and s3fs")
    s3fs = pytest.importorskip("s3fs")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    address = "http://{}:{}".format(*server.get_host_and_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"photos-{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name, acl="public-read")
    yield s3fs.S3FileSystem(), name, address
    server.stop()


def test_shards_in_a_bucket_are_those_of_the_disk(bucket, packed, tmp_path, monkeypatch):
    system, name, address = bucket
    monkeypatch.setattr(ranges, "BLOCK", 5000)  # images lie across blocks
    system.put(f"{tmp_path}/shards/", f"{name}/", recursive=True)
    (folder,) = {Path(path).parent for path in system.find(name)}
    here = datasets.open(packed.names["wds"])
    there = datasets.open(f"wds:s3://{folder}/{{0000..0001}}.tar")
    assert there.image_ids == here.image_ids
    assert there.label_names == ["cat", "dog"]
    for row in (0, 5, 2):
        np.testing.assert_array_equal(there.image(row), here.image(row))
    web = datasets.open(f"wds:{address}/{folder}/{{0000..0001}}.tar")
    np.testing.assert_array_equal(web.image(4), here.image(4))
    size, time = there.file(0)
    assert size == here.file(0)[0]
    assert time > 10**18
    ranges._block.cache_clear()
    system.rm(f"{folder}/0000.tar")
    with pytest.raises(DecodeError, match="cannot read"):
        there.image(0)
    with pytest.raises(InputError, match=r"cannot read 's3://.*0000\.tar'"):
        datasets.open(there.name)


@pytest.fixture
def web(tmp_path):
    """Address of a server of the test's folder, and the same without times of change."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self, body=True):
            _, kind, name = self.path.split("/")
            file = tmp_path / name
            data, span = file.read_bytes(), self.headers.get("Range")
            first, last = (span or f"bytes=0-{len(data) - 1}").removeprefix("bytes=").split("-")
            part = data[int(first) : int(last) + 1]
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", len(part))
            if span:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            if kind == "timed":
                time = email.utils.formatdate(file.stat().st_mtime, usegmt=True)
                self.send_header("Last-Modified", time)
            self.end_headers()
            if body:
                self.wfile.write(part)

        def do_HEAD(self):
            self.do_GET(body=False)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_archive_that_changed_on_a_server_is_known_by_its_time_or_else_its_size(
    web, photos, put, tmp_path
):
    pytest.importorskip("aiohttp", reason="needs aiohttp")
    path = put.tar(tmp_path / "a.tar", photos.items())
    os.utime(path, (10**9, 10**9))
    timed, untimed = (datasets.open(f"tar:{web}/{kind}/a.tar") for kind in ("timed", "untimed"))
    assert timed.file(0) == [path.stat().st_size, 10**18]
    assert untimed.file(0) == [path.stat().st_size, 0]
    np.testing.assert_array_equal(timed.image(0), untimed.image(0))
    ranges._block.cache_clear()
    os.utime(path, (10**9 + 1, 10**9 + 1))
    with pytest.raises(DecodeError, match=r"a\.tar has changed since it was listed"):
        timed.image(0)
    path.write_bytes(path.read_bytes() + bytes(512))
    with pytest.raises(DecodeError, match=r"a\.tar has changed since it was listed"):
        untimed.image(0)
    assert datasets.open(untimed.name).file(0) == [path.stat().st_size, 0]


def test_an_address_without_a_driver_is_refused():
    with pytest.raises(InputError, match=r"nosuch://a\.tar.*nosuch"):
        datasets.open("wds:nosuch://a.tar")
    fsspec.filesystem("memory").pipe_file("/a.parquet", b"PAR1")
    with pytest.raises(InputError, match=r"local files, and memory://a\.parquet is a URL.*hf:"):
        datasets.open("parquet:memory://a.parquet")
    with pytest.raises(InputError, match="999999999 files, expected at most 100000"):
        datasets.open("wds:{1..999999999}.tar")


def test_braces_and_stars(packed, tmp_path):
    shards = tmp_path / "shards"
    wanted = datasets.open(packed.names["wds"]).image_ids
    assert datasets.open(f"wds:{shards}/*.tar").image_ids == wanted
    assert datasets.open(f"wds:{shards}/000{{0,1}}.tar").image_ids == wanted
    with pytest.raises(InputError, match="no file matches"):
        datasets.open(f"wds:{shards}/*.nothing")


def test_the_keys_are_those_of_the_library(photos, tmp_path):
    wds = pytest.importorskip("webdataset", reason="needs webdataset")
    path = str(tmp_path / "own.tar")
    keys = ["a", "train/b", "x.y", "train.v2/c"]
    with wds.TarWriter(path) as writer:
        for key, data in zip(keys, photos.values(), strict=False):
            writer.write({"__key__": key, "png": data, "cls": 1, "json": {"label": "dog"}})
    theirs = {s["__key__"]: s for s in wds.WebDataset(path, shardshuffle=False)}
    ours = datasets.open(f"wds:{path}")
    assert ours.image_ids == list(theirs) == ["a", "train/b", "x", "train.v2/c"]
    images = [next(v for k, v in s.items() if k.endswith("png")) for s in theirs.values()]
    assert [ours.read(row) for row in range(4)] == images
    assert ours.label_names == ["dog"]


@pytest.mark.parametrize("kind", ["tar", "zip", "wds", "parquet", "hfdisk", "lmdb"])
def test_galleries_find_the_images_of_a_store_and_know_changed_ones(kind, packed, tmp_path):
    dataset = datasets.open(packed.names[kind])
    store = feature_store.create(
        tmp_path / "s", dataset=dataset.name, image_ids=dataset.image_ids, labels=dataset.labels,
        label_names=dataset.label_names,
    )  # fmt: skip
    seen = [protocol.fingerprint(dataset.image(row)) for row in range(5)] + ["0" * 15 + "1"]
    writer = store.add_source("toy:a#b@8", manifest={}, grid=(1, 1), channels=1)
    files = [dataset.file(row) for row in range(6)]
    images = ShardImages(fingerprints=seen, files=files)
    writer.commit(0, np.zeros((6, 1, 1, 1), np.float32), images=images)
    read = reader(feature_store.open(tmp_path / "s"))
    np.testing.assert_array_equal(read(4), dataset.image(4))
    assert read(5) is None


def test_the_config_of_tables_names_what_is_missing(packed, tmp_path):
    for name in packed.names.values():
        assert _problem(name, "") == ""
    assert _problem(f"zip:{tmp_path}/gone.zip", "") == f"there is no {tmp_path}/gone.zip"
    assert skipped_files(packed.names["wds"]) == {".txt": 6}
