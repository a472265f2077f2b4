"""Weights that cannot be fetched are refused within seconds."""

from __future__ import annotations

import http.server
import socket
import threading

import huggingface_hub
import pytest
from huggingface_hub import constants

from feature_store.errors import InputError
from workbench.cli import main
from workbench.models import hub


@pytest.fixture
def closed():
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def answering():
    """Starts a server that answers with a status; its address."""
    servers = []

    def start(status):
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.send_response(status)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        servers.append(http.server.HTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_host_that_answers_is_reachable(answering):
    assert hub.unreachable(answering(200), 5) is None
    assert hub.unreachable(answering(404), 5) is None
    assert "503" in str(hub.unreachable(answering(503), 5))


def test_a_closed_port_is_named(closed):
    assert "refused" in str(hub.unreachable(closed, 5))


def test_a_host_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "timed out" in str(hub.unreachable(address, 0.05))


def test_a_name_look_up_that_hangs_is_given_up(monkeypatch):
    released = threading.Event()
    monkeypatch.setattr(hub.threading.Thread, "join", lambda thread, timeout: None)
    monkeypatch.setattr(huggingface_hub, "get_session", released.wait)
    assert hub.unreachable("https://example.org", 7) == "no answer within 7 s"
    released.set()


def test_it_costs_two_short_lines_and_no_store(closed, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    command = ["extract", "--dataset", "bundled:textiles", "--store", str(tmp_path / "s.zarr")]
    model = "timm:vit_tiny_patch16_224.augreg_in21k"
    assert main([*command, "--scales", "1x", "--limit", "1", "--model", model]) == 2
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert model in first
    assert "127.0.0.1 cannot be reached" in first
    assert "file:" in second
    assert not (tmp_path / "s.zarr").exists()


def test_cached_weights_are_not_asked_for(closed, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    with pytest.raises(InputError, match="timm:x"):
        hub.require_reachable("timm:x", None, f"{closed}/x.pth")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "x.pth").touch()
    hub.require_reachable("timm:x", None, f"{closed}/x.pth")
