"""Sources begun by other code: accepted where a recomputed shard has the stored values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import feature_store
from feature_store import accepted_code
from feature_store.errors import InputError, StoreError
from feature_store.verify import verify
from workbench import code_hash
from workbench.cli import main
from workbench.extraction import ExtractRequest, extract
from workbench.extraction.accept_code import ROUNDING
from workbench.models.backbone import Backbone

MODEL = "random:timm:test_vit.r160_in1k"
SOURCE = f"{MODEL}#final@160"
OLD = Path(__file__).parents[2] / "data" / "half_filled.zarr"
"""6 images in shards of 2, the last one missing; written before `accepted_code` existed."""


def request(store, **changes):
    options = dict(
        dataset="bundled:textiles:test",
        limit=6,
        models=[MODEL],
        scales=["160", "320"],
        store=str(store),
        shard_images=2,
    )
    return ExtractRequest(**(options | changes))


@pytest.fixture
def other_code(monkeypatch):
    """From here on the code that computes features is another one."""
    monkeypatch.setattr(code_hash, "code_sha256", lambda: "0" * 64)


@pytest.fixture
def other_libraries(monkeypatch):
    versions = code_hash.library_versions() | {"numpy": "0"}
    monkeypatch.setattr(code_hash, "library_versions", lambda: versions)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "begun.zarr"
    extract(request(path))
    drop_last_shard(path)
    return path


@pytest.fixture
def begun(template, tmp_path):
    """A store whose last shard is missing in both sources."""
    return Path(shutil.copytree(template, tmp_path / "begun.zarr"))


def drop_last_shard(path):
    for record in path.glob("features/*/*/*/tokens/.commits/000002.json"):
        record.unlink()


def chunks(path):
    return {p.relative_to(path): p.read_bytes() for p in sorted(path.glob("features/**/c.*"))}


def attributes(path, scale="160"):
    (found,) = path.glob(f"features/*/final/{scale}/zarr.json")
    return json.loads(found.read_text())["attributes"]


def test_a_store_of_the_version_before_opens_verifies_and_completes(tmp_path, other_libraries):
    path = tmp_path / "old.zarr"
    shutil.copytree(OLD, path)
    store = feature_store.open(path)
    assert {(p.shard, p.kind) for p in verify(store).problems} == {(2, "missing")}
    before, kept = chunks(path), attributes(path)
    values = store.features(SOURCE, allow_incomplete=True).values
    assert np.isfinite(values[:4]).all()
    assert np.isnan(values[4:]).all()
    with pytest.raises(StoreError, match=r"code_sha256.*libraries\.numpy.*--accept-code"):
        extract(request(path))
    report = extract(request(path, accept_code=True))
    assert report.shards == 2
    store = feature_store.open(path)
    assert not verify(store).problems
    np.testing.assert_array_equal(store.features(SOURCE).values[:4], values[:4])
    assert np.isfinite(store.features(f"{MODEL}@160+320").values).all()
    after = chunks(path)
    assert {name: after[name] for name in before} == before
    now = attributes(path)
    assert {name: now[name] for name in kept} == kept
    (entry,) = now["accepted_code"]
    assert entry["code_sha256"] == code_hash.code_sha256() != now["manifest"]["code_sha256"]
    assert entry["libraries"]["numpy"] == "0"
    assert entry["shard"] == 0


def test_accepted_code_resumes_from_then_on_without_the_flag(begun, other_code):
    with pytest.raises(StoreError, match=f"code_sha256.*{'0' * 64}.*--accept-code"):
        extract(request(begun))
    lines = []
    extract(request(begun, accept_code=True), log=lines.append)
    assert sum("accepted" in line and "shard 0" in line for line in lines) == 2
    drop_last_shard(begun)
    assert extract(request(begun)).shards == 2
    assert len(attributes(begun)["accepted_code"]) == 1
    assert extract(request(begun, accept_code=True)).shards == 0
    assert len(attributes(begun)["accepted_code"]) == 1


def test_the_first_code_stays_accepted(begun, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(code_hash, "code_sha256", lambda: "0" * 64)
        extract(request(begun, accept_code=True))
    drop_last_shard(begun)
    assert extract(request(begun)).shards == 2


def scaled(monkeypatch, factor):
    """The model's outputs become larger by a factor."""
    forward = Backbone.__call__

    def other(self, images):
        tokens = forward(self, images)
        return type(tokens)(*(values * factor for values in tokens))

    monkeypatch.setattr(Backbone, "__call__", other)


