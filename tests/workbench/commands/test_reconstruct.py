"""``workbench reconstruct`` from stores on disk to tables, figures and JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analyses.reconstruction import ROW_FIELDS
from analyses.reconstruction.table2 import paper_name, published_row
from workbench.cli import main


@pytest.fixture
def paths(make_store, tmp_path):
    for split, seed in (("train", 0), ("test", 1)):
        rng = np.random.default_rng(seed)
        small, big = rng.standard_normal((2, 40, 2, 2, 4)).astype(np.float32)
        names = [
            "timm:vit_base_patch16_224.mae#final@224",
            "timm:vit_base_patch16_224.mae#final@448",
        ]
        goal = "timm:vit_large_patch16_224.mae#final@224"
        arrays = {names[0]: small, names[1]: big, goal: small + big}
        make_store(f"{split}.zarr", arrays, shard_images=64)
    return ["--train", str(tmp_path / "train.zarr"), "--test", str(tmp_path / "test.zarr")]


ASK = [
    *("--target", "timm:vit_large_patch16_224.mae@224"),
    *("--source", "timm:vit_base_patch16_224.mae@224"),
    *("--source", "timm:vit_base_patch16_224.mae@224+448"),
]


def test_json_is_one_object_with_the_agreed_rows(paths, capsys):
    assert main(["reconstruct", *paths, *ASK, "--ridge", "0.1", "--json"]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert [tuple(row) for row in report["rows"]] == [ROW_FIELDS, ROW_FIELDS]
    assert report["rows"][0]["ridge"] == 0.1
    assert report["rows"][0]["test_ratio"] is None
    assert "95 % interval" in printed.err


def test_tables_and_figures_are_written_beside_the_published_figures(paths, tmp_path, capsys):
    out = tmp_path / "out"
    reference = ["--reference", "timm:vit_base_patch16_224.mae@448"]
    assert main(["reconstruct", *paths, *ASK, *reference, "--out", str(out)]) == 0
    assert "| paper: train loss" in capsys.readouterr().out
    written = pd.read_csv(out / "table2.csv")
    assert tuple(written.columns) == ROW_FIELDS
    assert "train_full_bits" in pd.read_csv(out / "beyond.csv")
    assert "7.972" in (out / "table2.md").read_text()
    assert r"\begin{tabular}" in (out / "table2.tex").read_text()
    assert "GMACs per image" in (out / "reconstruct_curve.svg").read_text()
    for name in ("information.png", "information.svg", "map.png", "scales.png", "ranks.png"):
        assert (out / name).stat().st_size > 1000


def test_pairs_answer_from_kept_moments(paths, tmp_path, capsys):
    out, kept = tmp_path / "out", ["--moments", str(tmp_path / "moments.zarr")]
    plain = [*paths, *ASK, "--ridge", "0.1"]
    assert main(["reconstruct", *plain, *kept, "--pairs", "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["pairs"]) == 6  # three sources, each about the two others
    by_names = {(row["source"], row["target"]): row for row in found["pairs"]}
    for row in found["rows"]:
        pair = by_names[row["source"], row["target"]]
        assert pair["train_info_bits"] == pytest.approx(row["train_info_bits"])
    one, other = found["rows"][0]["source"], found["rows"][0]["target"]
    both_ways = [by_names[pair]["gaussian_bits"] for pair in ((one, other), (other, one))]
    assert both_ways[0] == pytest.approx(both_ways[1])
    for suffix in ("md", "csv", "tex", "png", "svg"):
        assert (out / f"pairs.{suffix}").stat().st_size > 200
    assert main(["reconstruct", *plain, "--pairs"]) == 2
    assert "--moments PATH" in capsys.readouterr().err


def test_overfitting_is_said_in_plain_words(make_store, tmp_path, capsys):
    for split, seed in (("train", 0), ("test", 1)):
        noise = np.random.default_rng(seed).standard_normal((20, 1, 1, 15)).astype(np.float32)
        make_store(f"{split}.zarr", {"m:a#f@8": noise, "m:b#f@8": noise[:, :, :, ::-1] ** 2})
    stores = ["--train", str(tmp_path / "train.zarr"), "--test", str(tmp_path / "test.zarr")]
    ask = ["--target", "m:b@8", "--source", "m:a@8", "--ridge", "0"]
    assert main(["reconstruct", *stores, *ask]) == 0
    assert "warning: m:a#f@8: overfits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--ridge", "much"], "much"),
        (["--ridge", "-1"], "expected"),
        (["--reference", "timm:none@224"], "does not hold timm:none@224"),
    ],
)
def test_misuse_is_one_line_and_status_2(paths, capsys, extra, message):
    assert main(["reconstruct", *paths, *ASK, *extra]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_shared_images_are_counted(paths, capsys):
    same = [paths[0], paths[1], "--test", paths[1]]
    assert main(["reconstruct", *same, *ASK]) == 2
    assert "share 40 of 40 test images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "row"),
    [
        ("timm:vit_base_patch16_224.augreg_in21k@224+448+672", ("ViT", "Base-S2")),
        ("timm:vit_huge_patch14_224.orig_in21k@224", ("ViT", "Huge")),
        ("timm:vit_large_patch16_224.mae#final@224", ("MAE", "Large")),
        ("open_clip:ViT-H-14/laion2b_s32b_b79k@224", ("OpenCLIP", "Huge")),
        ("open_clip:ViT-g-14/laion2b_s12b_b42k@224", ("OpenCLIP", "Giant")),
        ("open_clip:ViT-B-16/openai@224", None),
        ("timm:vit_base_patch16_224.augreg_in21k_ft_in1k@224", None),
        ("timm:convnext_base.fb_in22k@224", None),
    ],
)
def test_sources_are_matched_with_the_papers_rows(source, row):
    assert paper_name(source) == row


def test_published_row_needs_target_and_source_of_one_family():
    vit = "timm:vit_large_patch16_224.augreg_in21k@224"
    assert published_row(vit, "timm:vit_base_patch16_224.mae@224") is None
    assert published_row(vit, "timm:vit_base_patch16_224.augreg_in21k@224")["train_info"] == 0.44


def test_a_perfect_reconstruction_is_a_number_and_a_word(paths, tmp_path, capsys):
    goal = ASK[1]
    perfect = ["--target", goal, "--source", goal, "--reference", goal, "--ridge", "0"]
    out = tmp_path / "out"
    assert main(["reconstruct", *paths, *perfect, *ASK[2:4], "--json", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    row = json.loads(printed.out)["rows"][0]
    figures = {row[name] for name in row if "info" in name}
    assert figures == {50.0}
    assert row["train_ratio"] == row["test_ratio"] == 1
    (line,) = [line for line in printed.err.splitlines() if line.count(goal.split("@")[0]) == 2]
    assert line.count("perfect") == 3
    assert (out / "information.png").exists()
    assert "inf" not in (out / "table2.csv").read_text().replace("_info_", "")
