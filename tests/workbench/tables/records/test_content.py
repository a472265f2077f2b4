"""Differences, their intervals and verdicts; provenance; what may not be mixed."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from PIL import Image

import feature_store
from feature_store import InputError
from workbench.datasets import Dataset
from workbench.results import strict_json
from workbench.tables.pipeline import config as configs
from workbench.tables.pipeline.plan import Measurement, MeasurementPlan
from workbench.tables.records import compare, content, freshness, provenance
from workbench.tables.records.measurement import Measured, StoredMeasurement
from workbench.tables.specs.schema import Comparison, DataNote, Metric, Quantity, Setup, TableSpec

COMPARISON = Comparison(question="a against b", metric="m", a=("a",), b=("b",))


def test_unpaired_interval_is_that_of_two_normal_means():
    # Symmetric intervals: the half-width is the root of the sum of squares.
    a, b = {"value": 5.0, "low": 2.0, "high": 8.0}, {"value": 1.0, "low": -3.0, "high": 5.0}
    assert compare.difference_interval(a, b, COMPARISON, None) == (4.0 - 5.0, 4.0 + 5.0, "unpaired")


def test_common_resamples_give_a_paired_interval():
    draws = np.linspace(0, 1, 1001)
    low, high, how = compare.difference_interval({}, {}, COMPARISON, draws)
    assert (low, high, how) == (pytest.approx(0.025), pytest.approx(0.975), "paired")


def compared(draws, other=None):
    """Sources a and b in separate calls of one analysis on the same images."""
    quantities = {
        (name,): Quantity(analysis="probe", field="top1", data="toy", source=f"{name}@1")
        for name in "ab"
    } | (other or {})  # fmt: skip
    spec = TableSpec(
        key="t", title="", question="", paper="s2", reference="", label=("x",),
        rows=(("a",), ("b",)), metrics=(Metric(column="m", name="m"),),
        setups={"bundled": Setup(quantities={"m": quantities})}, comparisons=(COMPARISON,),
    )  # fmt: skip
    of = {
        quantity: Measurement(
            analysis=quantity.analysis, data=quantity.data, options=(), sources=(quantity.source,)
        )
        for quantity in quantities.values()
    }
    rows = [
        {"label": [name], "cells": {"m": {"published": 1, "value": 2, "low": 1, "high": 3}}}
        for name in "ab"
    ]
    measured = {
        of[quantity]: StoredMeasurement(
            "mark",
            Measured({}, {quantity.source: {quantity.field: draws[n]}} if draws else {}),
            {},
        )
        for n, quantity in enumerate(quantities.values())
    }
    plan = MeasurementPlan([spec], list(of.values()), of)
    return compare.compare(COMPARISON, spec, plan, "bundled", measured, rows)


def test_separate_calls_on_the_same_images_are_paired():
    found = compared([[1.0, 2.0, None, 4.0], [1.0, 2.0, 3.0, 4.0]])
    assert (found["low"], found["high"], found["interval"]) == (0, 0, "paired")
    assert found["verdict"] == "undecided"
    found = compared([[2.0, 4.0, 6.0], [1.0, 2.0, 3.0]])
    assert (found["low"], found["high"]) == (pytest.approx(1.05), pytest.approx(2.95))


def test_rows_without_common_images_or_draws_are_not_paired():
    assert compared([])["interval"] == "unpaired"
    draws = [[1.0, 2.0], [1.0, 2.0]]
    assert compared(draws)["interval"] == "paired"
    for other in ({"data": "others"}, {"analysis": "few_shot"}):
        quantity = Quantity(
            **{"analysis": "probe", "field": "top1", "data": "toy", "source": "b@1"} | other
        )
        assert compared(draws, {("b",): quantity})["interval"] == "unpaired"


@pytest.mark.parametrize(
    ("paper", "here", "ends", "said"),
    [
        (1.0, 2.0, (1.0, 3.0), "same direction"),
        (1.0, -2.0, (-3.0, -1.0), "opposite direction"),
        (1.0, 2.0, (-1.0, 5.0), "undecided"),
        (-1.0, -2.0, (None, None), "same direction (no interval)"),
        (None, 2.0, (1.0, 3.0), "higher here; the paper prints none"),
        (0.0, -2.0, (None, None), "lower here; the paper prints no difference"),
        (1.0, None, (None, None), ""),
    ],
)
def test_verdicts(paper, here, ends, said):
    assert compare.verdict(paper, here, ends) == said


def test_a_ratio_is_compared_with_one():
    assert compare.verdict(0.8, 0.7, (0.6, 0.9), 1.0) == "same direction"


@pytest.mark.parametrize("lost", ["values", "resampled", "notes", "detail", "config", "provenance"])
def test_a_measurement_that_is_not_whole_is_named(tmp_path, lost):
    made = {"stores": {}, "code": {}, "date": "now"}
    kept = StoredMeasurement("mark", Measured({"a": {"m": (1.0, None, None)}}), made)
    content.save_measured(tmp_path, kept)
    assert content.load_measured(tmp_path, "mark", ["a"]) == kept
    whole = strict_json.read(tmp_path / "mark.json")
    rest = {name: part for name, part in whole.items() if name != lost}
    for harmed in ({}, [], rest, whole | {"values": {}}, whole | {"provenance": {}}):
        strict_json.write(harmed, tmp_path / "mark.json")
        with pytest.raises(InputError, match="mark.json is not a whole measurement .* delete it"):
            content.load_measured(tmp_path, "mark", ["a"])


@pytest.fixture
def made(make_store):
    rng = np.random.default_rng(0)
    store = make_store("train", {"toy:m#t@224": rng.normal(size=(4, 2, 2, 3))})
    (single,) = [feature_store.Source.parse(name) for name in store.sources()]
    stores = provenance.of_stores({"train": store}, [single])
    return {"mark": {"stores": stores, "code": provenance.stamp(), "date": "today"}}


def test_fresh_results_are_neither_stale_nor_mixed(made, tmp_path):
    json.dumps(made)
    assert freshness.stale(made, tmp_path) == []
    provenance.refuse_mixed("5", made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s["sources"].update({"toy:m#t@224": "other"}), "toy:m#t@224 in 2 versions"),
        (lambda s: s.update(image_ids_sha256="other"), "images in 2 versions"),
        (lambda s: s["settings"].update(precision=["bf16"]), "features precision in 2 versions"),
    ],
)
def test_numbers_of_different_features_are_refused(made, change, said):
    other = copy.deepcopy(made["mark"])
    change(other["stores"]["train"])
    with pytest.raises(InputError, match=f"table 5 would mix .*{said}.*Extract the sources again"):
        provenance.refuse_mixed("5", made | {"second": other})


def test_numbers_of_different_crops_are_refused():
    image = Dataset(
        name="csv:a.csv", image_ids=["a"], labels=np.array([-1]), label_names=[], reader=bytes
    )

    def made(weights, arithmetic):
        settings = {"arithmetic": arithmetic}
        stores = provenance.of_images({"train": image}, "depth", {"m@1x": weights}, settings)
        return {"stores": stores, "code": provenance.stamp()}

    first = made("w", "fp32")
    provenance.refuse_mixed("7", {"a": first, "b": made("w", "fp32")})
    for other, said in ((("v", "fp32"), "m@1x"), (("w", "bf16"), "of crops: arithmetic")):
        second = made(*other)
        assert provenance.fingerprint({}, second["stores"]) != provenance.fingerprint(
            {}, first["stores"]
        )
        with pytest.raises(InputError, match=f"table 7 would mix .*{said} in 2 versions"):
            provenance.refuse_mixed("7", {"a": first, "b": second})


def test_staleness_says_what_changed(made, tmp_path):
    store = made["mark"]["stores"]["train"]
    store["sources"] = {"toy:m#t@224": "before", "toy:gone#t@224": "x"}
    lines = freshness.stale(made, tmp_path)
    assert "was extracted again with other settings" in lines[0]
    assert "no longer holds toy:gone#t@224" in lines[1]
    store["path"] += "-moved"
    assert "cannot be opened" in freshness.stale(made, tmp_path)[0]


def test_a_corrected_mask_makes_a_result_stale(tmp_path):
    rows = ["path,mask"]
    for name in "ab":
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
        np.save(tmp_path / f"{name}.npy", np.zeros((8, 8), np.int32))
        rows.append(f"{name}.png,{name}.npy")
    (tmp_path / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    store = feature_store.create(
        tmp_path / "s", dataset=f"csv:{tmp_path / 't.csv'}", image_ids=["a.png", "b.png"]
    )
    plain, dense = (
        {"mark": {"stores": provenance.of_stores({"test": store}, [], analysis)}}
        for analysis in ("probe", "segmentation")
    )
    assert freshness.stale(dense, tmp_path) == []
    np.save(tmp_path / "b.npy", np.ones((9, 9), np.int32))
    assert freshness.stale(plain, tmp_path) == []
    (line,) = freshness.stale(dense, tmp_path)
    assert "the segmentation maps of csv:" in line


def test_a_line_of_provenance_names_stores_and_drawn_tables(made):
    by = {"commit": "0123456789abcdef", "dirty": True, "version": "1.2"}
    store = made["mark"]["stores"]["train"]
    identity = store["sources"]["toy:m#t@224"]
    table = {"code": by, "date": "today", "measurements": made}
    earlier = {"commit": "a" * 40, "dirty": False, "version": "1.1"}
    made["mark"] |= {"date": "before", "code": earlier}
    assert provenance.line(table) == (
        "Measured before, version 1.1, commit aaaaaaaaaa; written today, version 1.2, commit "
        f"0123456789 with edits; features: {store['path']} (toy:m#t@224 {identity[:10]})."
    )
    figure = {"code": by, "date": "today", "measurements": {}, "uses": {"5": "abcdefghijklm"}}
    assert provenance.line(figure).startswith("Made today, version 1.2, commit 0123456789 with")
    made["second"] = made["mark"] | {"date": "then"}
    assert provenance.line(table).startswith("Measured before to then, version 1.1, commit aaa")
    assert provenance.line(figure).endswith("with what it draws of the tables 5 (abcdefghij).")


def test_maps_that_cannot_be_looked_at_are_a_reason_and_no_error(tmp_path, made):
    store = made["mark"]["stores"]["train"]  # its dataset, toy:train, does not exist
    store["maps"] = {"task": "segmentation", "sha256": "x"}
    (line,) = freshness.stale(made, tmp_path)
    assert "the segmentation maps of toy:train cannot be looked at (no dataset" in line
    asked = []

    def maps(path, task, images):
        asked.append((path, task, images))
        return "x"

    assert freshness.stale(made, tmp_path, maps) == []
    assert asked == [(store["path"], "segmentation", 4)]


def test_the_fingerprint_follows_features_and_call_but_not_the_path(made):
    stores = made["mark"]["stores"]
    mark = provenance.fingerprint({"a": 1}, stores)
    moved = copy.deepcopy(stores)
    moved["train"]["path"] = "elsewhere"
    assert provenance.fingerprint({"a": 1}, moved) == mark
    assert provenance.fingerprint({"a": 2}, stores) != mark
    moved["train"]["labels_sha256"] = "other"
    assert provenance.fingerprint({"a": 1}, moved) != mark


def built(tmp_path, config, images, *, profile="paper", deviations=()):
    """The content of a table of one comparable number on ImageNet or textiles, `images` a split."""
    path = tmp_path / "c.toml"
    path.write_text(config, encoding="utf-8")
    given = configs.load(profile, tmp_path, path)
    data = {"paper": "imagenet", "bundled": "textiles"}[profile]
    quantity = Quantity(analysis="probe", field="top1", data=data, source="m:a@224")
    spec = TableSpec(
        key="t", title="", question="", paper="s2", reference="",
        label=("family", "size", "scales"), published="s2_table05_imagenet",
        metrics=(Metric(column="top1", name="m"),),
        setups={profile: Setup(quantities={"top1": {("ViT", "Base", "224"): quantity}},
                               comparable=True, deviations=deviations)},
    )  # fmt: skip
    call = Measurement(analysis="probe", data=data, options=(), sources=(quantity.source,))
    made = {
        "code": {"code_sha256": "x"},
        "stores": {
            role: {"path": role, "dataset": split.dataset, "images": count, "sources": {},
                   "image_ids_sha256": role}
            for (role, split), count in zip(given.data[data].items(), images, strict=True)
        },
    }  # fmt: skip
    found = Measured({quantity.source: {"top1": (80.0, 79.0, 81.0)}})
    measured = {call: StoredMeasurement("mark", found, made)}
    return content.build(spec, MeasurementPlan([spec], [call], {quantity: call}), given, measured)


NAMED = "[datasets.imagenet]\ntrain = 'csv:a.csv'\ntest = 'csv:b.csv'\n"


@pytest.fixture
def no_cost(monkeypatch):
    monkeypatch.setattr(content, "_cost", lambda source: {})


def test_all_of_the_paper_s_images_are_compared_with_it(no_cost, tmp_path):
    table = built(tmp_path, NAMED, (1_281_167, 50_000))
    cell = table["rows"][0]["cells"]["top1"]
    assert table["comparable"]
    assert cell["difference"] == pytest.approx(80.0 - cell["published"])
    assert not any("n/c" in note for note in table["footnotes"])


def test_part_of_the_paper_s_images_is_not_compared_and_says_why(no_cost, tmp_path):
    table = built(tmp_path, NAMED + "train_limit = 1000\n", (1000, 49_000))
    cell = table["rows"][0]["cells"]["top1"]
    assert not table["comparable"]
    assert not cell["comparable"]
    assert "difference" not in cell
    notes = [note for note in table["footnotes"] if note.startswith("n/c")]
    assert notes == [
        "n/c on imagenet: datasets.imagenet.train gives 1,000 images, the paper's split has "
        "1,281,167, datasets.imagenet.train_limit being 1000.",
        "n/c on imagenet: datasets.imagenet.test gives 49,000 images, the paper's split has "
        "50,000.",
    ]


def test_footnotes_about_bundled_images_are_not_said_of_others(no_cost, tmp_path):
    note = DataNote(data="textiles", text="Data: cloth.", otherwise="Data: {datasets}, not cloth.")
    said = {"profile": "bundled", "deviations": (note.plus("Chance is 50 %."), "Always.")}
    own = built(tmp_path, "", (240, 180), **said)
    assert own["footnotes"][:2] == ["Data: cloth. Chance is 50 %.", "Always."]
    assert own["named"] == []
    other = built(tmp_path, "[datasets.textiles]\ntrain = 'folder:{x}'\n", (7, 180), **said)
    names = "folder:{x}, bundled:textiles:test"
    assert other["footnotes"][:2] == [f"Data: {names}, not cloth.", "Always."]
    assert other["named"] == [names]
