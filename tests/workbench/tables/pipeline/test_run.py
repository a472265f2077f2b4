"""A tiny bundled run end to end: outputs, resume, staleness, mixing, escaping."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import feature_store
from feature_store import InputError, protocol
from feature_store.documents import put_attributes, read_attributes
from workbench import cli, code_hash, datasets
from workbench.results import strict_json
from workbench.tables.pipeline import config as configs
from workbench.tables.pipeline import plan as planning
from workbench.tables.pipeline import run
from workbench.tables.pipeline.analyses import ANALYSES, Analysis
from workbench.tables.records import content
from workbench.tables.records.check import check
from workbench.tables.specs.schema import TableSpec

EVIL = "<script>alert(1)</script>"
ONLY = ("2", "10", "12", "figure7")


def textiles(folder, split, count):
    """A table of a few textiles in which one class is named like a script."""
    found = datasets.open(f"bundled:textiles:{split}", limit=count)
    folder.mkdir()
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as handle:
        lines = csv.writer(handle)
        lines.writerow(["path", "label"])
        for row in range(count):
            name = f"{split}{row}.png"
            Image.fromarray(found.image(row)).save(folder / name)
            label = found.label_names[found.labels[row]]
            lines.writerow([name, EVIL if label == "nominal" else "defect"])
    return f"csv:{folder}/images.csv"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    base = tmp_path_factory.mktemp("data")
    train, test = (textiles(base / s, s, n) for s, n in (("train", 16), ("test", 10)))
    path = base / "config.toml"
    path.write_text(
        "device = 'cpu'\n[datasets.scenes]\ntrain_limit = 4\ntest_limit = 2\n"
        f"[datasets.textiles]\ntrain = '{train}'\ntrain_limit = 14\n"
        f"test = '{test}'\ntest_limit = 10\n",
        encoding="utf-8",
    )
    return path


def tables(*arguments):
    return cli.main(["tables", *map(str, arguments)])


@pytest.fixture(scope="module")
def out(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "tables"
    assert tables("--config", config, "--out", out, "--only", *ONLY) == 0
    return out


def test_everything_is_written(out):
    names = {p.name for p in out.iterdir()}
    for stem in ("table02", "table10", "table12", "figure07"):
        suffixes = {"md", "csv", "tex", "html", "json"}
        assert {f"{stem}.{suffix}" for suffix in suffixes} <= names
    assert {"figure07.png", "figure07.svg", "report.html", "provenance.json"} <= names
    assert {"table10_cost.csv", "figure07_gallery.html"} <= names


def test_numbers_carry_their_provenance(out):
    table = strict_json.read(out / "table02.json")
    cell = next(r["cells"]["test_info"] for r in table["rows"] if r["source"])
    made = table["measurements"][cell["measurement"]]
    assert made["stores"]["train"]["path"] == "stores/textiles_train.zarr"
    assert made["config"]["resolved"]["moments"].startswith("stores/moments_textiles_")
    store = feature_store.open(out / made["stores"]["train"]["path"])
    for source, identity in made["stores"]["train"]["sources"].items():
        assert store.source(source).identity == identity
    assert made["code"]["version"]
    assert made["date"]
    assert made["config"]["options"]["target"] == "bundled:efficientnet_lite1@240"
    assert cell["low"] <= cell["value"] <= cell["high"]
    assert "difference" not in cell, "stand-ins may not be subtracted from the paper"
    index = strict_json.read(out / "provenance.json")
    assert set(index["tables"]) == set(ONLY)
    assert (
        index["tables"]["2"]["stores"]["stores/textiles_train.zarr"]
        == made["stores"]["train"]["sources"]
    )


def test_named_images_are_told_from_bundled_ones(config, out):
    named = config.read_text().split("train = '")[1].split("'")[0]
    (data,) = [n for n in strict_json.read(out / "table02.json")["footnotes"] if "Data: " in n]
    assert data.startswith(f"Data: {named}, csv:")
    assert "woven cloth" not in data
    assert "bundled rendered scenes" in (out / "table12.md").read_text(encoding="utf-8")
    header = (out / "report.html").read_text(encoding="utf-8").split("<nav>")[0]
    assert f"images that the config names ({named}, csv:" in header
    assert "images that come as packages" not in header


def test_only_the_family_with_stand_ins_is_filled(out):
    rows = strict_json.read(out / "table12.json")["rows"]
    filled = {row["label"][0] for row in rows if "value" in row["cells"]["miou"]}
    assert filled == {"DINOv2-Base-S2"}
    assert all(row["cells"]["miou"]["published"] for row in rows)


def test_sources_measured_one_by_one_are_compared_on_the_same_resamples(out):
    found = strict_json.read(out / "table12.json")["comparisons"]
    assert [comparison["interval"] for comparison in found] == ["paired"]
    assert found[0]["low"] <= found[0]["here"] <= found[0]["high"]


def test_a_second_call_does_nothing(config, out, capsys):
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    capsys.readouterr()
    assert tables("--config", config, "--out", out, "--only", *ONLY) == 0
    assert "nothing to do: 4 table(s)" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == before


def test_a_table_that_lost_a_file_is_written_again_from_what_is_kept(config, out, capsys):
    (out / "table02.md").unlink()
    assert tables("--check", out) == 1
    assert "table 2 is stale: table02.md is gone" in capsys.readouterr().out
    assert tables("--config", config, "--out", out, "--only", "2", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert done["written"] == ["2"]
    assert "0 measurement(s), 0 store(s)" in done["done"]
    assert tables("--check", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["current"]


@pytest.mark.parametrize("name", ["table02.csv", "table02.json"])
def test_a_table_changed_by_hand_is_written_again(config, copy, capsys, name):
    right = (copy / "table02.csv").read_bytes()
    (copy / name).write_text((copy / name).read_text().replace("1", "2"))
    assert tables("--check", copy) == 1
    assert f"{name} was changed since it was written" in capsys.readouterr().out
    assert tables("--config", config, "--out", copy, "--only", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["written"] == ["2"]
    assert (copy / "table02.csv").read_bytes() == right
    assert tables("--check", copy) == 0


def test_json_of_tables_that_are_current_is_what_is_kept(config, out, capsys):
    capsys.readouterr()
    assert tables("--config", config, "--out", out, "--only", "2", "10", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["written"] == []
    kept = {key: strict_json.read(out / f"table{key:0>2}.json") for key in ("2", "10")}
    assert found["tables"] == kept


def test_the_resolved_config_of_the_analysis_is_kept(out):
    (made,) = strict_json.read(out / "table02.json")["measurements"].values()
    resolved = made["config"]["resolved"]
    assert (resolved["folds"], resolved["resamples"], resolved["ridge"]) == (5, 1000, "auto")


def test_every_written_text_says_what_it_was_made_of(out):
    texts = sorted(p for p in out.iterdir() if p.suffix in (".md", ".tex", ".html"))
    texts.remove(out / "report.html")
    assert len(texts) == 4 * 3 + 1
    for path in texts:
        record = strict_json.read(out / f"{path.stem.partition('_')[0]}.json")
        said = path.read_text(encoding="utf-8")
        verb = "; written" if record["measurements"] else "Made"
        assert f"{verb} {record['date']}, version" in said, path
        for store in record["measurements"].values():
            assert "Measured 2" in said
            for held in store["stores"].values():
                assert held["path"] in said
                assert all(identity[:10] in said for identity in held["sources"].values())


@pytest.mark.parametrize("name", ["provenance.json", "report.html"])
@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_a_call_without_work_renews_an_overview_that_is_out_of_step(
    config, copy, capsys, name, harm
):
    right = (copy / "report.html").read_text(encoding="utf-8")
    if harm == "gone":
        (copy / name).unlink()
    else:
        text = (copy / name).read_text(encoding="utf-8")
        (copy / name).write_text(text.replace("table02", "table03").replace("<h1>", "<h1>Old: "))
    capsys.readouterr()
    assert tables("--config", config, "--out", copy, "--only", "10") == 0
    assert "nothing to do: 1 table(s)" in (said := capsys.readouterr().out)
    assert "renewed report.html and provenance.json" in said
    assert (copy / "report.html").read_text(encoding="utf-8") == right
    assert strict_json.read(copy / "provenance.json")["tables"]["2"]["file"] == "table02.json"
    assert tables("--config", config, "--out", copy, "--only", "10") == 0
    assert "renewed" not in capsys.readouterr().out


def test_cost_columns_alone_leave_the_files_of_tables_as_they_are(copy, capsys):
    before = {path: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    assert tables("--only", "10", "--columns", "cost", "--out", copy) == 0
    new = {p.name for p in copy.iterdir() if p.is_file() and before.get(p) != p.read_bytes()}
    assert new == {"table10_cost_columns.md", "table10_cost_columns.csv"}


def test_changed_code_of_cost_columns_makes_them_stale(config, copy, capsys, monkeypatch):
    right = code_hash.blocks_sha256
    monkeypatch.setattr(
        code_hash, "blocks_sha256", lambda kinds: "changed" if "cost" in kinds else right(kinds)
    )
    states = {f["table"]: f for f in check(copy)}
    assert states["10"]["state"] == "stale"
    (reason,) = states["10"]["reasons"]
    assert reason.startswith("the code behind “Cost columns, ")
    assert reason.endswith("has changed")
    assert states["2"]["state"] == "current"
    capsys.readouterr()
    assert tables("--config", config, "--out", copy, "--only", "10", "--json") == 0
    assert json.loads(capsys.readouterr().out)["written"] == ["10"]
    assert {f["table"]: f["state"] for f in check(copy)}["10"] == "current"


def test_tables_measured_by_older_analysis_code_are_stale(copy, capsys, monkeypatch):
    monkeypatch.setattr(code_hash, "measuring_sha256", lambda: "new")
    states = {f["table"]: (f["state"], f["reasons"]) for f in check(copy)}
    assert states["2"] == ("stale", ["measured by older analysis code; run again"])
    assert states["10"] == states["2"], "committed trials are read by that code as well"
    assert tables("--check", copy, "--json") == 1
    assert not json.loads(capsys.readouterr().out)["current"]


def test_a_class_named_like_a_script_stays_text(out):
    for name in ("report.html", "figure07.html", "figure07_gallery.html", "figure07.svg"):
        text = (out / name).read_text(encoding="utf-8")
        assert "<script" not in text.lower()
    assert "&lt;script&gt;" in (out / "figure07_gallery.html").read_text(encoding="utf-8")


@pytest.fixture
def copy(out, tmp_path):
    """The run's folder, copied to another place."""
    return Path(shutil.copytree(out, tmp_path / "copy"))


