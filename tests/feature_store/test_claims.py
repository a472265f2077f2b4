"""One holder at a time; what a dead process left is taken over."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from feature_store.claims import Claim
from feature_store.objects import LocalObjects


@pytest.fixture
def objects(tmp_path):
    return LocalObjects(tmp_path)


def leave(objects, **changes):
    claim = {"host": socket.gethostname(), "pid": 1, "time": 4e9} | changes
    objects.put("k", json.dumps(claim).encode())


def test_second_claim_is_refused_and_names_the_holder(objects):
    with Claim(objects, "k") as first, Claim(objects, "k") as second:
        assert first.held
        assert not second.held
        assert second.holder.startswith(socket.gethostname())
    with Claim(objects, "k") as third:
        assert third.held


def test_claim_of_a_dead_process_is_taken_over(objects):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    leave(objects, pid=int(gone.stdout))
    with Claim(objects, "k") as claim:
        assert claim.held


def test_claim_of_another_host_is_respected_until_its_lease_ends(objects):
    leave(objects, host="elsewhere")
    with Claim(objects, "k") as claim:
        assert not claim.held
    leave(objects, host="elsewhere", time=0)
    with Claim(objects, "k") as claim:
        assert claim.held


def test_a_claim_that_is_released_at_the_same_moment_is_got(objects, monkeypatch):
    leave(objects, host="elsewhere")

    def get(key):
        objects.delete(key)

    monkeypatch.setattr(objects, "get", get)
    claim = Claim(objects, "k").__enter__()
    assert claim.held


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"host": 1}', b'{"host":"x","pid":"y","time":"z"}']
)
def test_damaged_claim_is_taken_over(objects, data):
    objects.put("k", data)
    with Claim(objects, "k") as claim:
        assert claim.held


def test_a_claim_that_was_taken_over_is_left_alone(objects):
    with Claim(objects, "k", lease=0) as slow:
        objects.delete("k")
        with Claim(objects, "k") as quick:
            slow.renew()
            slow.__exit__(None, None, None)
            assert quick.held
            assert objects.get("k") is not None
