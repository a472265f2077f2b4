"""workbench look: files, the image by id and by row, options that exclude each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.cli import main


def test_files_by_id_and_by_row_are_the_same(seen_store, tmp_path, capsys):
    store = seen_store()
    written = []
    for text in (str(store.image_ids[1]), "1"):
        out = tmp_path / f"out{len(written)}"
        command = ["look", store.path, "--image", text, "--out", str(out), "--json"]
        assert main(command) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["images"] == [str(store.image_ids[1])]
        assert found["files"] == [str(out / f"tokens_1.{kind}") for kind in ("png", "svg")]
        written.append([Path(path).read_bytes() for path in found["files"]])
    assert written[0] == written[1]


@pytest.mark.parametrize("kind", ["similarity", "loss", "scales"])
def test_every_kind_is_drawn(seen_store, tmp_path, kind):
    store = seen_store()
    command = ["look", store.path, "--image", "0", "--kind", kind, "--out", str(tmp_path / "o")]
    command += ["--source", "m:small@28+56", "--token", "3", "3", "--target", "m:large@28"]
    assert main(command) == 0
    assert {p.name for p in (tmp_path / "o").iterdir()} == {f"{kind}_0.png", f"{kind}_0.svg"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image", "0", "--kind", "similarity"], "--token ROW COL"),
        (["--image", "0", "--kind", "loss"], "--target"),
        (["--image", "99"], "0 to 11"),
        ([], "--image ID"),
        (["--images", "a.jpg", "--model", "bundled:efficientnet_lite0"], "a store, or --images"),
        (["--image", "0", "--source", "m:gone@28"], "m:gone@28"),
    ],
)
def test_misuse_is_one_line(seen_store, tmp_path, capsys, options, message):
    store = seen_store()
    assert main(["look", store.path, "--out", str(tmp_path / "o"), *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "o").exists()