def test_other_values_are_refused_with_the_largest_difference(
    begun, other_code, monkeypatch, capsys
):
    stored = feature_store.open(begun).source(SOURCE).shard(0)
    scaled(monkeypatch, 1.01)
    before = attributes(begun)
    command = ["extract", "--dataset", "bundled:textiles:test", "--limit", "6", "--model", MODEL]
    command += ["--scales", "160", "--store", str(begun), "--accept-code"]
    assert main(command) == 2
    said = capsys.readouterr().err
    largest = max(np.abs(values.astype(np.float64)).max() for values in stored.values()) * 0.01
    (found,) = (float(w.rstrip(",")) for w in said.split("difference is ")[1].split()[:1])
    assert found == pytest.approx(largest, rel=0.1)
    assert SOURCE in said
    assert "shard 0" in said
    assert attributes(begun) == before


def test_other_libraries_may_round_the_stored_values_otherwise(begun, other_libraries, monkeypatch):
    with monkeypatch.context() as patched:
        scaled(patched, 1 + 2.0**-13)  # less than a unit in the last place of float16
        extract(request(begun, accept_code=True))
    (entry,) = attributes(begun)["accepted_code"]
    assert 0 < entry["largest_difference"] < 0.02


def test_other_libraries_may_not_differ_by_more(begun, other_libraries, monkeypatch):
    scaled(monkeypatch, 1 + 2.0**-8)
    with pytest.raises(InputError, match="float16"):
        extract(request(begun, accept_code=True))


def test_with_the_same_libraries_rounding_is_not_enough(begun, other_code, monkeypatch):
    scaled(monkeypatch, 1 + 2.0**-13)
    with pytest.raises(InputError, match="shard 0.*largest difference"):
        extract(request(begun, accept_code=True))


@pytest.mark.parametrize("factor", [1 + ROUNDING / 2, 1 + ROUNDING * 4])
def test_float32_has_the_rounding_of_its_largest_value(
    tmp_path, other_libraries, monkeypatch, factor
):
    path = tmp_path / "float32.zarr"
    with monkeypatch.context() as patched:
        patched.setattr(code_hash, "library_versions", lambda: {"numpy": "1"})
        extract(request(path, dtype="float32", scales=["160"]))
    drop_last_shard(path)
    scaled(monkeypatch, factor)
    if factor < 1 + ROUNDING:
        assert extract(request(path, dtype="float32", scales=["160"], accept_code=True)).shards == 1
    else:
        with pytest.raises(InputError, match="float32"):
            extract(request(path, dtype="float32", scales=["160"], accept_code=True))


def test_packed_sources_of_some_positions_are_compared_too(tmp_path, monkeypatch):
    options = dict(layout="packed", tokens_per_image=5)
    path = tmp_path / "packed.zarr"
    extract(request(path, **options))
    drop_last_shard(path)
    monkeypatch.setattr(code_hash, "code_sha256", lambda: "0" * 64)
    assert extract(request(path, accept_code=True, **options)).shards == 2
    assert not verify(feature_store.open(path)).problems


def test_unreadable_images_are_not_compared(tmp_path, monkeypatch):
    images = tmp_path / "images"
    images.mkdir()
    for k in range(4):
        pixels = np.random.default_rng(k).integers(0, 255, (180, 200, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{k}.png")
    (images / "0.png").write_bytes(b"no image")
    (images / "1.png").write_bytes(b"no image")
    (images / "2.png").write_bytes(b"no image")
    options = dict(dataset=f"folder:{images}", limit=None)
    path = tmp_path / "s.zarr"
    extract(request(path, **options))
    monkeypatch.setattr(code_hash, "code_sha256", lambda: "0" * 64)
    extract(request(path, accept_code=True, **options))
    assert attributes(path)["accepted_code"][0]["shard"] == 1


def test_nothing_committed_is_nothing_to_compare(begun, other_code):
    for record in begun.glob("features/*/*/*/tokens/.commits/*.json"):
        record.unlink()
    with pytest.raises(InputError, match="no committed shard"):
        extract(request(begun, accept_code=True))


def test_other_settings_are_refused_all_the_same(begun, other_code):
    with pytest.raises(StoreError, match="code_sha256.*precision") as refused:
        extract(request(begun, accept_code=True, arithmetic="bf16"))
    assert "--accept-code" not in str(refused.value)
    assert "accepted_code" not in attributes(begun)


def test_a_damaged_shard_is_not_compared(begun, other_code):
    (chunk,) = begun.glob("features/*/final/160/tokens/c.0.*")
    chunk.write_bytes(bytes(len(chunk.read_bytes())))
    with pytest.raises(StoreError, match="shard 0 .*damaged"):
        extract(request(begun, accept_code=True))


def test_entries_need_the_libraries_too(begun):
    stored = feature_store.open(begun).source(SOURCE)
    other = stored.manifest | {"code_sha256": "0" * 64}
    accepted_code.accept(stored, other, shard=0, largest_difference=0.0)
    assert accepted_code.is_accepted(stored, other)
    assert not accepted_code.is_accepted(stored, other | {"libraries": {"numpy": "0"}})
    assert not accepted_code.is_accepted(stored, other | {"dtype": "float32"})
