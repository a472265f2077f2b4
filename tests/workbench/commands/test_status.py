"""`workbench status --watch`: a store that is not there yet, the pace, the time left."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from PIL import Image

import feature_store
from workbench.cli import main
from workbench.commands.status import Pace


def sources(done, total=10):
    return [{"shards_done": done, "shards_total": total}]


def test_pace_by_hand():
    pace = Pace()
    pace.note(sources(2), 100.0)
    assert (pace.rate, pace.left) == (None, None)
    pace.note(sources(2), 130.0)
    assert (pace.rate, pace.left) == (0, None)
    assert str(pace) == "no shard done in the last 00:30"
    pace.note(sources(6), 160.0)  # 4 shards in a minute, 4 to go
    assert (pace.rate, pace.left) == (4, 60)
    assert str(pace) == "4 shards/min, about 01:00 left"
    pace.note(sources(5), 170.0)  # one was taken back
    assert pace.rate == pytest.approx(3 * 60 / 70)
    pace.note(sources(6), 770.0)  # of ten minutes: looks from 170 s on
    assert (pace.rate, pace.left) == (pytest.approx(0.1), pytest.approx(2400))


def test_it_waits_for_the_store_and_says_so(make_store, tmp_path, capsys):
    features = np.random.default_rng(0).normal(size=(8, 2, 2, 3))
    timer = threading.Timer(0.5, make_store, ["s", {"m:a#final@4": features}])
    timer.start()
    command = ["status", str(tmp_path / "s"), "--watch", "--interval", "0.1"]
    assert main(command) == 0
    timer.join()
    out, err = capsys.readouterr()
    assert err.count("does not exist yet") == 1
    assert "m:a#final@4: complete, 1/1 shards" in out


def test_skipped_files_are_counted_by_kind(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (3, 2)).save(folder / "a.png")
    for name in ("a.txt", "b.txt", "c.eps", ".hidden", "readme"):
        (folder / name).write_bytes(b"")
    feature_store.create(tmp_path / "s", dataset=f"folder:{folder}", image_ids=["a.png"])
    assert main(["status", str(tmp_path / "s"), "--json"]) == 0
    expected = {".txt": 2, ".eps": 1, "hidden": 1, "without extension": 1}
    assert json.loads(capsys.readouterr().out)["skipped_files"] == expected
    assert main(["status", str(tmp_path / "s")]) == 0
    assert "2 .txt, 1 " in capsys.readouterr().out


def test_pace_is_shown_until_all_is_done(make_store, tmp_path, capsys, monkeypatch):
    """A shard is taken back, and comes again after the second look."""
    features = np.random.default_rng(0).normal(size=(8, 2, 2, 3))
    store = make_store("s", {"m:a#final@4": features}, shard_images=4)
    (record,) = (tmp_path / "s").rglob(".commits/000001.json")
    committed = record.read_bytes()
    record.unlink()
    looks = []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 2:
            record.write_bytes(committed)

    monkeypatch.setattr("workbench.commands.status.time.sleep", sleep)
    assert main(["status", store.path, "--watch", "--json", "--interval", "0.25"]) == 0
    assert looks == [0.25, 0.25]
    first, second, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["shards_per_minute"], second["shards_per_minute"]) == (None, 0)
    assert "shards_per_minute" not in last


def test_without_watch_a_store_that_is_not_there_is_an_error(tmp_path, capsys):
    assert main(["status", str(tmp_path / "s")]) == 2
    assert "there is no feature store at" in capsys.readouterr().err
    assert main(["status", str(tmp_path / "s"), "--watch", "--interval", "0"]) == 2
    assert "--interval is 0; expected more than 0 seconds" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
