"""Estimates by hand, of recipes as published, and how they scale."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from workbench.cli import main

RECIPES = sorted((Path(__file__).parents[3] / "scripts/slurm/recipes").glob("*.txt"))


def estimated(capsys, words):
    options = ["--dataset", "folder:not-there", "--limit", "1000", "--out", "RUN", "--dry-run"]
    assert main(["pretrain", *options, *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_whole_commands(recipe, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = estimated(capsys, [f"@{recipe}"])
    size = {"base": 86e6, "large": 304e6}[recipe.stem.partition("_")[2]]
    assert found["params"] == pytest.approx(size, rel=0.01)
    assert found["gpu_hours"] > 0
    assert not list(tmp_path.iterdir())


def test_estimates_by_hand_and_with_s2(capsys):
    words = ["--model", "timm:vit_base_patch16_224", "--batch", "100", "--epochs", "3"]
    one = estimated(capsys, words)
    assert (one["steps"], one["images"]) == (30, 3000)
    assert one["gmacs_per_step"] == pytest.approx(17.6 * 3 * 100, rel=0.01)
    assert one["gpu_hours"] == pytest.approx(17.6e9 * 2 * 3 * 3000 / 200e12 / 3600, rel=0.01)
    two = estimated(capsys, [*words, "--scales", "1x", "2x"])
    assert two["gmacs_per_step"] == pytest.approx(5 * one["gmacs_per_step"], rel=0.01)
    assert two["memory_gb"] > 3 * one["memory_gb"]
    recomputed = estimated(capsys, [*words, "--scales", "1x", "2x", "--recompute"])
    ends = 4 * (3 * 224**2 + 197 * 768)  # pixels and tokens of one crop
    inside = 17 * 4 * 197 * 768 * 12
    states = 20 * one["params"]
    assert one["memory_gb"] * 1e9 == pytest.approx(states + 100 * (inside + ends))
    assert two["memory_gb"] * 1e9 == pytest.approx(states + 100 * 5 * (inside + ends))
    assert recomputed["memory_gb"] * 1e9 == pytest.approx(states + 100 * (inside + 5 * ends))
    whole = estimated(capsys, [*words, "--scales", "1x", "2x.whole", "--recompute"])
    assert whole["memory_gb"] > states / 1e9 + 100 * 4 * inside / 1e9, "one piece of 4 crops"


def test_a_supervised_head_counts_where_its_classes_are_known(capsys, coloured):
    words = ["--model", "timm:test_vit:32", "--scales", "1x", "2x", "--batch", "8"]
    none, two, many = (
        estimated(capsys, [*words, *more])
        for more in ([], ["--classes", "2"], ["--classes", "1000"])
    )
    head = (2 * 64 + 1) * 1000
    states = 1e9 * (many["memory_gb"] - none["memory_gb"]) - 8 * 1000 * 4 * 5
    assert states == pytest.approx(20 * head)
    assert 1e9 * (many["disk_gb"] - none["disk_gb"]) == pytest.approx(16 * 3 * head)
    own = ["pretrain", *words, "--dataset", f"folder:{coloured}", "--out", "RUN", "--dry-run"]
    assert main([*own, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory_gb"] == two["memory_gb"]


def test_distillation_that_is_recomputed_holds_one_large_crop(capsys):
    words = ["--model", "timm:test_vit:64", "--objective", "dinov2", "--batch", "10"]
    words += ["--prototypes", "64", "--hidden", "32", "--local-crops", "4", "--local-pixels", "0.5"]
    kept, recomputed = (estimated(capsys, [*words, *more]) for more in ([], ["--recompute"]))
    inside, ends = 17 * 4 * 17 * 64 * 6, 4 * (3 * 64**2 + 17 * 64)
    heads = 5 * 4 * (2 + 4 + 0.3 * 16) * 64
    states = 20 * (kept["params"] + 32 * (64 + 32 + 256) + 256 * 64)
    assert kept["memory_gb"] * 1e9 == pytest.approx(states + 10 * (3 * (inside + ends) + heads))
    assert recomputed["memory_gb"] * 1e9 == pytest.approx(states + 10 * (inside + 3 * ends))


def test_a_file_of_options_that_is_not_there_is_refused(capsys):
    assert main(["pretrain", "@no/such.txt"]) == 2
    assert "no/such.txt" in capsys.readouterr().err


def test_the_page_has_these_estimates(capsys):
    page = (Path(__file__).parents[3] / "docs/pretraining.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == 12
    folder = RECIPES[0].parent
    for recipe, cells in rows:
        scales, *shown = cells.split(" | ")
        recompute = ["--recompute"] if "recomputed" in scales else []
        names = scales.partition(",")[0].split(" + ")
        words = [f"@{folder / recipe}.txt", "--scales", *names, *recompute, "--devices", "8"]
        found = estimated(capsys, [*words, "--limit", "13153500", "--classes", "19167"])
        assert shown == [
            f"{found['params'] / 1e6:.0f}",
            f"{found['steps']:,}",
            f"{found['gmacs_per_step'] / 1e3:,.0f}",
            f"{found['memory_gb']:.0f}",
            f"{found['gpu_hours']:,.0f}",
            f"{found['disk_gb']:.1f}",
        ], (recipe, scales)
