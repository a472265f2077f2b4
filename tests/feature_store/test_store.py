"""Create, write, open, compose, stream."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import feature_store
from feature_store import protocol
from feature_store.errors import InputError, StoreError

RNG = np.random.default_rng(0)
A = RNG.standard_normal((7, 2, 3, 4)).astype(np.float32)
B = RNG.standard_normal((7, 2, 3, 4)).astype(np.float32)
SOURCES = {"toy:a#blocks@224": A, "toy:a#blocks@448": B}


def test_features_are_what_was_written(make_store):
    store = make_store("s", SOURCES, shard_images=3)
    single = store.features("toy:a@224")
    assert single.dims == ("image", "row", "col", "channel")
    np.testing.assert_array_equal(single.values, A)
    both = store.features("toy:a#blocks@224+448")
    np.testing.assert_array_equal(both.values, np.concatenate([A, B], -1))
    assert list(both.scale.values) == ["224"] * 4 + ["448"] * 4
    np.testing.assert_array_equal(store.features("toy:a@224+448", merge="add").values, A + B)


def test_features_know_their_classes_and_can_be_written_as_netcdf(make_store, tmp_path):
    labels = [0, 1, 0, -1, 0, 1, 1]
    store = make_store("s", SOURCES, labels=labels, label_names=["cat", "dog"], dtype="float16")
    view = store.features("toy:a@224")
    assert view["label"].values.tolist() == ["cat", "dog", "cat", "", "cat", "dog", "dog"]
    means = view.groupby("label").mean("image")
    expected = A[[0, 2, 4]].astype(np.float16).astype(np.float32).mean(0)
    np.testing.assert_allclose(means.sel(label="cat").values, expected, atol=1e-3)
    view.to_netcdf(tmp_path / "view.nc")
    again = xr.open_dataarray(tmp_path / "view.nc")
    np.testing.assert_array_equal(again.values, view.values)
    assert "label" not in make_store("bare", SOURCES).features("toy:a@224").coords


def test_indexing_reads_what_numpy_would(make_store):
    view = make_store("s", SOURCES, shard_images=3).features("toy:a@224+448")
    full = np.concatenate([A, B], -1)
    np.testing.assert_array_equal(view[[6, 0, 3]].values, full[[6, 0, 3]])
    np.testing.assert_array_equal(view[5].values, full[5])
    np.testing.assert_array_equal(view[2:6, 1, :, 2:7:2].values, full[2:6, 1, :, 2:7:2])
    np.testing.assert_array_equal(view.sel(image="s/00004").values, full[4])


def test_plain_xarray_opens_the_store(make_store):
    store = make_store("s", SOURCES, shard_images=3, labels=[0, 1] * 3 + [0], label_names="ab")
    tree = xr.open_datatree(store.path, engine="zarr", consolidated=False)
    np.testing.assert_array_equal(tree["features/toy%3Aa/blocks/448/tokens"].values, B)
    assert list(tree["image_id"].values) == list(store.image_ids)
    assert tree["label"].values.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert (tree["status"].values == 1).all()


def test_stream_gives_every_good_image_once(make_store):
    store = make_store("s", SOURCES, shard_images=3, failed={4: "truncated"})
    batches = list(store.stream(["toy:a@224", "toy:a@224+448"]))
    index = np.concatenate([b.index for b in batches])
    assert index.tolist() == [0, 1, 2, 3, 5, 6]
    np.testing.assert_array_equal(
        np.concatenate([b.tokens["toy:a@224"] for b in batches]), A[index]
    )
    assert store.status.tolist() == ["ok"] * 4 + ["decode_failed"] + ["ok"] * 2
    assert np.isnan(store.features("toy:a@224")[4].values).all()


def test_prefix_tokens(make_store):
    cls = RNG.standard_normal((7, 1, 4)).astype(np.float32)
    store = make_store("s", SOURCES, prefix={"toy:a#blocks@224": cls})
    np.testing.assert_array_equal(store.prefix("toy:a@224").values, cls)
    with pytest.raises(InputError, match="prefix tokens"):
        store.prefix("toy:a@448")


def test_a_store_in_a_notebook_shows_every_source_escaped(tmp_path):
    store = feature_store.create(
        tmp_path / "s", dataset="<b>mine</b>", image_ids=["a", "b", "c"], shard_images=2
    )
    writer = store.add_source("toy:a#blocks@224", manifest={}, grid=(1, 1), channels=2)
    writer.commit(0, np.ones((2, 1, 1, 2), np.float32))
    shown = feature_store.open(tmp_path / "s")._repr_html_()
    for part in ("toy:a#blocks@224", "1 × 1 × 2", "1 / 2 ⚠", "3 images", "&lt;b&gt;mine"):
        assert part in shown
    assert "<b>mine" not in shown


def test_incomplete_source_is_refused_unless_asked(tmp_path):
    store = feature_store.create(
        tmp_path / "s", dataset="d", image_ids=list("abcde"), shard_images=2
    )
    writer = store.add_source(
        "toy:a#blocks@224", manifest={}, grid=(1, 1), channels=2, dtype="float32"
    )
    writer.commit(1, np.ones((2, 1, 1, 2), np.float32))
    with pytest.raises(StoreError, match="2 of 3 shards"):
        store.features("toy:a@224")
    values = store.features("toy:a@224", allow_incomplete=True).values
    assert np.isnan(values[[0, 1, 4]]).all()
    assert (values[2:4] == 1).all()


def test_other_identity_is_refused_with_the_fields_that_differ(tmp_path):
    store = feature_store.create(tmp_path / "s", dataset="d", image_ids=["a"])
    plan = dict(grid=(1, 1), channels=2)
    store.add_source("toy:a#blocks@224", manifest={"t": {"resize": 256}}, **plan)
    store.add_source("toy:a#blocks@224", manifest={"t": {"resize": 256}}, **plan)
    with pytest.raises(StoreError, match=r"t\.resize: stored 256, now 224"):
        store.add_source("toy:a#blocks@224", manifest={"t": {"resize": 224}}, **plan)


@pytest.mark.parametrize("bad", [1e5, np.inf, np.nan])
def test_values_beyond_float16_stop_the_shard(tmp_path, bad):
    store = feature_store.create(tmp_path / "s", dataset="d", image_ids=["a", "b"])
    writer = store.add_source("toy:a#blocks@224", manifest={}, grid=(1, 1), channels=2)
    tokens = np.ones((2, 1, 1, 2), np.float32)
    tokens[1, 0, 0, 1] = bad
    with pytest.raises(InputError, match="float16.*--dtype float32"):
        writer.commit(0, tokens)
    assert writer.missing() == [0]
    writer.commit(0, tokens, failed={1: "left out"})
    assert writer.missing() == []


def test_unknown_source_lists_what_is_stored(make_store):
    store = make_store("s", SOURCES)
    with pytest.raises(StoreError, match=r"toy:a#blocks@672.*448"):
        store.features("toy:a#blocks@672")


def with_root(store, **changes):
    """Change root attributes without renewing their seal."""
    path = Path(store.path) / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"] |= changes
    path.write_text(json.dumps(document))
    return document["attributes"]


def planted(tmp_path, sources):
    """A store as ``extract`` writes it: manifests with the model and the base size of its scale."""
    store = feature_store.create(tmp_path / "s", dataset="toy:s", image_ids=["a", "b"])
    for source, native in sources.items():
        name = source.partition("#")[0]
        manifest = {"model": name, "default_tap": "blocks", "scale": {"base": [native, native]}}
        writer = store.add_source(source, manifest=manifest, grid=(1, 1), channels=1)
        writer.commit(0, np.full((2, 1, 1, 1), native, np.float32))
    return feature_store.open(tmp_path / "s")


def test_multiples_are_of_the_native_size_that_a_model_has_in_the_store(tmp_path):
    store = planted(tmp_path, {"toy:a#blocks@240": 240, "toy:a#blocks@480": 240})
    assert store.features("toy:a@1x+2x").attrs["source"] == "toy:a#blocks@240+480"
    assert str(store.resolve("toy:a#blocks@2x")) == "toy:a#blocks@480"
    with pytest.raises(StoreError, match=r"does not hold toy:a#blocks@720;.*toy:a#blocks@480"):
        store.features("toy:a@1x+3x")
    with pytest.raises(InputError, match=r"write toy:a@240\+480"):
        store.features("toy:a@240,480")


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("efficientnet_lite0", "bundled:efficientnet_lite0"),
        ("vit_base_patch16_224", "timm:vit_base_patch16_224.mae"),
        ("timm/vit_base_patch16_224.mae", "timm:vit_base_patch16_224.mae"),
        ("timm:vit_base_patch16_224", "timm:vit_base_patch16_224.mae"),
        ("ViT-B-16/laion2b", "open_clip:ViT-B-16/laion2b_s34b_b88k"),
    ],
)
def test_a_short_name_is_the_one_stored_model_that_it_can_mean(make_store, short, full):
    x = np.ones((2, 1, 1, 2), np.float32)
    models = ("bundled:efficientnet_lite0", "timm:vit_base_patch16_224.mae")
    models += ("open_clip:ViT-B-16/laion2b_s34b_b88k", "random:timm:vit_base_patch16_224")
    models += ("timm:vit_base_patch16_224_miil.in21k", "bundled:efficientnet_lite1")
    store = make_store("s", {f"{model}#f@8": x for model in models})
    assert str(store.resolve(f"{short}@8")) == f"{full}#f@8"
    assert str(store.resolve(f"{short}#f@8")) == f"{full}#f@8"


def test_a_short_name_of_two_stored_models_is_refused(make_store):
    x = np.ones((2, 1, 1, 2), np.float32)
    both = ("bundled:efficientnet_lite0", "timm:efficientnet_lite0.ra_in1k")
    store = make_store("s", {f"{model}#f@8": x for model in both})
    with pytest.raises(StoreError, match="does not hold efficientnet_lite0@8"):
        store.resolve("efficientnet_lite0@8")


def test_a_source_stored_when_its_name_meant_224_pixels_opens_as_224(tmp_path):
    lite2 = "bundled:efficientnet_lite2"
    store = planted(tmp_path, {f"{lite2}#blocks@224": 224, f"{lite2}#blocks@448": 224})
    assert store.sources() == [f"{lite2}:224#blocks@224", f"{lite2}:224#blocks@448"]
    for name in (f"{lite2}@224", f"{lite2}@1x", f"{lite2}:224@1x", f"{lite2}:224#blocks@224"):
        assert store.features(name).attrs["source"] == f"{lite2}:224#blocks@224"
    assert store.features(f"{lite2}@1x+2x").shape == (2, 1, 1, 2)
    with pytest.raises(StoreError, match=f"{lite2}:224#blocks@224 in the place of"):
        store.add_source(f"{lite2}#blocks@224", manifest={}, grid=(1, 1), channels=1)
    manifest = {**store.manifest(f"{lite2}:224@1x"), "model": f"{lite2}:224"}
    del manifest["float16_relative_rms"]
    again = store.add_source(f"{lite2}:224#blocks@224", manifest=manifest, grid=(1, 1), channels=1)
    assert not again.missing(), "resumed in place under its new name"


def test_a_store_holds_both_meanings_of_a_name(tmp_path):
    lite2 = "bundled:efficientnet_lite2"
    store = planted(tmp_path, {f"{lite2}#blocks@224": 224, f"{lite2}#blocks@260": 260})
    assert store.sources() == [f"{lite2}#blocks@260", f"{lite2}:224#blocks@224"]
    assert store.features(f"{lite2}@1x").attrs["source"] == f"{lite2}#blocks@260"
    assert store.features(f"{lite2}@224").attrs["source"] == f"{lite2}:224#blocks@224"


def test_newer_protocol_is_refused(make_store):
    store = make_store("s", SOURCES)
    attrs = with_root(store, protocol_version=99)
    with_root(store, seal=protocol.seal(attrs))
    with pytest.raises(StoreError, match="protocol version 99"):
        feature_store.open(store.path)


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol_version": "99"},
        {"protocol_version": True},
        {"protocol_version": 2.0},
        {"protocol_version": None},
        {"image_count": "x"},
        {"image_count": None},
        {"image_count": -5},
        {"image_count": 1e300},
        {"image_count": 10**15},
        {"shard_images": 0},
        {"shard_images": 8},
        {"label_names": ["b", "a"]},
        {"dataset": "other"},
        {"image_ids_sha256": 7},
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_other_root_attributes_are_noticed(make_store, changes, version):
    store = make_store("s", SOURCES, labels=[0, 1] * 3 + [0], label_names="ab")
    if version == 1:
        if set(changes) & {"label_names", "dataset"}:
            pytest.skip("version 1 has no seal over them")
        downgrade(store.path)
    with_root(store, **changes)
    with pytest.raises(StoreError, match="damaged"):
        feature_store.open(store.path)


def downgrade(path):
    """What the root and the sources of a store of version 1 look like."""
    for file in [Path(path) / "zarr.json", *Path(path).glob("features/*/*/*/zarr.json")]:
        document = json.loads(file.read_text())
        for name in protocol.SINCE_VERSION_2:
            document["attributes"].pop(name, None)
        if "protocol_version" in document["attributes"]:
            document["attributes"]["protocol_version"] = 1
        file.write_text(json.dumps(document))


@pytest.mark.parametrize("name", ["image_id", "label"])
@pytest.mark.parametrize("how", ["delete", "change"])
def test_ids_and_labels_are_checked_on_first_read(make_store, name, how):
    store = make_store("s", SOURCES, labels=[0, 1] * 3 + [0], label_names="ab")
    other = make_store("o", SOURCES, labels=[0, 1] * 3 + [1], label_names="ab")
    chunk = Path(store.path) / name / "c.0"
    if how == "delete":
        chunk.unlink()
    else:
        chunk.write_bytes((Path(other.path) / name / "c.0").read_bytes())
    again = feature_store.open(store.path)
    with pytest.raises(StoreError, match=f"{name} is damaged"):
        again.image_ids if name == "image_id" else again.labels  # noqa: B018 the read is the test


def test_an_id_that_ends_in_a_zero_character_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'a\\x00' ends in a zero character"):
        feature_store.create(tmp_path / "s", dataset="d", image_ids=["a", "a\0"])


def test_no_store_there(tmp_path):
    with pytest.raises(StoreError, match="nothing.zarr"):
        feature_store.open(tmp_path / "nothing.zarr")


def test_create_refuses_bad_input(tmp_path):
    with pytest.raises(InputError, match="no images"):
        feature_store.create(tmp_path / "s", dataset="d", image_ids=[])
    with pytest.raises(InputError, match=r"\b1\b.*image ids"):
        feature_store.create(tmp_path / "s", dataset="d", image_ids=["a", "a"])
    with pytest.raises(InputError, match="from 3 to 3.* 0 label names"):
        feature_store.create(tmp_path / "s", dataset="d", image_ids=["a"], labels=[3])
    with pytest.raises(InputError, match=r"\(2,\), expected \(1,\)"):
        feature_store.create(tmp_path / "s", dataset="d", image_ids=["a"], labels=[-1, -1])
