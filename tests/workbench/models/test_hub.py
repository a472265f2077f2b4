"""Weights that cannot be fetched are refused within seconds."""

from __future__ import annotations

import socket

import pytest

from feature_store.errors import InputError
from workbench.models import hub


def test_an_unreachable_host_is_refused_before_any_retry(monkeypatch):
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(hub, "unreachable", lambda host, port: "no route")
    with pytest.raises(InputError, match="timm:x are not .*reached .no route.") as found:
        hub.require_reachable("timm:x", "nobody/nothing")
    assert len(str(found.value).splitlines()) == 2


def test_a_closed_port_is_named_and_an_open_one_is_not(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert hub.unreachable("127.0.0.1", port) is None
    assert "refused" in str(hub.unreachable("127.0.0.1", port))


def test_a_name_look_up_that_hangs_is_given_up(monkeypatch):
    import time

    server = socket.socket
    monkeypatch.setattr(hub, "SECONDS", 0.05)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: time.sleep(1) or server())
    assert "no answer within 0.05 s" in str(hub.unreachable("example.org", 443))
