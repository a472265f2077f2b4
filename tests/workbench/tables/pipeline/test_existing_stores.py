"""Stores that exist already: used, extended, or refused with what to do; never written here."""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import feature_store
from feature_store import InputError, Source, protocol
from feature_store.documents import put_attributes, read_attributes
from feature_store.writer import ShardImages
from workbench import code_hash, datasets
from workbench.tables.pipeline import config
from workbench.tables.pipeline.existing_stores import missing_sources, refuse_mixing
from workbench.tables.pipeline.plan import Measurement, MeasurementPlan
from workbench.tables.specs.schema import Quantity

SOURCE = "toy:m#t@224"


@pytest.fixture
def images(tmp_path):
    """Six images in two classes; a table of them, shuffled."""
    (tmp_path / "images").mkdir()
    lines = ["path,label"]
    for n in range(6):
        Image.new("RGB", (8, 8)).save(tmp_path / f"images/{n}.png")
        lines.append(f"images/{n}.png,{'ab'[n % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    return f"csv:{tmp_path}/t.csv"


@pytest.fixture
def profile(images, tmp_path):
    """A profile whose textiles are these images, four of them."""
    (tmp_path / "c.toml").write_text(
        f"[datasets.textiles]\ntrain = '{images}'\ntrain_limit = 4\ntest = '{images}'\n",
        encoding="utf-8",
    )
    return config.load("bundled", tmp_path / "out", tmp_path / "c.toml")


def split_of(profile, **changes):
    return replace(profile.data["textiles"]["train"], **changes)


@pytest.fixture
def store(profile, images):
    """The store that the profile asks for, complete in one source."""
    dataset = datasets.open(images, limit=4)
    made = feature_store.create(
        profile.path(split_of(profile)),
        dataset=images,
        image_ids=dataset.image_ids,
        labels=dataset.labels,
        label_names=dataset.label_names,
    )
    attrs = {
        "precision": "fp32",
        "libraries": code_hash.library_versions(),
        "code_sha256": code_hash.code_sha256(),
    }
    writer = made.add_source(
        SOURCE, manifest=attrs, grid=(1, 1), channels=2, prefix=0, dtype="float32"
    )
    known = ShardImages(fingerprints=[protocol.fingerprint(dataset.image(k)) for k in range(4)])
    writer.commit(0, np.zeros((4, 1, 1, 2), np.float32), images=known)
    return made


def test_a_complete_store_lacks_nothing(profile, store):
    assert missing_sources(split_of(profile), [Source.parse(SOURCE)], profile) == {}


def test_what_is_not_stored_is_lacking(profile, store):
    wanted = [Source.parse(name) for name in (SOURCE, "toy:m#t@448", "toy:other@224")]
    found = missing_sources(split_of(profile), wanted, profile)
    assert found == {"toy:m#t": ["448"], "toy:other": ["224"]}
    nowhere = replace(profile, stores=f"{profile.stores}/none")
    found = missing_sources(split_of(profile), wanted[:1], nowhere)
    assert found == {"toy:m#t": ["224"]}


@pytest.mark.parametrize("limit", [5, None])
def test_more_images_of_the_same_dataset_are_to_be_extracted(profile, store, limit):
    found = missing_sources(split_of(profile, limit=limit), [Source.parse(SOURCE)], profile)
    assert found == {"toy:m#t": ["224"]}
    assert len(feature_store.open(store.path)) == 4, "looking writes nothing"


def test_more_images_by_another_version_are_refused_before_the_store_grows(
    profile, store, monkeypatch
):
    monkeypatch.setattr(code_hash, "code_sha256", lambda: "new")
    assert missing_sources(split_of(profile), [Source.parse(SOURCE)], profile) == {}
    said = refusal(profile, limit=5)
    assert "lacks images of toy:m#t@224" in said
    assert "code_sha256" in said
    assert "--accept-code" in said
    assert "--out" in said
    assert len(feature_store.open(store.path)) == 4


def refusal(profile, **changes):
    with pytest.raises(InputError) as error:
        missing_sources(split_of(profile, **changes), [Source.parse(SOURCE)], profile)
    return str(error.value)


def test_another_dataset_is_refused(profile, store):
    said = refusal(profile, dataset="bundled:textiles:train")
    assert f"holds features of {store.dataset}" in said
    assert "datasets.textiles.train is bundled:textiles:train" in said
    assert "name another folder" in said


def test_a_moved_dataset_is_recognised_by_its_pixels(profile, store, tmp_path):
    for name in ("images", "t.csv"):
        (tmp_path / "moved").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "moved" / name)
    moved = f"csv:{tmp_path}/moved/t.csv"
    found = missing_sources(split_of(profile, dataset=moved), [Source.parse(SOURCE)], profile)
    assert found == {}
    Image.new("RGB", (8, 8), "red").save(tmp_path / "moved/images/2.png")
    said = refusal(profile, dataset=moved)
    assert "1 of 4 stored images have other pixels" in said
    assert "name another folder" in said


