"""The config file: what it sets, and what is refused with which words."""

from __future__ import annotations

import pytest

from feature_store import InputError
from workbench.tables import dry_run, plan, profile
from workbench.tables.specs import select


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stores = ", "is not valid TOML"),
        ("store = 'x'", "unknown key 'store'; there are: stores, device"),
        ("tflops = 'many'", "tflops is 'many'; expected float"),
        ("tflops = -1", "must be positive"),
        ("workers = true", "workers is True; expected int"),
        ("[datasets.imagenet1k]\ntrain = 'x'", "unknown key 'imagenet1k'; there are: imagenet"),
        ("[datasets.imagenet]\nval = 'x'", "unknown key 'val'; there are: train, test"),
        ("[datasets.imagenet]\ntrain = 3", "datasets.imagenet.train is 3; expected a dataset name"),
        ("[datasets.imagenet]\ntrain_limit = 0", "train_limit is 0; expected a positive number"),
        ("datasets.imagenet = 'folder:x'", "expected train and test names"),
    ],
)
def test_a_wrong_config_is_refused(config, tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        profile.load("paper", tmp_path, config(text))


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read the config .*none.toml"):
        profile.load("paper", tmp_path, tmp_path / "none.toml")


def test_problems_name_the_key(config, tmp_path):
    (tmp_path / "val").mkdir()
    table = tmp_path / "ade.csv"
    table.write_text("path,label\n", encoding="utf-8")
    path = config(
        f"[datasets.imagenet]\ntrain = 'folder:{tmp_path}/gone'\ntest = 'folder:{tmp_path}/val'\n"
        f"[datasets.ade20k]\ntrain = 'csv:{table}'\n"
    )
    found = profile.load("paper", tmp_path, path)
    lines = profile.problems(found, ["imagenet", "imagenet_views", "ade20k"])
    assert len(lines) == 5
    assert lines[0] == (
        f"datasets.imagenet.train = 'folder:{tmp_path}/gone': there is no folder {tmp_path}/gone"
    )
    assert "view:1:folder" in lines[1]
    assert "the table has no column 'mask'" in lines[3]
    assert (
        lines[4] == "datasets.ade20k.test is not set; name a dataset as test in [datasets.ade20k]"
    )


def test_images_named_in_the_config_are_all_taken_unless_limited(config, tmp_path):
    path = config("[datasets.textiles]\ntrain = 'csv:a.csv'\ntest = 'csv:b.csv'\ntest_limit = 7\n")
    found = profile.load("bundled", tmp_path, path).data["textiles"]
    assert (found["train"].limit, found["test"].limit) == (None, 7)


def test_optional_data_are_left_out_and_said(tmp_path):
    made = plan.make(select(["sovit3"]), profile.load("paper", tmp_path, None))
    assert {m.data for m in made.measurements} == {"imagenet"}
    assert made.skipped["pets"] == "datasets.pets is not set"


def test_dry_run_of_the_paper_on_the_meta_device(config, tmp_path):
    path = config("stores = 'there'\ntflops = 100\n[datasets.ade20k]\ntrain_limit = 1000\n")
    paper = profile.load("paper", tmp_path, path)
    found = dry_run.dry_run(plan.make(select(["12"]), paper), paper)
    rows = {(r["store"], r["source"]): r for r in found["sources"]}
    assert len(rows) == 12  # 3 scales of 2 models, train and test
    row = rows["there/ade20k_train.zarr", "timm:vit_base_patch14_dinov2.lvd142m@1036"]
    assert row["images"] == 1000
    assert row["bytes"] == 1000 * (37 * 37 + 1) * 768 * 2  # tokens and class token, float16
    n, d = 37 * 37 + 1, 768  # per block: 12 d^2 per token, and two products of attention
    crop = 12 * (12 * d * d * n + 2 * n * n * d) + 37 * 37 * d * 3 * 14 * 14
    assert row["gmacs_per_image"] == pytest.approx(4 * crop / 1e9, rel=0.005)
    assert row["gpu_hours"] == pytest.approx(2e9 * row["gmacs_per_image"] * 1000 / 1e14 / 3600)
    assert found["totals"]["bytes"] == sum(r["bytes"] for r in rows.values())
    assert [line.split()[0] for line in found["problems"]] == [
        "datasets.ade20k.train",
        "datasets.ade20k.test",
    ]
    assert "2 models, 2 stores" in dry_run.text(found)


@pytest.fixture
def own(config, tmp_path):
    """A dry run of Table 3 on three images of one's own for training, and given ones for tests."""
    (tmp_path / "photos/a").mkdir(parents=True)
    for name in ("1.png", "2.png", "3.JPG", "notes.txt"):
        (tmp_path / "photos/a" / name).touch()

    def plan_for(text):
        path = config(f"[datasets.textiles]\ntrain = 'folder:{tmp_path}/photos'\n{text}\n")
        given = profile.load("bundled", tmp_path, path)
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


def test_a_hub_s_dataset_is_not_opened_and_said_to_be_uncounted(own, monkeypatch):
    monkeypatch.setattr("workbench.datasets.KINDS", {"folder": dry_run.datasets.open_folder})
    found = own("test = 'hf:me/mine:test'")
    assert found["totals"]["uncounted"] == ["hf:me/mine:test"]
    unknown = [row for row in found["sources"] if row["images"] is None]
    assert len(unknown) == 3
    assert all(row["bytes"] is None and row["gpu_hours"] is None for row in unknown)
    said = dry_run.text(found)
    assert said.count("per 1,000") == 3 + 1
    assert "the number of images being unknown: hf:me/mine:test" in said


def test_a_dataset_that_cannot_be_listed_is_a_problem_with_one_line(own, tmp_path):
    (tmp_path / "empty").mkdir()
    found = own(f"test = 'folder:{tmp_path}/empty'")
    assert len(found["problems"]) == 1
    assert "datasets.textiles.test" in found["problems"][0]
    assert "holds no image" in found["problems"][0]
    found = own("test = 'folder:gone'")
    assert found["problems"] == ["datasets.textiles.test = 'folder:gone': there is no folder gone"]
    images = {row["store"].rpartition("/")[2]: row["images"] for row in found["sources"]}
    assert images["textiles_train.zarr"] == 3
