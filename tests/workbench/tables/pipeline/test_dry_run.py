"""Dry runs: what they count, what they find missing, and their text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import feature_store
from workbench import code_hash, datasets
from workbench.cost import cost
from workbench.datasets import registry
from workbench.tables.pipeline import config as configs
from workbench.tables.pipeline import dry_run, dry_run_text, plan
from workbench.tables.specs import select
from workbench.vlm import paper


def test_other_test_sets_of_imagenet_are_matched_by_their_rule(config, tmp_path):
    images = ("train/n01440764/a.png", "train/n01443537/b.png", "test/n01440764/c.png")
    for name in (*images, "val/ILSVRC2012_val_00000001.JPEG", "v2/1/d.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "real.json").write_text("[[0, 1]]")
    path = config(
        f"[datasets.imagenet]\ntrain = 'folder:{tmp_path}/train'\ntest = 'folder:{tmp_path}/test'\n"
        f"[datasets.imagenet_real]\ntest = 'imagenet:real:{tmp_path}'\n"
        f"[datasets.imagenet_v2]\ntest = 'imagenet:v2:{tmp_path}/v2'\n"
    )
    given = configs.load("paper", tmp_path, path)
    made = plan.make(select(["sovit2"]), given)
    assert {m.data for m in made.measurements} == {"imagenet", "imagenet_real", "imagenet_v2"}
    assert set(made.skipped) == {"imagenet_r", "imagenet_a", "objectnet"}
    assert dry_run._splits(made, given, set(), datasets.open) == []
    (tmp_path / "real.json").write_text("[[2, 3]]")
    (line,) = dry_run._splits(made, given, set(), datasets.open)
    assert "imagenet_real.test: no class of the test images occurs in training" in line


def test_dry_run_of_the_paper_on_the_meta_device(config, tmp_path):
    path = config("stores = 'there'\ntflops = 100\n[datasets.imagenet]\ntrain_limit = 1000\n")
    paper = configs.load("paper", tmp_path, path)
    found = dry_run.dry_run(plan.make(select(["3"]), paper), paper)
    rows = {(r["store"], r["source"]): r for r in found["sources"]}
    assert len(rows) == 18  # 3 sources each of 3 families, in two stores each
    row = rows["there/imagenet_train.zarr", "timm:vit_base_patch14_dinov2.lvd142m:224@448"]
    assert row["images"] == 1000
    assert row["bytes"] == 1000 * (16 * 16 + 1) * 768 * 2  # tokens and class token, float16
    n, d = 16 * 16 + 1, 768  # per block: 12 d^2 per token, and two products of attention
    crop = 12 * (12 * d * d * n + 2 * n * n * d) + 16 * 16 * d * 3 * 14 * 14
    assert row["gmacs_per_image"] == pytest.approx(4 * crop / 1e9, rel=0.005)
    assert row["gpu_hours"] == pytest.approx(2e9 * row["gmacs_per_image"] * 1000 / 1e14 / 3600)
    assert found["totals"]["bytes"] == sum(r["bytes"] for r in rows.values())
    assert [line.split()[0] for line in found["problems"]] == [
        "datasets.imagenet.train",
        "datasets.imagenet.test",
    ]
    assert "6 models, 4 stores" in (said := dry_run_text.text(found))
    assert "GPU hours are those of the extraction's forward passes alone" in said
    (table,) = found["tables"]
    assert f"3, {table['title']}: {table['expected']}" in said


@pytest.fixture
def own(config, tmp_path):
    """A dry run of Table 3 on three images of one's own for training, and given ones for tests."""
    for name in ("nominal/1.png", "nominal/2.png", "defect/3.JPG", "defect/notes.txt"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()

    def plan_for(text):
        path = config(f"[datasets.textiles]\ntrain = 'folder:{tmp_path}/photos'\n{text}\n")
        given = configs.load("bundled", tmp_path, path)
        return dry_run.dry_run(plan.make(select(["3"]), given), given)

    return plan_for


def test_a_dry_run_counts_images_of_one_s_own_and_their_views(own):
    found = own("test = 'bundled:textiles:test'\ntest_limit = 7")
    images = {row["store"].rpartition("/")[2]: row["images"] for row in found["sources"]}
    views = {f"textile_views_{k}.zarr": 3 for k in (1, 2)}
    assert images == {"textiles_train.zarr": 3, "textiles_test.zarr": 7, **views}
    for row in found["sources"]:
        assert row["bytes"] == row["bytes_per_image"] * row["images"]
        assert row["gpu_hours"] * 1000 == pytest.approx(row["gpu_hours_per_1000"] * row["images"])
    assert found["problems"] == found["totals"]["uncounted"] == []
    assert found["tables"][0]["expected"].endswith(
        "(with the bundled images; the config names others)"
    )


def test_a_dry_run_names_what_will_not_be_comparable(config, tmp_path):
    (tmp_path / "photos" / "one").mkdir(parents=True)
    (tmp_path / "photos" / "one" / "1.png").touch()
    names = f"train = 'folder:{tmp_path}/photos'\ntest = 'folder:{tmp_path}/photos'\n"
    path = config(f"decoder_iterations = 10\n[datasets.ade20k]\n{names}")
    given, _ = dry_run.counted(configs.load("paper", tmp_path, path), ["ade20k"])
    steps, train, test = dry_run._unlike(plan.make(select(["12"]), given), given)
    assert "trained for 10 steps, the paper's for 160,000" in steps
    assert "datasets.ade20k.train gives 1 images, the paper's split has 20,210" in train
    assert "the paper's split has 2,000" in test


def test_a_key_that_is_part_of_another_s_line_keeps_its_own_problem(config, tmp_path):
    (tmp_path / "empty").mkdir()
    path = config(
        "[datasets.textiles]\ntrain = 'folder:gone/datasets.textiles.test'\n"
        f"test = 'folder:{tmp_path}/empty'\n"
    )
    given = configs.load("bundled", tmp_path, path)
    found = dry_run.dry_run(plan.make(select(["5"]), given), given)["problems"]
    assert [line.split()[0] for line in found] == [
        "datasets.textiles.train",
        "datasets.textiles.test",
    ]


def test_table_13_s_models_are_resolved_though_nothing_is_stored(tmp_path):
    given = configs.load("bundled", tmp_path, None)
    found = dry_run.dry_run(plan.make(select(["13"]), given), given)
    assert len(found["timed"]) == 5
    assert found["totals"]["models"] == 3
    assert found["totals"]["stores"] == found["totals"]["gpu_hours"] == 0
    assert found["timed"][-1]["gmacs_per_image"] > 250, "DINOv2 giant"
    said = dry_run_text.text(found)
    assert "timed, not stored" in said
    assert "vit_giant_patch14_dinov2" in said


@pytest.mark.parametrize("only", ["7", "13"])
def test_the_sources_of_a_dry_run_fit_the_terminal(monkeypatch, only):
    monkeypatch.setattr("sys.stdout", SimpleNamespace(closed=False, isatty=lambda: True))
    monkeypatch.setenv("COLUMNS", "80")
    given = configs.load("bundled", Path("runs"), None)
    said = dry_run_text.text(dry_run.dry_run(plan.make(select([only]), given), given))
    tables = said[: said.index(f"\n{only}, ")]
    assert "GMACs/image" in tables
    assert max(map(len, tables.splitlines())) <= 80


def test_stores_that_are_complete_are_marked_and_left_out_of_what_is_left(tmp_path, monkeypatch):
    given = configs.load("bundled", tmp_path, None)
    made = plan.make(select(["7"]), given)
    split, sources = made.needs(given)["scenes_test"]
    dataset = datasets.open(split.dataset, limit=split.limit)
    store = feature_store.create(
        given.path(split),
        dataset=dataset.name,
        image_ids=dataset.image_ids,
        labels=dataset.labels,
        label_names=dataset.label_names,
    )
    name = f"{sources[0].model}#blocks@{sources[0].scales[0]}"
    attrs = {
        "precision": "fp32",
        "default_tap": "blocks",
        "libraries": code_hash.library_versions(),
        "code_sha256": code_hash.code_sha256(),
    }
    writer = store.add_source(name, manifest=attrs, grid=(1, 1), channels=1, dtype="float32")
    writer.commit(0, np.zeros((len(dataset), 1, 1, 1), np.float32), None)
    found = dry_run.dry_run(made, given)
    assert found["problems"] == []
    complete = [(r["store"], r["source"]) for r in found["sources"] if r["stored"]]
    assert complete == [(given.path(split), str(sources[0]))]
    (row,) = [r for r in found["sources"] if r["stored"]]
    assert found["totals"]["bytes_left"] == found["totals"]["bytes"] - row["bytes"]
    assert "1 of 10 sources are stored already" in dry_run_text.text(found)
    monkeypatch.setattr(code_hash, "code_sha256", lambda: "new")
    (line,) = dry_run.dry_run(made, given)["problems"]
    assert line.startswith("table 7 would mix versions: ")


def test_a_store_that_the_run_would_refuse_is_a_problem(tmp_path):
    given = configs.load("bundled", tmp_path, None)
    made = plan.make(select(["7"]), given)
    split, _ = made.needs(given)["scenes_test"]
    other = f"folder:{tmp_path}/other"
    feature_store.create(given.path(split), dataset=other, image_ids=["a"])
    (line,) = dry_run.dry_run(made, given)["problems"]
    assert f"scenes_test.zarr holds features of {other}, but " in line
    assert "datasets.scenes.test is bundled:scenes:test" in line


@pytest.fixture
def refusals(config, tmp_path):
    """Problems of a dry run on photos of one's own, without labels (a, b) or of one class (c)."""
    for name in ("a/1.png", "a/2.png", "b/3.png", "c/x/1.png", "c/x/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(train, test, only):
        given = {"train": train, "test": test}
        lines = [f"{role} = 'folder:{tmp_path / name}'" for role, name in given.items()]
        path = config("[datasets.textiles]\n" + "\n".join(lines))
        bundled = configs.load("bundled", tmp_path, path)
        return dry_run.dry_run(plan.make(select([only]), bundled), bundled)["problems"]

    return found


def test_images_without_labels_are_a_problem_where_labels_are_needed(refusals):
    (line,) = refusals("a", "b", "5")
    assert line.startswith("table 5: datasets.textiles.train, datasets.textiles.test: ")
    assert "has no labels; a probe needs them" in line
    (line,) = refusals("c", "b", "5")
    assert "datasets.textiles.test (folder:" in line
    assert refusals("a", "b", "2") == [], "a reconstruction needs none"


def test_test_images_without_class_names_are_a_problem_of_zero_shot(config, tmp_path):
    (tmp_path / "1.png").touch()
    path = config(f"[datasets.imagenet]\ntest = 'folder:{tmp_path}'")
    given = configs.load("paper", tmp_path, path)
    problems = dry_run.dry_run(plan.make(select(["sovit4"]), given), given)["problems"]
    (line,) = [line for line in problems if "label" in line]
    assert line.startswith("datasets.imagenet.test: ")
    assert line.endswith("has no labels; name a labelled dataset")


def test_the_same_images_as_train_and_test_are_a_problem(refusals):
    (line,) = refusals("a", "a", "2")
    assert line.startswith("datasets.textiles.train, datasets.textiles.test: train and test share")


def test_a_dry_run_of_the_paper_s_models(tmp_path):
    """They are built without weights; only data are missing."""
    given = configs.load("paper", tmp_path, None)
    found = dry_run.dry_run(plan.make(select(["12", "13"]), given), given)
    missing = [line.split()[0] for line in found["problems"]]
    assert missing == ["datasets.ade20k.train", "datasets.ade20k.test"]
    assert found["totals"]["models"] == 7
    assert found["sources"] == [], "decoders are trained on the images"
    assert found["totals"]["decoders"] == len(found["decoders"]) == 4
    row = found["decoders"][0]
    tokens = 37 * 37 * (1 + 4 + 9) + 3  # class tokens
    assert row["crops_bytes"] == 160_000 * 16 * tokens * 768 * 2
    passes = 160_000 * 16 * 2e9 * cost("timm:vit_base_patch14_dinov2.lvd142m",
                                        ["518", "1036", "1554"]).gmacs / 2e14 / 3600  # fmt: skip
    assert passes < row["on_the_fly_gpu_hours"] < 4 * passes
    assert len(found["timed"]) == 10
    for table in found["tables"]:
        assert table["expected"] or table["missing"] or not table["numbers"], table["table"]
    said = dry_run_text.text(found)
    assert "4 decoders are trained on the fly" in said
    assert "in fp32, at 20 TFLOP/s (assumed)" in said
    assert all(table["title"] in said for table in found["tables"])
    assert list(tmp_path.iterdir()) == [], "a dry run writes nothing"


@pytest.fixture
def multimodal(tmp_path, monkeypatch):
    """Dry runs of Tables 1, 8 and 9 with the recipe of a small encoder for each of these names."""
    monkeypatch.setattr(paper, "RECIPES", tmp_path)

    def found(profile, *names):
        for name in names:
            (tmp_path / f"{name}.txt").write_text(
                "--source timm:test_vit:64#block:4@64 --llm hf:lmsys/vicuna-7b-v1.5\n"
                "--recipe llava-1.5 --stage lora --together 2 --device cuda\n"
            )
        given = replace(configs.load(profile, tmp_path, None), tflops=100)
        return dry_run.dry_run(plan.make(select(["1", "8", "9"]), given), given)

    return found


def test_multimodal_trainings_of_the_paper_are_estimated_once_and_not_the_run_s(multimodal):
    found = multimodal("paper", "table1_a", "tables8_9_b", "other")
    assert [row["recipe"] for row in found["trainings"]["recipes"]] == ["table1_a", "tables8_9_b"]
    (encoder,), totals = found["trainings"]["encoders"], found["totals"]
    assert (encoder["trainings"], totals["trainings"], totals["models"]) == (2, 2, 0)
    assert totals["once_tb"] == pytest.approx(paper.EXAMPLES * 17 * 64 * 2 / 1e12)
    gmacs = cost("timm:test_vit:64", ["64"], tap="block:4").gmacs
    once = paper.EXAMPLES * 2e9 * gmacs / 1e14 / 3600
    assert totals["once_gpu_hours"] == pytest.approx(once)
    assert totals["every_step_gpu_hours"] == pytest.approx(2 * once)
    said = dry_run_text.text(found)
    assert re.search(r"\| table1_a +\| lora +\| 16 x 64 ", said)
    assert "2 multimodal trainings on 1 encoders" in said
    assert "nothing is extracted" in said
    assert "0.0 GPU hours at" not in said


@pytest.mark.parametrize(("profile", "names"), [("paper", ()), ("bundled", ("table1_a",))])
def test_without_a_recipe_or_a_paper_s_profile_no_training_is_estimated(multimodal, profile, names):
    found = multimodal(profile, *names)
    assert found["trainings"]["recipes"] == []
    said = dry_run_text.text(found)
    assert "multimodal trainings" not in said
    assert ("multimodal_paper.py" in said) == (profile == "paper")


def test_a_hub_s_dataset_is_not_opened_and_said_to_be_uncounted(own, monkeypatch):
    monkeypatch.setitem(registry.KINDS, "hf", lambda name: pytest.fail(f"opened {name}"))
    found = own("test = 'hf:me/mine:test'")
    assert found["totals"]["uncounted"] == ["hf:me/mine:test"]
    unknown = [row for row in found["sources"] if row["images"] is None]
    assert len(unknown) == 3
    assert all(row["bytes"] is None and row["gpu_hours"] is None for row in unknown)
    said = dry_run_text.text(found)
    assert said.count("per 1,000") == 3 + 1
    assert "the number of images being unknown: hf:me/mine:test" in said


def test_a_dataset_that_cannot_be_listed_is_a_problem_with_one_line(own, tmp_path):
    (tmp_path / "empty").mkdir()
    found = own(f"test = 'folder:{tmp_path}/empty'")
    assert len(found["problems"]) == 1
    assert "datasets.textiles.test" in found["problems"][0]
    assert "holds no image" in found["problems"][0]
    found = own("test = 'folder:gone'")
    assert found["problems"] == [
        "datasets.textiles.test = 'folder:gone': folder gone does not exist"
    ]
    images = {row["store"].rpartition("/")[2]: row["images"] for row in found["sources"]}
    assert images["textiles_train.zarr"] == 3