def test_fewer_images_than_are_stored_are_refused(profile, store):
    said = refusal(profile, limit=3)
    assert "holds 4 images" in said
    assert "datasets.textiles.train_limit leaves 3" in said
    assert "raise the limit to 4" in said


def test_other_labels_are_refused(profile, store, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(table.read_text().replace("2.png,a", "2.png,b"), encoding="utf-8")
    said = refusal(profile)
    assert "datasets.textiles.train" in said
    assert "labels of 1 stored image(s) changed (images/2.png)" in said


def test_other_images_are_refused(profile, store, tmp_path):
    table = tmp_path / "t.csv"
    (tmp_path / "images/2.png").rename(tmp_path / "images/other.png")
    table.write_text(
        table.read_text().replace("images/2.png", "images/other.png"), encoding="utf-8"
    )
    said = refusal(profile)
    assert "1 image(s) that the dataset no longer has" in said
    assert "name another folder" in said


def test_another_precision_is_refused(profile, store):
    other = replace(profile, arithmetic="bf16")
    said = refusal(other)
    assert "toy:m#t@224 computed in fp32" in said
    assert "arithmetic for datasets.textiles.train is bf16" in said
    assert "set arithmetic = 'fp32'" in said


def test_something_else_in_the_place_of_a_store_is_refused(profile, tmp_path):
    place = tmp_path / "out/stores/textiles_train.zarr"
    place.mkdir(parents=True)
    (place / "notes.txt").touch()
    said = refusal(profile)
    assert "should hold the features of datasets.textiles.train" in said
    assert "move away what is there" in said


def test_a_dataset_that_cannot_be_listed_is_named_by_its_key(profile, store, tmp_path):
    (tmp_path / "t.csv").write_text("", encoding="utf-8")
    assert refusal(profile).startswith("datasets.textiles.train = 'csv:")


@pytest.mark.parametrize("version", ["this", "another"])
def test_stored_and_missing_features_of_two_versions_are_not_mixed(profile, store, version):
    """Table 9 needs the stored source and one that is not; table 8 the stored one alone."""
    quantities = [
        Quantity(analysis="probe", field="top1", data="textiles", source=name)
        for name in (SOURCE, "toy:m#t@448")
    ]
    calls = [
        Measurement(analysis="probe", data="textiles", options=(), sources=(ask.source,))
        for ask in quantities
    ]
    full = replace(profile, data={"textiles": {"train": split_of(profile)}})
    found = {"textiles_train": {"toy:m#t": ["448"]}}
    if version == "another":
        group = store.source(SOURCE).group
        attrs = read_attributes(store.objects, group)
        manifest = attrs["manifest"] | {"code_sha256": "before"}
        changed = {"manifest": manifest, "identity": protocol.identity(manifest)}
        put_attributes(store.objects, group, attrs | changed)
    plans = [
        MeasurementPlan(
            [SimpleNamespace(key=key, quantities=lambda _, own=own: own)],
            calls,
            dict(zip(quantities, calls, strict=True)),
        )
        for key, own in (("8", quantities[:1]), ("9", quantities))
    ]
    refuse_mixing(plans[0], full, found)
    if version == "this":
        refuse_mixing(plans[1], full, found)
    else:
        with pytest.raises(InputError, match="table 9 would mix versions: .*toy:m#t@448 of data"):
            refuse_mixing(plans[1], full, found)


def test_views_are_held_against_their_images_which_are_listed_once(profile, images):
    views = list(profile.data["textile_views"].values())
    dataset = datasets.open(images, limit=4)
    for view in views:
        feature_store.create(
            profile.path(view),
            dataset=view.dataset,
            image_ids=dataset.image_ids,
            labels=dataset.labels,
            label_names=dataset.label_names,
        )
    asked = []

    def listing(name):
        asked.append(name)
        return datasets.open(name)

    remembered = functools.cache(listing)
    for view in views:
        missing_sources(view, [], profile, remembered)
    assert asked == [images]
    with pytest.raises(InputError, match="holds features of view:1:csv:.* is view:2:csv:"):
        missing_sources(replace(views[1], store=views[0].store), [], profile)
