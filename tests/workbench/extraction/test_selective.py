"""Selective extraction: against full maps that are filled later, resumed, counted and refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import feature_store
from analyses.scale_selection.config import SIMPLE
from analyses.scale_selection.layout import Layout, fill
from analyses.scale_selection.policies import FittedPolicy, simple_keys, simple_threshold
from feature_store import InputError
from feature_store.verify import verify
from workbench.commands.extract import summary
from workbench.extraction import ExtractRequest, extract, selective
from workbench.extraction.run import Extraction
from workbench.figures.curve import with_cost

MODEL = "random:timm:test_vit.r160_in1k"
TAP = f"{MODEL}#final"
SCALES = ("1x", "2x", "3x")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("images")
    for k in range(7):
        pixels = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((200, 180 + k)).save(root / f"{k}.png")
    return root


def ask(folder, store, **changes):
    given = {"scales": SCALES, "models": [MODEL], "dtype": "float32", "batch": 2}
    return ExtractRequest(
        dataset=f"folder:{folder}", store=str(store), **given | {"shard_images": 3} | changes
    )


def stored(folder, store, **changes):
    extract(ask(folder, store, **changes))
    return feature_store.open(store)


@pytest.fixture(scope="module")
def full(folder, tmp_path_factory):
    """All crops, as merged and as pooled maps."""
    scales = ("1x", "2x", "3x", "2x.unpooled", "3x.unpooled", "400.pad", "400.pad.unpooled")
    return stored(folder, tmp_path_factory.mktemp("full") / "s", scales=scales)


@pytest.mark.parametrize("policy", SIMPLE)
@pytest.mark.parametrize("scales", [SCALES, ("1x", "400.pad")])
def test_stored_maps_are_full_maps_filled_by_the_policy(full, folder, tmp_path, policy, scales):
    store = stored(folder, tmp_path / "s", scales=scales, select=policy, budget=0.3)
    layout = Layout.stored(full, MODEL, scales)
    base = full.features(f"{MODEL}@1x").values
    keys = simple_keys(policy, layout, base, full.image_ids.tolist())
    chosen = keys >= simple_threshold(layout, 0.3)
    assert 0 < chosen.sum() < chosen.size
    maps = [full.features(scale.name).values for scale in layout.scales]
    expected = fill(layout, base, maps, chosen)
    found = store.features(f"{MODEL}@{'+'.join(scales)}").values
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_both_ends_are_the_full_maps_and_the_base_map(full, folder, tmp_path):
    every = stored(folder, tmp_path / "all", select="random", budget=1)
    for scale in SCALES:
        name = f"{MODEL}@{scale}"
        np.testing.assert_allclose(
            every.features(name).values, full.features(name).values, atol=2e-5
        )
        np.testing.assert_allclose(every.prefix(name).values, full.prefix(name).values, atol=2e-5)
    none = stored(folder, tmp_path / "none", select="norm", budget=0)
    base = none.features(f"{MODEL}@1x").values
    np.testing.assert_array_equal(none.features(f"{MODEL}@3x").values, base)
    np.testing.assert_allclose(
        none.prefix(f"{MODEL}@3x").values, none.prefix(f"{MODEL}@1x").values, atol=1e-6
    )


def test_merged_maps_pool_to_the_pooled_ones(folder, tmp_path):
    scales = ("1x", "2x", "2x.unpooled")
    store = stored(folder, tmp_path / "s", scales=scales[::2], select="norm", budget=0.5)
    pooled = stored(folder, tmp_path / "p", scales=scales[:2], select="norm", budget=0.5)
    merged = store.features(f"{MODEL}@2x.unpooled").values
    small = merged.reshape(7, 10, 2, 10, 2, -1).mean((2, 4))
    np.testing.assert_allclose(small, pooled.features(f"{MODEL}@2x").values, atol=2e-5)


def test_only_chosen_crops_run_and_batches_do_not_matter(folder, tmp_path, monkeypatch):
    ran, run_crops = [], selective.run_crops
    monkeypatch.setattr(
        selective, "run_crops", lambda b, crops, limit: ran.append(len(crops)) or
        run_crops(b, crops, limit),
    )  # fmt: skip
    first = stored(folder, tmp_path / "a", select="random", budget=0.4)
    crops = sum(ran)
    assert abs(crops - 0.4 * 13 * 7) <= 4
    other = stored(folder, tmp_path / "b", select="random", budget=0.4, batch=3, max_crops=1)
    assert sum(ran) == 2 * crops
    for name in first.sources():
        np.testing.assert_allclose(
            first.features(name).values, other.features(name).values, atol=2e-5
        )


def test_a_killed_run_resumes_with_the_same_bits(folder, tmp_path, monkeypatch):
    whole = stored(folder, tmp_path / "whole", select="norm", budget=0.5)
    compute = Extraction._compute

    def dies(self, batch, buffers):
        if batch.shard == 1 and batch.rows[0] > 3:
            raise KeyboardInterrupt
        compute(self, batch, buffers)

    monkeypatch.setattr(Extraction, "_compute", dies)
    with pytest.raises(KeyboardInterrupt):
        extract(ask(folder, tmp_path / "cut", select="norm", budget=0.5))
    monkeypatch.undo()
    cut = feature_store.open(tmp_path / "cut")
    assert cut.source(f"{TAP}@320").missing()
    resumed = stored(folder, tmp_path / "cut", select="norm", budget=0.5)
    for name in whole.sources():
        assert resumed.source(name).identity == whole.source(name).identity
        np.testing.assert_array_equal(resumed.features(name).values, whole.features(name).values)
    assert [p for s in resumed.sources() for p in resumed.source(s).missing()] == []


def test_identity_names_policy_and_budget_and_the_base_scale_is_as_ever(full, folder, tmp_path):
    store = stored(folder, tmp_path / "s", select="norm", budget=0.5)
    said = store.source(f"{TAP}@320").manifest["selection"]
    assert (said["policy"], said["budget"]) == ("norm", 0.5)
    assert store.source(f"{TAP}@160").identity == full.source(f"{TAP}@160").identity
    for changes in ({"budget": 0.25}, {"select": "centre"}, {"select": None, "budget": None}):
        with pytest.raises(InputError, match="320"):
            extract(ask(folder, tmp_path / "s", **{"select": "norm", "budget": 0.5} | changes))
    with pytest.raises(InputError, match="320 .* was extracted with --select"):
        Layout.stored(store, MODEL, SCALES)


def test_a_fitted_policy_runs_and_another_model_s_is_refused(full, folder, tmp_path):
    layout = Layout.stored(full, MODEL, ["1x", "2x"])
    channels = full.source(f"{TAP}@160").channels
    policy = FittedPolicy(
        model=TAP, weights_sha256=full.source(f"{TAP}@160").manifest["weights_sha256"],
        layout=layout.describe(), target="probe", offset=(0.0, 1.0, 2.0, 3.0),
        weights=(0.0,) * 2 * channels, thresholds=tuple(np.linspace(3.0, 0.0, 101)),
    )  # fmt: skip
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy.as_json()))
    changes = {"scales": ("1x", "2x"), "select": str(path), "budget": 0.5}
    store = stored(folder, tmp_path / "s", **changes)  # crops 2 and 3 of each image are run
    every = full.features(f"{MODEL}@2x").values
    found = store.features(f"{MODEL}@2x").values
    np.testing.assert_array_equal(found[:, :5], store.features(f"{MODEL}@1x").values[:, :5])
    np.testing.assert_allclose(found[:, 5:], every[:, 5:], atol=2e-5)
    assert len(store.source(f"{TAP}@320").manifest["selection"]["policy_sha256"]) == 64
    path.write_text(json.dumps(replace(policy, model="m:other#t").as_json()))
    with pytest.raises(InputError, match="fitted on m:other#t, found random:timm:test_vit"):
        extract(ask(folder, tmp_path / "t", **changes))
    path.write_text(json.dumps(replace(policy, weights_sha256="f" * 64).as_json()))
    with pytest.raises(InputError, match="weights ffffffffffff, found weights"):
        extract(ask(folder, tmp_path / "u", **changes))
    path.write_text(json.dumps(policy.as_json()))
    with pytest.raises(InputError, match="320 in 2 x 2 crops .* found .*480 in 3 x 3"):
        extract(ask(folder, tmp_path / "t", **changes | {"scales": SCALES}))
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("policy", SIMPLE)
def test_a_store_grows_is_verified_and_stays_what_one_run_makes(folder, tmp_path, policy):
    whole = stored(folder, tmp_path / "whole", select=policy, budget=0.5)
    photos = tmp_path / "photos"
    photos.mkdir()
    for part in (("0", "3", "4"), ("1", "2", "5", "6")):
        for name in part:
            (photos / f"{name}.png").write_bytes((folder / f"{name}.png").read_bytes())
        grown = stored(photos, tmp_path / "grown", select=policy, budget=0.5)
    place = {image_id: row for row, image_id in enumerate(grown.image_ids)}
    rows = [place[image_id] for image_id in whole.image_ids]
    for name in whole.sources():
        np.testing.assert_allclose(
            grown.features(name).values[rows], whole.features(name).values, atol=2e-5
        )
    assert verify(feature_store.open(tmp_path / "grown")).problems == []


def test_workers_write_what_one_process_writes(folder, tmp_path):
    pytest.importorskip("distributed")
    from workbench.cluster import EngineOptions
    from workbench.cluster.engine import connect
    from workbench.cluster.extraction import extract_on

    here = extract(ask(folder, tmp_path / "here", select="norm", budget=0.4))
    with connect(EngineOptions(engine="dask", processes=2)) as session:
        there = extract_on(session, ask(folder, tmp_path / "there", select="norm", budget=0.4))
    assert 0 < here.crops == there.crops < 13 * 7
    assert f"{here.crops / 7:.2f} selected crops an image" in summary(here)
    one, other = (feature_store.open(tmp_path / name) for name in ("here", "there"))
    for name in one.sources():
        assert one.source(name).identity == other.source(name).identity
        np.testing.assert_array_equal(one.features(name).values, other.features(name).values)


def test_the_budget_counts_in_the_cost(full, folder, tmp_path):
    store = stored(folder, tmp_path / "s", select="norm", budget=0.25)
    table = pd.DataFrame({"source": [f"{TAP}@160", f"{TAP}@160+320+480"]})
    one, some = with_cost(table, store)["gmacs"]
    assert some / one == pytest.approx(1 + 0.25 * 13)
    assert with_cost(table, full)["gmacs"][1] / one == pytest.approx(14)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"select": "norm"}, "budget is None"),
        ({"budget": 0.5}, "select is None"),
        ({"select": "norm", "budget": 1.5}, r"budget is 1\.5"),
        ({"select": "oracle", "budget": 0.5}, "select is oracle"),
        ({"select": "no/such.json", "budget": 0.5}, "no/such.json is not a fitted policy"),
        ({"select": "norm", "budget": 0.5, "scales": ("2x", "3x")}, "expected 1x"),
        ({"select": "norm", "budget": 0.5, "scales": ("1x",)}, "no larger scale"),
        ({"select": "norm", "budget": 0.5, "scales": ("1x", "320.whole")}, r"320\.whole"),
        ({"select": "norm", "budget": 0.5, "accept_code": True}, "accept_code"),
    ],
)
def test_what_cannot_be_selected_is_refused(folder, tmp_path, changes, found):
    with pytest.raises(InputError, match=found):
        extract(ask(folder, tmp_path / "s", **changes))
    assert not (tmp_path / "s").exists()