def test_a_copied_folder_speaks_of_its_own_stores(config, copy, capsys, monkeypatch):
    assert {f["state"] for f in check(copy)} == {"current"}
    assert tables("--config", config, "--out", copy, "--only", *ONLY) == 0
    said = capsys.readouterr().out
    assert "nothing to do: 4 table(s)" in said
    assert "renewed" not in said
    monkeypatch.chdir(copy)
    assert tables("--check", ".") == 0
    shutil.rmtree(copy / "stores")
    found = {f["table"]: f for f in check(copy)}
    assert [f["state"] for f in found.values()] == ["stale", "current", "stale", "stale"]
    assert f"{copy}/stores/textiles_train.zarr cannot be opened" in found["2"]["reasons"][0]


def test_stores_that_moved_are_recorded_where_they_lie_now(config, copy, capsys):
    moved = copy.parent / "moved"
    (copy / "stores").rename(moved)
    other = copy.parent / "other.toml"
    other.write_text(f"stores = '{moved}'\n" + config.read_text())
    assert tables("--config", other, "--out", copy, "--only", *ONLY) == 0
    assert "0 measurement(s), 0 store(s) extended" in capsys.readouterr().out
    assert {f["state"] for f in check(copy)} == {"current"}
    for path in [copy / "table02.json", copy / "table12.json", *copy.glob("measured/*.json")]:
        record = strict_json.read(path)
        kept = record["measurements"].values() if "key" in record else [record["provenance"]]
        stores = [store["path"] for made in kept for store in made["stores"].values()]
        assert all(path.startswith(f"{moved}/") for path in stores)
    assert f"features: {moved}/textiles_train.zarr (" in (copy / "table02.md").read_text()


