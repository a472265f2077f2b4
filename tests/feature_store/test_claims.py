"""One holder at a time; what a dead process left is taken over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from feature_store import claims
from feature_store.claims import Claim, ClaimStatus, waited_for
from feature_store.objects import LocalObjects


@pytest.fixture
def objects(tmp_path):
    return LocalObjects(tmp_path)


def leave(objects, age=0.0, **changes):
    claim = {"host": socket.gethostname(), "pid": 1, "time": 4e9} | changes
    objects.put("k", json.dumps(claim).encode())
    written = time.time() - age
    os.utime(objects.root / "k", (written, written))


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
    leave(objects, host="elsewhere", time=0)  # the writer's clock does not count
    with Claim(objects, "k") as claim:
        assert not claim.held
    leave(objects, host="elsewhere", age=1000)
    with Claim(objects, "k") as claim:
        assert claim.held


def test_a_date_far_in_the_future_does_not_block(objects):
    leave(objects, host="elsewhere", age=-1e6)
    assert ClaimStatus.of(objects, "k").state == "expired"
    with Claim(objects, "k") as claim:
        assert claim.held


def test_a_claim_that_is_waited_for_is_got_when_it_is_released(objects, monkeypatch):
    leave(objects, host="elsewhere")
    monkeypatch.setattr(claims.time, "sleep", lambda seconds: objects.delete("k"))
    with waited_for(objects, "k"):
        assert objects.exists("k")
    assert not objects.exists("k")


def test_a_claim_that_is_released_at_the_same_moment_is_got(objects, monkeypatch):
    leave(objects, host="elsewhere")

    def get(key):
        objects.delete(key)

    monkeypatch.setattr(objects, "get", get)
    claim = Claim(objects, "k").__enter__()
    assert claim.held


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"host": 1}',
        b'{"host":"x","pid":"y","time":"z"}',
        b'{"host":"x","pid":-1,"time":0}',
        b'{"host":"x","pid":0,"time":0}',
        b'{"host":"x","pid":true,"time":0}',
        b'{"host":"x","pid":1099511627776,"time":0}',
        b'{"host":"x","pid":Infinity,"time":0}',
        b'{"host":"x","pid":1,"time":Infinity}',
        b'{"host":"x","pid":1,"time":NaN}',
        b'{"host":"","pid":1,"time":0}',
    ],
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
