"""From image files to a complete store: resume, growth, failures, refusals."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import feature_store
from feature_store.errors import InputError
from feature_store.verify import verify
from feature_store.writer import SourceWriter
from workbench.extraction import ExtractRequest, extract
from workbench.extraction import run as run_module
from workbench.extraction.local import open_extraction
from workbench.models import load
from workbench.models.backbone import Backbone
from workbench.multiscale import scale_features

MODEL = "random:timm:test_vit.r160_in1k"
RNG = np.random.default_rng(0)


def photo(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((200, 180)).save(path)


@pytest.fixture
def folder(tmp_path):
    for k in range(7):
        photo(tmp_path / "images" / "ab"[k % 2] / f"{k}.png", k)
    return tmp_path / "images"


def request(folder, store, **changes):
    options = dict(
        dataset=f"folder:{folder}",
        models=[MODEL],
        scales=["1x", "2x"],
        store=str(store),
        shard_images=3,
        batch=2,
        dtype="float32",
    )
    return ExtractRequest(**(options | changes))


def arrays(path):
    store = feature_store.open(path)
    return {
        name: (store.features(name).values, store.prefix(name).values) for name in store.sources()
    }


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        for a, b in zip(one[name], other[name], strict=True):
            np.testing.assert_array_equal(a, b)


def test_stored_features_are_the_model_s(folder, tmp_path):
    report = extract(request(folder, tmp_path / "s"))
    assert (report.images, report.computed, report.shards) == (7, 7, 6)
    store = feature_store.open(tmp_path / "s")
    assert store.label_names == ["a", "b"]
    backbone = load(MODEL)
    pixels = np.stack(
        [backbone.info.transform(Image.open(folder / i).convert("RGB")) for i in store.image_ids]
    )
    images = backbone.normalise(torch.from_numpy(pixels))
    for source in store.sources():
        single = feature_store.Source.parse(source)
        expected = scale_features(backbone, images, single.scales[0])
        np.testing.assert_allclose(store.features(source).values, expected.map.numpy(), atol=2e-5)
        np.testing.assert_allclose(store.prefix(source).values, expected.prefix.numpy(), atol=2e-5)


def test_second_run_does_nothing(folder, tmp_path):
    extract(request(folder, tmp_path / "s"))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("*") if p.is_file()}
    report = extract(request(folder, tmp_path / "s"))
    assert (report.shards, report.computed) == (0, 0)
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("*") if p.is_file()}
    assert before == after


def test_batch_and_worker_processes_do_not_matter(folder, tmp_path):
    extract(request(folder, tmp_path / "one", batch=1, max_crops=1))
    extract(request(folder, tmp_path / "two", batch=3, workers=2))
    one, two = arrays(tmp_path / "one"), arrays(tmp_path / "two")
    for name in one:
        for a, b in zip(one[name], two[name], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_only_damaged_shards_are_redone(folder, tmp_path):
    extract(request(folder, tmp_path / "s"))
    good = arrays(tmp_path / "s")
    victim = sorted((tmp_path / "s").glob("features/*/*/*/tokens/c.1.*"))[0]
    victim.write_bytes(b"\0" * victim.stat().st_size)
    report = extract(request(folder, tmp_path / "s", recheck=True))
    assert (report.shards, report.computed) == (1, 3)
    assert_same(arrays(tmp_path / "s"), good)


def test_new_images_extend_the_store(folder, tmp_path):
    extract(request(folder, tmp_path / "s"))
    first = arrays(tmp_path / "s")
    for k in range(7, 10):
        photo(folder / "a" / f"0{k}.png", k)
    report = extract(request(folder, tmp_path / "s"))
    assert report.computed == 3
    store = feature_store.open(tmp_path / "s")
    assert len(store) == 10
    for name, (tokens, _) in first.items():
        np.testing.assert_array_equal(store.features(name)[:7].values, tokens)
        assert np.isfinite(store.features(name).values).all()


@pytest.mark.parametrize("kind", ["folder", "csv"])
def test_a_grown_store_is_resumed_retried_and_given_a_second_model(tmp_path, kind):
    """Images and a class that sort between those stored; every row keeps its own image."""

    def listed():
        table = tmp_path / "p.csv"
        rows = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.glob("p/*/*.png"))
        table.write_text("path,label\n" + "".join(f"{r},{r.split('/')[1]}\n" for r in rows))
        return f"csv:{table}" if kind == "csv" else f"folder:{tmp_path / 'p'}"

    def run(**changes):
        changes = dict(dataset=listed(), scales=["160"], shard_images=2) | changes
        return extract(request(None, tmp_path / "s", **changes))

    for number, place in enumerate(("a/1", "a/3", "c/5")):
        photo(tmp_path / "p" / f"{place}.png", number)
    (tmp_path / "p/c/5.png").write_bytes(b"no image")  # its shard is the one that grows
    run()
    photo(tmp_path / "p/a/2.png", 7)
    photo(tmp_path / "p/b/4.png", 8)
    open_extraction(request(None, tmp_path / "s", dataset=listed(), scales=["160"]))  # interrupted
    photo(tmp_path / "p/c/5.png", 9)
    report = run(retry_failed=True)
    assert (report.computed, report.failed) == (3, {})
    assert run().computed == 0
    run(models=[MODEL, MODEL + "#block:0"])
    extract(request(None, tmp_path / "new", dataset=listed(), scales=["160"],
                    models=[MODEL, MODEL + "#block:0"]))  # fmt: skip
    grown, new = feature_store.open(tmp_path / "s"), feature_store.open(tmp_path / "new")
    places = [list(new.image_ids).index(i) for i in grown.image_ids]
    assert places != sorted(places)
    names = [grown.label_names[n] for n in grown.labels]
    assert names == [new.label_names[new.labels[k]] for k in places]
    for name in new.sources():
        expected = new.features(name).values[places]
        np.testing.assert_allclose(grown.features(name).values, expected, atol=1e-5)


def test_unreadable_images_keep_their_rows(folder, tmp_path):
    (folder / "a" / "0.png").write_bytes(b"")
    (folder / "b" / "1.png").write_bytes((folder / "b" / "3.png").read_bytes()[:200])
    report = extract(request(folder, tmp_path / "s"))
    assert set(report.failed) == {"a/0.png", "b/1.png"}
    store = feature_store.open(tmp_path / "s")
    failed = dict(zip(store.image_ids, store.status == "decode_failed", strict=True))
    assert [i for i, bad in failed.items() if bad] == ["a/0.png", "b/1.png"]
    values = store.features(f"{MODEL}@160").values
    assert (np.isnan(values).all(axis=(1, 2, 3)) == (store.status == "decode_failed")).all()
    assert verify(feature_store.open(tmp_path / "s")).problems == []


def test_dataset_of_one_image(tmp_path):
    photo(tmp_path / "images" / "only.jpg")
    extract(request(tmp_path / "images", tmp_path / "s"))
    store = feature_store.open(tmp_path / "s")
    assert store.features(f"{MODEL}@160+320").shape[0] == 1


def test_all_images_unreadable(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"no image")
    report = extract(request(tmp_path / "images", tmp_path / "s"))
    assert list(report.failed) == ["a.jpg"]
    assert verify(feature_store.open(tmp_path / "s")).problems == []


def test_decoding_processes_are_kept_from_shard_to_shard_and_end_with_the_run(folder, tmp_path):
    whole = extract(request(folder, tmp_path / "whole"))
    before = set(multiprocessing.active_children())
    run = open_extraction(request(folder, tmp_path / "s", workers=1))
    seen = []
    for shard in range(3):
        run.execute([shard], progress=False)
        seen.append(set(multiprocessing.active_children()) - before)
    assert len(seen[0]) == 1
    assert seen[0] == seen[1] == seen[2]
    [process] = seen[0]
    del run
    gc.collect()
    process.join(30)
    assert not process.is_alive()
    assert whole.images == 7
    assert_same(arrays(tmp_path / "s"), arrays(tmp_path / "whole"))


def test_a_pass_that_was_left_early_does_not_reach_the_next(folder, tmp_path, monkeypatch):
    extract(request(folder, tmp_path / "whole", shard_images=1, batch=1))
    run = open_extraction(request(folder, tmp_path / "s", shard_images=1, batch=1, workers=1))
    forward, broken = run_module.forward, [True]

    def fails_once(model, group, batch):
        if broken and batch.shard == 1:
            raise ZeroDivisionError(broken.pop())
        return forward(model, group, batch)

    monkeypatch.setattr(run_module, "forward", fails_once)
    with pytest.raises(ZeroDivisionError):
        run.execute(progress=False)
    run.execute(progress=False)
    assert_same(arrays(tmp_path / "s"), arrays(tmp_path / "whole"))


def test_the_next_shard_is_computed_while_one_is_written(folder, tmp_path, monkeypatch):
    computed = threading.Event()
    commit, forward = SourceWriter.commit, run_module.forward

    def slow_commit(self, shard, *rest):
        if shard == 0:
            assert computed.wait(30), "shard 1 waits for the disk"
        return commit(self, shard, *rest)

    def watched(model, group, batch):
        if batch.shard == 1:
            computed.set()
        return forward(model, group, batch)

    monkeypatch.setattr(SourceWriter, "commit", slow_commit)
    monkeypatch.setattr(run_module, "forward", watched)
    assert extract(request(folder, tmp_path / "s", scales=["1x"])).shards == 3


def test_out_of_memory_halves_the_crops_and_the_store_is_whole(folder, tmp_path, monkeypatch):
    extract(request(folder, tmp_path / "roomy"))
    run = Backbone.__call__

    def forgetful(self, crops):
        if len(crops) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return run(self, crops)

    monkeypatch.setattr(Backbone, "__call__", forgetful)
    said = []
    extract(request(folder, tmp_path / "tight"), log=said.append)
    assert any("continues with 2 crops" in line for line in said)
    roomy, tight = (feature_store.open(tmp_path / name) for name in ("roomy", "tight"))
    assert verify(tight).problems == []
    for source in roomy.sources():
        found, expected = tight.features(source).values, roomy.features(source).values
        np.testing.assert_allclose(found, expected, atol=2e-5)


def command_line(folder, store):
    """An extraction of two scales in shards of one image."""
    return [
        sys.executable,
        "-m",
        "workbench",
        "extract",
        "--dataset",
        f"folder:{folder}",
        "--model",
        MODEL,
        "--scales",
        "1x",
        "2x",
        "--store",
        str(store),
        "--shard-images",
        "1",
        "--batch",
        "1",
        "--dtype",
        "float32",
    ]


@pytest.mark.slow
def test_killed_runs_end_with_the_same_store(folder, tmp_path):
    """SIGKILL at random moments, until a run finishes; the result is bit-identical."""
    extract(request(folder, tmp_path / "whole", shard_images=1, batch=1))
    command = command_line(folder, tmp_path / "s")
    rng = np.random.default_rng(3)
    kills = 0
    while True:
        run = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        commits = len(committed(tmp_path / "s"))
        deadline = time.monotonic() + 120
        while run.poll() is None and time.monotonic() < deadline:
            if len(committed(tmp_path / "s")) > commits and kills < 4:
                time.sleep(rng.uniform(0, 0.05))
                run.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        if run.wait(timeout=120) == 0:
            break
    assert kills == 4
    assert verify(feature_store.open(tmp_path / "s")).problems == []
    assert_same(arrays(tmp_path / "s"), arrays(tmp_path / "whole"))


def committed(path):
    return list(Path(path).glob("features/*/*/*/tokens/.commits/*.json"))


def test_two_processes_share_one_store(folder, tmp_path):
    extract(request(folder, tmp_path / "whole", shard_images=1, batch=1))
    command = command_line(folder, tmp_path / "s")
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [run.communicate(timeout=240)[1] for run in runs]
    assert all(run.returncode in (0, 1) for run in runs), errors
    assert 0 in [run.returncode for run in runs] or extract(
        request(folder, tmp_path / "s", shard_images=1, batch=1)
    )
    assert verify(feature_store.open(tmp_path / "s")).problems == []
    assert_same(arrays(tmp_path / "s"), arrays(tmp_path / "whole"))


def test_repaired_images_are_read_again_on_request(folder, tmp_path):
    good = (folder / "a" / "0.png").read_bytes()
    (folder / "a" / "0.png").write_bytes(b"")
    assert extract(request(folder, tmp_path / "s")).failed
    (folder / "a" / "0.png").write_bytes(good)
    assert extract(request(folder, tmp_path / "s")).failed
    report = extract(request(folder, tmp_path / "s", retry_failed=True))
    assert (report.failed, report.computed) == ({}, 3)
    assert (feature_store.open(tmp_path / "s").status == "ok").all()


def test_growth_beside_a_new_source_counts_only_what_is_stored(folder, tmp_path):
    extract(request(folder, tmp_path / "s", scales=["1x"], shard_images=8, dtype="float16"))
    photo(folder / "b" / "z.png", 7)
    extract(request(folder, tmp_path / "s", shard_images=8, dtype="float16"))
    extract(request(folder, tmp_path / "whole", shard_images=8, dtype="float16"))
    grown, whole = (feature_store.open(tmp_path / n).source(f"{MODEL}@160") for n in ("s", "whole"))
    assert grown.record(0).square_sum == pytest.approx(whole.record(0).square_sum, rel=1e-3)


def test_other_precision_is_refused_with_the_difference(folder, tmp_path):
    extract(request(folder, tmp_path / "s"))
    with pytest.raises(InputError, match='dtype: stored "float32", now "float16"'):
        extract(request(folder, tmp_path / "s", dtype="float16"))


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 400 kB, and a function that mounts it anew with other options."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a small tmpfs cannot be mounted here (needs root)")
    yield (
        folder,
        lambda how: subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True),
    )
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_is_said_clearly_and_resumable(folder, small_disk):
    """ENOSPC: nothing half-written counts, and room is all that is needed to go on."""
    small, remount = small_disk
    with pytest.raises(InputError, match="No space left on device.*repeat the command"):
        extract(request(folder, small / "s", shard_images=1, batch=1))
    store = feature_store.open(small / "s")
    assert {p.kind for p in verify(store).problems} == {"missing"}
    done = len(committed(small / "s"))
    assert 0 < done < 14
    remount("size=50m")
    report = extract(request(folder, small / "s", shard_images=1, batch=1))
    assert report.shards == 14 - done
    assert verify(feature_store.open(small / "s")).problems == []


def test_read_only_disk_is_readable_and_said_clearly(folder, small_disk):
    """A store on a read-only disk reads and verifies; extraction says why it cannot go on."""
    small, remount = small_disk
    remount("size=50m")
    extract(request(folder, small / "s", shard_images=1, batch=1))
    complete = arrays(small / "s")
    for record in committed(small / "s")[:3]:
        record.unlink()
    remount("ro")
    with pytest.raises(InputError, match="Read-only file system.*repeat the command"):
        extract(request(folder, small / "s", shard_images=1, batch=1))
    assert len(verify(feature_store.open(small / "s")).problems) == 3
    view = feature_store.open(small / "s").features(f"{MODEL}@160", allow_incomplete=True)
    assert view.shape[0] == 7
    remount("rw")
    assert extract(request(folder, small / "s", shard_images=1, batch=1)).shards == 3
    assert_same(arrays(small / "s"), complete)


def test_a_trailing_slash_is_the_same_folder(folder, tmp_path):
    extract(request(folder, tmp_path / "s"))
    assert extract(request(f"{folder}/", tmp_path / "s")).shards == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_stores_what_the_cpu_stores(folder, tmp_path):
    """Copies under way while the next batch runs land in their own rows, and are counted."""
    for device in ("cpu", "cuda"):
        extract(request(folder, tmp_path / device, device=device, dtype="float16", batch=1))
    one, other = arrays(tmp_path / "cpu"), arrays(tmp_path / "cuda")
    for name in one:
        for a, b in zip(one[name], other[name], strict=True):
            np.testing.assert_allclose(a, b, atol=5e-3)
        records = [
            feature_store.open(tmp_path / device).source(name).record(0)
            for device in ("cpu", "cuda")
        ]
        assert records[1].square_sum == pytest.approx(records[0].square_sum, rel=1e-2)