def test_changed_features_make_their_tables_stale(copy, capsys):
    store = feature_store.open(copy / "stores/scenes_train.zarr")
    group = store.source("bundled:efficientnet_lite0@224").group
    attrs = read_attributes(store.objects, group)
    manifest = attrs["manifest"] | {"code_sha256": "another"}
    changed = {"manifest": manifest, "identity": protocol.identity(manifest)}
    put_attributes(store.objects, group, attrs | changed)
    states = {f["table"]: f["state"] for f in check(copy)}
    assert states == {"2": "current", "10": "current", "12": "stale", "figure7": "current"}
    capsys.readouterr()
    assert tables("--check", copy) == 1
    said = capsys.readouterr().out
    assert "table 12 is stale" in said
    assert "extracted again with other settings" in said
    assert "3 of 4 tables" in said


def test_a_store_that_is_gone_makes_its_tables_stale(copy):
    shutil.rmtree(copy / "stores/scenes_test.zarr")
    found = {f["table"]: f for f in check(copy)}
    assert found["12"]["state"] == "stale"
    assert "cannot be opened" in found["12"]["reasons"][0]


def test_a_mixed_table_is_refused_by_check(copy):
    path = copy / "table12.json"
    table = strict_json.read(path)
    first = next(iter(table["measurements"].values()))
    sources = first["stores"]["test"]["sources"]
    sources[next(iter(sources))] = "another"
    # The same source of the same store, under another identity, in a second measurement.
    table["measurements"]["other"] = json.loads(json.dumps(first))
    table["measurements"]["other"]["stores"]["test"]["image_ids_sha256"] = "another"
    strict_json.write(table, path)
    found = {f["table"]: f for f in check(copy)}
    assert found["12"]["state"] == "mixed"
    assert any("images in 2 versions" in reason for reason in found["12"]["reasons"])


