"""workbench explore: the server without a browser."""

from __future__ import annotations

import io
import subprocess
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from PIL import Image

import feature_store
import workbench
from feature_store import InputError
from workbench.cli import main


@pytest.fixture
def served(seen_store):
    found = workbench.explore(seen_store())
    yield found
    found.stop()


def fetch(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
        return answer.headers, answer.read()


def test_a_second_page_on_the_same_port_is_refused_in_one_line(served, seen_store, capsys):
    port = urlsplit(served.address).port
    store = seen_store("other.zarr")
    assert main(["explore", store.path, "--port", str(port), "--no-browser"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert f"port {port}" in err
    assert "--port" in err
    with pytest.raises(InputError, match=f"port {port}"):
        workbench.explore(store, port=port)


def test_pictures_are_served_by_number_to_this_machine_only(served, tmp_path):
    address = served.address + "picture?store=0&source=0&side=20&row="
    headers, body = fetch(address + "1")
    assert headers["Content-Type"] == "image/jpeg"
    assert Image.open(io.BytesIO(body)).size == (20, 20)
    (tmp_path / "photos").rename(tmp_path / "moved")
    assert fetch(address + "2")[0]["Content-Type"] == "image/svg+xml"
    for wrong, status in (("12", 404), ("-1", 400), ("x", 400), ("1&store=9", 404)):
        with pytest.raises(urllib.error.HTTPError, match=str(status)):
            fetch(address + wrong)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(address + "1", Host="elsewhere.example")


def test_a_notebook_shows_the_page_in_a_frame(served):
    assert f'src="{served.address}"' in served._repr_html_()
    assert b"Bokeh" in fetch(served.address)[1]


def test_a_store_without_maps_is_refused(tmp_path):
    store = feature_store.create(tmp_path / "s.zarr", dataset="toy:s", image_ids=["a"])
    store.add_source(
        "m:a#t@4.t2", manifest={"model": "m"}, grid=(3, 4), channels=2, dtype="float32", keep=2
    )
    with pytest.raises(InputError, match="m:a#t@4.t2 keeps 2 of 12"):
        workbench.explore(store)


@pytest.mark.slow
def test_it_prints_one_line_and_serves_until_it_is_interrupted(seen_store):
    command = [sys.executable, "-m", "workbench.cli", "explore", seen_store().path, "--port", "0"]
    with subprocess.Popen([*command, "--no-browser"], stdout=subprocess.PIPE, text=True) as running:
        line = running.stdout.readline()
        assert fetch(line.strip())[1]
        running.send_signal(2)
        assert running.wait(20) == 0
        assert running.stdout.read() == ""
