"""Images, requests and comparisons shared by the engine tests."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import feature_store
from feature_store.verify import verify
from workbench.extraction import ExtractRequest, extract

MODEL = "random:timm:test_vit.r160_in1k"


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of 30 small photographs of noise in two classes."""
    folder = tmp_path_factory.mktemp("images")
    for k in range(30):
        path = folder / "ab"[k % 2] / f"{k:02}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 255, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((200, 180)).save(path)
    return folder


def make_request(images, store, **changes):
    """A request for features of a folder's images in shards of 3."""
    options = dict(
        dataset=f"folder:{images}",
        models=[MODEL],
        scales=["1x", "2x"],
        store=str(store),
        shard_images=3,
        device="cpu",
    )
    return ExtractRequest(**(options | changes))


@pytest.fixture
def request_for(images):
    """A request for features of these images in shards of 3."""
    return functools.partial(make_request, images)


@pytest.fixture(scope="session")
def whole(images, tmp_path_factory):
    """What one process writes of these images at some scales; once in a session."""

    @functools.cache
    def store(*scales):
        path = tmp_path_factory.mktemp("whole") / "s"
        extract(make_request(images, path, scales=scales))
        return path

    return store


def values(path):
    """Every stored array of a store, by its path; times and writers of commits aside."""
    root = Path(path)
    found = {p.relative_to(root): p.read_bytes() for p in root.rglob("c.*") if p.is_file()}
    for p in root.rglob(".commits/*.json"):
        record = json.loads(p.read_text())
        for name in ("writer", "written", "digest"):
            record.pop(name)
        found[p.relative_to(root)] = json.dumps(record).encode()
    return found


@pytest.fixture
def same_store():
    """Assert that two stores hold the same bytes and are whole."""

    def check(one, other):
        a, b = values(one), values(other)
        assert a.keys() == b.keys()
        assert [k for k in a if a[k] != b[k]] == []
        assert verify(feature_store.open(one)).problems == []
        assert not list(Path(one).rglob("tokens/.claims/*.json"))

    return check


@pytest.fixture
def first_claim():
    """Wait until some process works on a shard of a store; its process number."""

    def wait(store, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # by numbers: the claim of a source's creation is not that of a shard
            for path in Path(store).rglob("tokens/.claims/[0-9]*.json"):
                try:
                    return json.loads(path.read_text())["pid"]
                except (OSError, ValueError):  # released meanwhile
                    continue
            time.sleep(0.005)
        raise AssertionError(f"nobody claimed a shard of {store} in {seconds} s")

    return wait