def test_a_larger_limit_extracts_the_missing_images_and_measures_again(config, copy, capsys):
    more = copy.parent / "more.toml"
    more.write_text(config.read_text().replace("train_limit = 14", "train_limit = 16"))
    capsys.readouterr()
    assert tables("--config", more, "--out", copy, "--only", "2") == 0
    said = capsys.readouterr()
    assert "2 image(s) to compute" in said.err
    assert "1 measurement(s), 1 store(s) extended" in said.out
    (made,) = strict_json.read(copy / "table02.json")["measurements"].values()
    assert made["stores"]["train"]["images"] == 16
    assert len(list(copy.glob("stores/moments_*"))) == 2, "the former moments are not mixed in"


def test_a_store_of_other_images_is_refused_before_anything_runs(config, copy, capsys):
    other = copy.parent / "other.toml"
    text = config.read_text()
    other.write_text(text.replace("test_limit = 2", "test = 'bundled:scenes:train'"))
    before = sorted(copy.rglob("*"))
    capsys.readouterr()
    assert tables("--config", other, "--out", copy, "--only", "12") == 2
    said = capsys.readouterr().err
    assert "scenes_test.zarr holds features of bundled:scenes:test" in said
    assert "datasets.scenes.test is bundled:scenes:train" in said
    assert sorted(copy.rglob("*")) == before


def test_a_folder_of_another_profile_is_refused(out, tmp_path, capsys):
    config = tmp_path / "paper.toml"
    names = "".join(
        f"[datasets.{key}]\ntrain = 'bundled:textiles:train'\ntest = 'bundled:textiles:test'\n"
        for key in ("imagenet", "ade20k", "nyuv2")
    )
    config.write_text(names, encoding="utf-8")
    status = tables("--profile", "paper", "--config", config, "--only", "1", "--out", out)
    assert status == 2
    assert "holds tables of the profile bundled" in capsys.readouterr().err
    copy = shutil.copytree(out, tmp_path / "copy")
    (copy / "provenance.json").unlink()  # as where a run was killed before it was written
    status = tables("--profile", "paper", "--config", config, "--only", "1", "--out", copy)
    assert status == 2
    assert "holds table 2 of the profile bundled" in capsys.readouterr().err


