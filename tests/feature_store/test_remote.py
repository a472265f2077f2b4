"""The same protocol on an S3-compatible server that runs on this machine."""

from __future__ import annotations

import uuid

import numpy as np
import pytest

import feature_store
from feature_store import objects, protocol
from feature_store.claims import Claim
from feature_store.errors import StoreError
from feature_store.verify import verify, withdraw

moto_server = pytest.importorskip("moto.server", reason="needs moto[server] and s3fs")
s3fs = pytest.importorskip("s3fs")

RNG = np.random.default_rng(0)
TOKENS = RNG.standard_normal((5, 2, 2, 3)).astype(np.float32)
SOURCE = "toy:a#blocks@224"


@pytest.fixture
def url(monkeypatch):
    """URL of a fresh bucket."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"features-{uuid.uuid4().hex}"
    s3fs.S3FileSystem(endpoint_url=f"http://127.0.0.1:{port}").mkdir(bucket)
    yield f"s3://{bucket}/train.zarr"
    server.stop()


@pytest.mark.parametrize("layout", ["raw", "packed"])
def test_write_read_verify_repair(url, layout):
    store = feature_store.create(url, dataset="d", image_ids=list("abcde"), shard_images=2)
    plan = dict(manifest={}, grid=(2, 2), channels=3, dtype="float32", layout=layout)
    writer = store.add_source(SOURCE, **plan)
    for shard in (0, 2):
        writer.commit(shard, TOKENS[2 * shard : 2 * shard + 2])
    with pytest.raises(StoreError, match="1 of 3 shards"):
        feature_store.open(url).features(SOURCE)
    writer.commit(1, TOKENS[2:4])
    again = feature_store.open(url)
    np.testing.assert_array_equal(again.features(SOURCE).values, TOKENS)
    assert verify(feature_store.open(url)).problems == []
    key = protocol.shard_key(again.source(SOURCE).group, "tokens", 1, 4)
    again.objects.put(key, bytes(len(again.objects.get(key))))
    problems = verify(feature_store.open(url)).problems
    assert [(p.shard, p.kind) for p in problems] == [(1, "damaged")]
    withdraw(again, problems)
    assert feature_store.open(url).add_source(SOURCE, **plan).missing() == [1]


def test_records_are_read_side_by_side(url, monkeypatch):
    monkeypatch.setattr(objects, "REQUESTS", 2)
    store = feature_store.create(url, dataset="d", image_ids=list("abcde"), shard_images=1)
    plan = dict(manifest={}, grid=(2, 2), channels=3, dtype="float32")
    writer = store.add_source(SOURCE, **plan)
    for shard in range(5):
        writer.commit(shard, TOKENS[shard : shard + 1])
    group = writer.stored.group
    store.objects.put(protocol.record_key(group, 2), b"{}")
    store.objects.delete(protocol.record_key(group, 4))
    asked = []
    plain = type(store.objects).get
    monkeypatch.setattr(
        type(store.objects), "get", lambda self, key: asked.append(key) or plain(self, key)
    )
    again = feature_store.open(url)
    assert again.source(SOURCE).missing() == [2, 4]
    assert [r.shard for r in again.source(SOURCE).committed_records()] == [0, 1, 3]
    assert not [key for key in asked if protocol.COMMITS in key]  # none of them one by one


def test_claims(url):
    store = feature_store.create(url, dataset="d", image_ids=["a"])
    with Claim(store.objects, "k") as first, Claim(store.objects, "k") as second:
        assert first.held
        assert not second.held
    assert store.objects.get("k") is None


def test_a_claim_is_won_once_even_if_both_looked_before(url, monkeypatch):
    objects = feature_store.create(url, dataset="d", image_ids=["a"]).objects
    seen = iter([False, False])  # both processes look before either has written
    exists = objects.exists
    monkeypatch.setattr(objects, "exists", lambda key: next(seen, None) or exists(key))
    assert objects.put_new("k", b"first")
    assert not objects.put_new("k", b"second")
    assert objects.get("k") == b"first"


def test_nothing_there(url):
    with pytest.raises(StoreError, match="s3://"):
        feature_store.open(url)


def test_an_object_is_read_with_one_request(url, monkeypatch):
    """s3fs would ask for its size first."""
    found, asked, plain = objects.connect(url), [], s3fs.S3FileSystem._call_s3
    found.put("a", b"12")
    found.put("b", b"")

    async def noting(self, method, *args, **options):
        asked.append(method)
        return await plain(self, method, *args, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", noting)
    assert [found.get("a"), found.get("b"), found.get("none")] == [b"12", b"", None]
    assert list(found.get_each(["a", "none", "b"])) == [b"12", None, b""]
    assert set(asked) == {"get_object"}
