"""The config file: what it sets, and what is refused with which words."""

from __future__ import annotations

import pytest

from feature_store import InputError
from workbench.tables.pipeline import config as configs


def test_the_old_key_of_the_arithmetic_works_and_is_reported(config, tmp_path, capsys):
    found = configs.load("paper", tmp_path, config("precision = 'fp16'"))
    assert found.arithmetic == "fp16"
    notice = capsys.readouterr().err.splitlines()
    assert len(notice) == 1
    assert "precision" in notice[0]
    assert "arithmetic" in notice[0]
    with pytest.raises(InputError, match="unknown key 'precision'"):
        configs.load("paper", tmp_path, config("precision = 'fp16'\narithmetic = 'bf16'"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stores = ", "is not valid TOML"),
        ("store = 'x'", "unknown key 'store'; there are: stores, device"),
        ("tflops = 'many'", "tflops is 'many'; expected float"),
        ("tflops = -1", "must be positive"),
        ("tflops = nan", "tflops is nan; it must be positive and finite"),
        ("tflops = inf", "must be positive and finite"),
        ("workers = -3", "config.toml: workers is -3; expected at least 0"),
        ("shard_images = 0", "shard_images is 0; expected at least 1"),
        ("arithmetic = 'fp64'", "arithmetic is 'fp64'; choose fp32"),
        ("device = 'gpu'", "device is 'gpu'; expected auto, cpu, cuda or cuda:1"),
        ("device = ''", "device is ''; expected auto"),
        ("stores = ' '", "stores is empty; name a folder or URL"),
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
        configs.load("paper", tmp_path, config(text))


def test_a_home_in_stores_is_written_out_and_a_url_kept(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    found = configs.load("bundled", tmp_path, config("stores = '~/feat'"))
    assert found.path(found.data["textiles"]["train"]) == "/home/me/feat/textiles_train.zarr"
    url = configs.load("bundled", tmp_path, config("stores = 's3://bucket/~a'"))
    assert url.stores == "s3://bucket/~a"


def test_a_missing_config_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read the config .*none.toml"):
        configs.load("paper", tmp_path, tmp_path / "none.toml")


def test_problems_name_the_key(config, tmp_path):
    (tmp_path / "val").mkdir()
    table = tmp_path / "ade.csv"
    table.write_text("path,label\n", encoding="utf-8")
    path = config(
        f"[datasets.imagenet]\ntrain = 'folder:{tmp_path}/gone'\ntest = 'folder:{tmp_path}/val'\n"
        f"[datasets.ade20k]\ntrain = 'csv:{table}'\n"
    )
    found = configs.load("paper", tmp_path, path)
    problems = configs.problems(found, ["imagenet", "imagenet_views", "ade20k"])
    assert list(problems) == [
        "datasets.imagenet.train",
        "datasets.ade20k.train",
        "datasets.ade20k.test",
    ], "once for the images and their views"
    gone, no_mask, unset = problems.values()
    assert f"datasets.imagenet.train = 'folder:{tmp_path}/gone'" in gone
    assert f" {tmp_path}/gone" in gone
    assert "'mask'" in no_mask
    assert unset.startswith("datasets.ade20k.test ")
    assert "[datasets.ade20k]" in unset


def test_images_named_in_the_config_are_all_taken_unless_limited(config, tmp_path):
    path = config("[datasets.textiles]\ntrain = 'csv:a.csv'\ntest = 'csv:b.csv'\ntest_limit = 7\n")
    found = configs.load("bundled", tmp_path, path).data["textiles"]
    assert (found["train"].limit, found["test"].limit) == (None, 7)