def test_foreign_json_is_named_before_anything_runs(tmp_path, capsys):
    (tmp_path / "notes.json").write_text("{'not': json}", encoding="utf-8")
    assert tables("--only", "4", "--out", tmp_path) == 2
    said = capsys.readouterr().err
    assert "notes.json cannot be read as JSON" in said
    assert "a file of your own, move it out of this folder" in said
    assert [p.name for p in tmp_path.iterdir()] == ["notes.json"]
    (tmp_path / "notes.json").rename(tmp_path / "table04.json")
    (tmp_path / "table04.json").write_text("{}", encoding="utf-8")
    assert tables("--only", "4", "--out", tmp_path) == 2
    assert "table04.json is not a table" in capsys.readouterr().err
    assert (tmp_path / "table04.json").read_text(encoding="utf-8") == "{}"
    (tmp_path / "table04.json").rename(tmp_path / "provenance.json")
    (tmp_path / "provenance.json").write_text("[]", encoding="utf-8")
    assert tables("--only", "4", "--out", tmp_path) == 2
    assert "holds a provenance.json of other work" in capsys.readouterr().err


def test_table_2_shows_the_paper_checked_against_itself(out):
    (block,) = strict_json.read(out / "table02.json")["blocks"]
    assert "7 under base 2, 2 under base e, 0 under base 10" in block["caption"]
    contradicted = [r for r in block["records"] if r["cells that do not follow"]]
    assert [(r["target"], r["split"]) for r in contradicted] == [("OpenCLIP Large", "test")]
    assert block["title"] in (out / "report.html").read_text(encoding="utf-8").replace(
        "&#x27;", "'"
    )


def test_paper_without_data_names_the_key(tmp_path, capsys):
    assert tables("--profile", "paper", "--only", "5", "--out", tmp_path) == 2
    assert "datasets.imagenet.train is not set" in capsys.readouterr().err


def test_check_of_an_empty_folder_is_misuse(tmp_path, capsys):
    assert tables("--check", tmp_path) == 2
    assert "holds no tables" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--check", ".", "--only", "5"), "--check looks at every table of its folder"),
        (("--check", ".", "--config", "c.toml", "--out", "x"), "takes no --config or --out"),
        (("--check", ".", "--columns", "cost", "--dry-run"), "takes no --dry-run or --columns"),
        (("--columns", "cost", "--dry-run"), "--columns cost reads no images and stores"),
        (("--columns", "cost", "--config", "c.toml"), "takes no --config; leave it out"),
    ],
)
def test_options_that_would_not_be_looked_at_are_refused(capsys, given, said):
    assert tables(*given) == 2
    assert said in capsys.readouterr().err


