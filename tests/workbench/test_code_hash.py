"""Hashes of code: each follows the files that decide its values, and no others."""

from __future__ import annotations

import pytest

from workbench import code_hash

PARTS = {
    name: getattr(code_hash, name)
    for name in ("FEATURES", "WORKER", "MEASURING", "TIMING", "EXTRA_TABLES")
}


@pytest.fixture
def reread():
    """Forget the hashes that this process has computed, before and after."""
    code_hash.parts_sha256.cache_clear()
    yield
    code_hash.parts_sha256.cache_clear()


def names(parts):
    return {path.relative_to(code_hash.ROOT).as_posix() for path in code_hash.files(parts)}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_every_listed_part_has_files(parts):
    for part in parts:
        found = code_hash.files([part])
        assert found, part
        assert all(path.is_file() for path in found), part


def test_the_hash_of_features_covers_what_decides_stored_values():
    assert {
        "feature_store/subsample.py",
        "workbench/datasets/bundled/photos.py",
        "workbench/datasets/decode.py",
        "workbench/extraction/image_loader.py",
        "workbench/extraction/shard.py",
        "workbench/models/readout.py",
        "workbench/multiscale/forward.py",
    } <= names(code_hash.FEATURES)
    assert "workbench/extraction/run.py" not in names(code_hash.FEATURES)


def test_the_hash_of_measurements_covers_code_and_shipped_data():
    shipped = {
        path.relative_to(code_hash.ROOT).as_posix()
        for path in (code_hash.ROOT / "analyses").rglob("*.csv")
    }
    assert "analyses/published/s2_table05_imagenet.csv" in shipped
    assert "analyses/scaling_laws/data/digits_star_sweep.csv" in shipped
    assert shipped | {"analyses/probe.py"} <= names(code_hash.MEASURING)


def test_a_hash_of_files_follows_content_and_names_only(tmp_path):
    for name, text in (("a/x.py", "1"), ("b/x.py", "2")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    a, b = tmp_path / "a/x.py", tmp_path / "b/x.py"
    before = code_hash.files_sha256([a, b], tmp_path)
    assert code_hash.files_sha256([b, a, b], tmp_path) == before
    a.write_text("2"), b.write_text("1")
    assert code_hash.files_sha256([a, b], tmp_path) != before


def test_an_edit_changes_the_hashes_of_the_parts_that_hold_the_file(tmp_path, monkeypatch, reread):
    """One copy of the packages, in which one file after the other is edited."""
    everything = set().union(*map(code_hash.files, PARTS.values()))
    for path in everything:
        copy = tmp_path / path.relative_to(code_hash.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(code_hash, "ROOT", tmp_path)

    def hashes():
        code_hash.parts_sha256.cache_clear()
        return {name: code_hash.parts_sha256(parts) for name, parts in PARTS.items()}

    for edited, expected in {
        "workbench/multiscale/forward.py": {"FEATURES", "WORKER", "TIMING"},
        "workbench/extraction/run.py": {"WORKER"},
        "analyses/probe.py": {"MEASURING", "EXTRA_TABLES"},
        "workbench/tables/render/extra_tables.py": {"EXTRA_TABLES"},
        "analyses/published/s2_table05_imagenet.csv": {"MEASURING", "EXTRA_TABLES"},
    }.items():
        before = hashes()
        with (tmp_path / edited).open("a") as file:
            file.write("# edited\n")
        assert {name for name, now in hashes().items() if now != before[name]} == expected, edited


def test_features_follow_the_version_of_manifests(monkeypatch):
    before = code_hash.code_sha256()
    monkeypatch.setattr(code_hash.protocol, "MANIFEST_VERSION", "other")
    assert code_hash.code_sha256() != before


def test_cost_blocks_follow_the_code_that_counts_and_the_libraries(monkeypatch):
    def hashes():
        return code_hash.blocks_sha256(("cost",)), code_hash.blocks_sha256(("audit",))

    cost, audit = hashes()
    versions = code_hash.model_library_versions()
    monkeypatch.setattr(code_hash, "model_library_versions", lambda: versions | {"timm": "0"})
    other, same = hashes()
    assert (other != cost, same == audit) == (True, True)
    monkeypatch.setattr(code_hash, "model_library_versions", lambda: versions)
    monkeypatch.setattr(code_hash, "COUNTING", ())
    other, same = hashes()
    assert (other != cost, same == audit) == (True, True)
    monkeypatch.undo()
    assert hashes() == (cost, audit)
    assert code_hash.blocks_sha256(()) == ""
