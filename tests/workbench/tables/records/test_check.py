"""Staleness that a figure inherits, and digests and code hashes that decide it."""

from __future__ import annotations

import pytest

from feature_store import InputError
from workbench import code_hash
from workbench.results import strict_json
from workbench.tables.records import content
from workbench.tables.records.check import check
from workbench.tables.render import write
from workbench.tables.specs.schema import TableSpec


def record(key, **more):
    plain = {"measurements": {}, "files": {}, "blocks": [], "uses": {}, "digest": f"of {key}"}
    return content.sealed(plain | {"key": key} | more)


@pytest.fixture
def states(tmp_path):
    """Write records and check their folder: key → (state, reasons)."""

    def checked(*tables):
        for table in tables:
            strict_json.write(table, tmp_path / f"{table['key']}.json")
        return {f["table"]: (f["state"], f["reasons"]) for f in check(tmp_path)}

    return checked


def test_a_figure_of_current_tables_is_current(states):
    found = states(record("figure2", uses={"5": "of 5"}), record("5"))
    assert found["figure2"] == ("current", [])


def test_a_figure_inherits_that_its_table_is_stale(states):
    middle = record("5", uses={"6": "of 6"})
    found = states(
        record("figure2", uses={"5": "of 5"}), middle, record("6", files={"gone.md": "mark"})
    )
    assert found["6"] == ("stale", ["gone.md is gone"])
    assert found["5"] == ("stale", ["table 6, which it draws, is stale"])
    assert found["figure2"] == ("stale", ["table 5, which it draws, is stale"])


def test_a_figure_is_stale_where_its_table_is_gone_or_another(states):
    found = states(record("figure2", uses={"5": "of 5", "6": "before"}), record("6"))
    assert found["figure2"] == (
        "stale",
        [
            "table 5, which it draws, is gone",
            "table 6, which it draws, was written anew",
        ],
    )


def test_a_table_changed_by_hand_is_stale(states, tmp_path):
    (tmp_path / "table05.md").write_text("80.1", encoding="utf-8")
    mark = content.file_sha256(tmp_path / "table05.md")
    table = record("5", files={"table05.md": mark}, rows=[1.5])
    assert states(table)["5"] == ("current", [])
    (tmp_path / "table05.md").write_text("90.1", encoding="utf-8")
    assert states(table)["5"] == ("stale", ["table05.md was changed since it was written"])
    table["rows"] = [2.5]
    assert states(table)["5"][1][1:] == ["table05.json was changed since it was written"]
    table["files"] = ["table05.md"]
    assert states(table)["5"][1] == ["it was written by an older version; run again"]


def test_a_record_that_is_not_whole_is_named(states):
    with pytest.raises(InputError, match="table05.json is not a whole table .no files"):
        states({"key": "5", "digest": "x", "measurements": {}, "blocks": []})


def test_tables_of_two_profiles_in_one_folder_are_mixed(states):
    found = states(record("5", profile="bundled"), record("6", profile="paper"))
    assert [state for state, _ in found.values()] == ["mixed", "mixed"]
    (reason,) = found["6"][1]
    assert "of the profile paper in a folder with tables of bundled and paper" in reason


def spec(key, **more):
    return TableSpec(key=key, title="", question="", paper="s2", reference="", **more)


def test_digests_follow_content_blocks_code_and_what_is_drawn(monkeypatch):
    specs = [spec("figure", uses=("a", "b")), spec("a", extra_tables=("cost 5",)), spec("b")]
    tables = {s.key: {"title": s.key, "measurements": {}} for s in specs}
    before = write.digests(specs, tables)

    def changed(now):
        return {key for key, digest in now.items() if digest != before[key]}

    said = {**tables, "b": tables["b"] | {"title": "other"}}
    assert changed(write.digests(specs, said)) == {"figure", "b"}
    dated = {"mark": {"date": "now", "seconds": 1, "code": {}}}
    measured = {**tables, "b": tables["b"] | {"measurements": dated}}
    first = write.digests(specs, measured)
    dated["mark"]["date"] = "later"
    assert write.digests(specs, measured) == first, "when is not what"
    monkeypatch.setattr(code_hash, "blocks_sha256", lambda kinds: "changed" if kinds else "")
    assert changed(write.digests(specs, tables)) == {"figure", "a"}