def test_measured_speed_beside_table_13(tmp_path, capsys, monkeypatch):
    asked = []

    def timed(model, scales, config, **_):
        asked.append((model, tuple(scales), config.batch))
        return SimpleNamespace(median=69.25, low=60.0, high=70.0, device="a device")

    monkeypatch.setattr("workbench.cost.throughput", timed)
    assert tables("--only", "13", "--columns", "cost", "--out", tmp_path, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["tables"]["13"]
    assert asked[1] == ("timm:vit_base_patch14_dinov2.lvd142m:224", ("224", "448"), 1)
    assert rows[0]["images_per_s"] == 138.5
    assert rows[0]["images_per_s_here"] == 69.25
    assert rows[0]["images_per_s_deviation"] == pytest.approx(-0.5)
    assert "only ratios between rows compare" in rows[0]["images_per_s_explanation"]
    at_518 = next(row for row in rows if row["scales"] == "518")
    assert at_518["images_per_s_here"] is None
    assert "--profile paper" in at_518["images_per_s_explanation"]


def test_a_speed_is_measured_again_for_another_device_version_or_code(
    tmp_path, capsys, monkeypatch
):
    def timed(model, scales, config, **_):
        return SimpleNamespace(median=69.25, low=60.0, high=70.0, device="a device")

    monkeypatch.setattr("workbench.cost.throughput", timed)
    versions = dict(code_hash.model_library_versions())

    def measured():
        assert tables("--only", "13", "--out", tmp_path, "--json") == 0
        return int(re.search(r"(\d+) measurement", json.loads(capsys.readouterr().out)["done"])[1])

    assert measured() == 5
    monkeypatch.setattr(code_hash, "timing_sha256", lambda: "other")
    assert measured() == 5
    monkeypatch.setattr(code_hash, "model_library_versions", lambda: versions | {"timm": "0"})
    assert measured() == 5
    monkeypatch.setattr(
        "workbench.tables.pipeline.measuring.describe_device", lambda device: "another"
    )
    assert measured() == 5
    made = next(iter(strict_json.read(tmp_path / "table13.json")["measurements"].values()))
    assert made["machine"]["device"] == "another"
    assert made["machine"]["libraries"]["timm"] == "0"


def test_a_measurement_that_fails_keeps_no_other_table_from_being_written(
    config, copy, capsys, monkeypatch
):
    def refused(*_):
        raise InputError("no labels here")

    monkeypatch.setitem(ANALYSES, "hard", Analysis(run=refused, joint=True))
    for path in (*copy.glob("measured/*.json"), copy / "table02.md", copy / "table10.md"):
        path.unlink()
    assert tables("--config", config, "--out", copy, "--only", *ONLY, "--json") == 2
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["failed"] == {"figure7": "no labels here"}
    assert found["written"] == ["2", "10"]
    assert list(found["tables"]) == ["2", "10", "12"]
    assert "1 table(s) could not be made. table figure7: no labels here" in said.err
    assert tables("--config", config, "--out", copy, "--only", "2", "10", "12") == 0
    assert "nothing to do: 3 table(s)" in capsys.readouterr().out


def test_where_nothing_can_be_measured_nothing_is_written(tmp_path, capsys, monkeypatch):
    def refused(*_):
        raise InputError("no clock")

    monkeypatch.setitem(ANALYSES, "throughput", Analysis(run=refused))
    assert tables("--only", "13", "--out", tmp_path) == 2
    assert "wrote 0 table(s)" in (said := capsys.readouterr()).out
    assert "1 table(s) could not be made. table 13: no clock" in said.err
    assert list(tmp_path.iterdir()) == []


def test_figures_of_a_table_that_failed_fail_with_it(tmp_path, monkeypatch):
    specs = [
        TableSpec(key=key, title="", question="", paper="s2", reference="", uses=uses)
        for key, uses in (("figure", ("a",)), ("a", ()), ("b", ()))
    ]
    build = content.build

    def built(spec, *arguments):
        if spec.key == "a":
            raise InputError("mixed")
        return build(spec, *arguments)

    monkeypatch.setattr(content, "build", built)
    given = configs.load("bundled", tmp_path, None)
    outcome = run.run(planning.make(specs, given), given, tmp_path, print)
    assert outcome.failed == {"a": "mixed", "figure": "it draws table a, which cannot be made"}
    assert outcome.written == ["b"]


def test_cost_columns_alone(tmp_path, capsys):
    arguments = ("--only", "10", "--columns", "cost", "--out", tmp_path, "--json")
    assert tables(*arguments) == 0
    rows = json.loads(capsys.readouterr().out)["tables"]["10"]
    assert rows[0]["gmacs"] == pytest.approx(17.5, rel=0.03)
    assert "\nMade 2" in (tmp_path / "table10_cost_columns.md").read_text(encoding="utf-8")
    assert tables("--only", "2", "--columns", "cost") == 2
    assert "table 2 has no cost columns; choose from 5, 6" in capsys.readouterr().err
