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
    assert recomputed["memory_gb"] == pytest.approx(one["memory_gb"])


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
        found = estimated(capsys, [*words, "--limit", "13153500"])
        assert shown == [
            f"{found['params'] / 1e6:.0f}",
            f"{found['steps']:,}",
            f"{found['gmacs_per_step'] / 1e3:,.0f}",
            f"{found['memory_gb']:.0f}",
            f"{found['gpu_hours']:,.0f}",
            f"{found['disk_gb']:.1f}",
        ], (recipe, scales)
