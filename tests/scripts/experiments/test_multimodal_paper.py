"""Recipes of the paper's rows, what they take, and the page that says so."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from feature_store import Source
from workbench import arguments
from workbench.cli import form_of
from workbench.models import resolve
from workbench.results.table_files import to_markdown
from workbench.tables.pipeline import dry_run_text
from workbench.tables.specs import tables
from workbench.vlm import paper

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/multimodal_paper.py"
RECIPES = sorted((SCRIPT.parents[1] / "slurm/recipes/vlm").glob("*.txt"))
ENCODER = "timm:test_vit:64#block:4"
REST = ("--store", "STORE", "--questions", "QUESTIONS", "--out", "RUN")
"""What a recipe leaves to the job."""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_a_whole_command_in_either_stage(recipe):
    found = paper.read(recipe)
    assert Source.parse(found.source).tap.startswith("block:")
    config = found.vlm
    assert (config.recipe, config.device, config.length) == ("llava-1.5", "cuda", 2048)
    assert 128 // 8 % config.together == 0, "parts of a GPU's share of a step are of one size"
    words = [*shlex.split(recipe.read_text()), *REST]
    form = form_of("vlm train")
    command = arguments.parse(form, "vlm train", words)
    assert (command.source, command.vlm) == (found.source, config)
    first = arguments.parse(form, "vlm train", [*words, "--stage", "projector"]).vlm
    assert config.stage != first.stage == "projector"


def test_recipes_are_the_rows_of_the_tables():
    found = {recipe.stem: paper.read(recipe) for recipe in RECIPES}
    rows = {
        name: (one.vlm.llm.split("-")[1], one.vlm.stage, one.source.rpartition("@")[2])
        for name, one in found.items()
    }
    raw = "336+672.raw+1008.raw"
    assert rows == {
        "table1_7b": ("7b", "full", "336"), "table1_7b_s2": ("7b", "lora", raw),
        "table1_13b": ("13b", "full", "336"), "table1_13b_s2": ("13b", "lora", raw),
        "tables8_9_large": ("7b", "lora", "224"), "tables8_9_large_448": ("7b", "lora", "224+448"),
        "tables8_9_large_896": ("7b", "lora", "224+448+896"),
        "tables8_9_huge": ("7b", "lora", "224"), "tables8_9_bigg": ("7b", "lora", "224"),
    }  # fmt: skip
    beginnings = {tables()[number].setups["paper"].recipes for number in ("1", "8", "9")}
    assert len(beginnings) == 2
    assert all(sum(name.startswith(start) for start in beginnings) == 1 for name in rows)


def test_recipes_of_a_folder_are_estimated(script, tmp_path, monkeypatch, capsys):
    for name, scales, stage in (("one", "64", "full"), ("two", "64+128", "lora")):
        (tmp_path / f"{name}.txt").write_text(
            f"--source {ENCODER}@{scales} --llm hf:lmsys/vicuna-13b-v1.5 --recipe llava-1.5\n"
            f"--stage {stage} --together 1 --device cuda\n"
        )
    monkeypatch.setattr(paper, "RECIPES", tmp_path)
    monkeypatch.setattr(sys, "argv", ["multimodal_paper.py", "--json"])
    script["main"]()
    found = json.loads(capsys.readouterr().out)
    assert [row["recipe"] for row in found["recipes"]] == ["one", "two"]
    assert [row["gpu_gb"] for row in found["recipes"]] == [None, 80]
    assert [(one["scales"], one["trainings"]) for one in found["encoders"]] == [("64+128", 2)]
    shown = dry_run_text.trainings(found, to_markdown)
    (one,) = [line for line in shown.splitlines() if line.startswith("| one ")]
    cells = [cell.strip() for cell in one.split("|")]
    assert cells[2:4] == ["full", "16 x 64"]
    assert cells[11:14] == ["none", "27", "40"], "GPU; projector alone: million trained, GB"
    assert "upper bounds" in shown


def test_the_page_has_the_audit_and_its_words_have_no_other_figures(script):
    said = script["runner"].tables_of(script["PAGE"])
    assert said.endswith(script["audit"]()), "run multimodal_paper.py --write"
    prose = script["PAGE"].read_text("utf-8").partition(script["runner"].BEGIN)[0]
    figures = set(re.findall(r"\d+\.\d+", prose))
    assert len(figures) > 5
    assert sorted(figures - set(re.findall(r"\d+\.\d+", said))) == []
    memory = set(re.findall(r"(?:takes? |: )(\d+) GB", prose))
    assert len(memory) == 6
    assert sorted(memory - set(re.findall(r"\| (\d+) ", said))) == []


@pytest.mark.slow
def test_the_page_has_what_the_recipes_take_and_parts_are_the_largest_that_fit(script):
    found = paper.estimated()
    said = script["runner"].tables_of(script["PAGE"])
    shown = dry_run_text.trainings(found, to_markdown)
    assert said.startswith(shown), "run multimodal_paper.py --write"
    rows = {row["recipe"]: row for row in found["recipes"]}
    for recipe in RECIPES:
        one, row = paper.read(recipe), rows[recipe.stem]
        parsed = Source.parse(one.source)
        blocks = [t for t in resolve(parsed.model, None).taps if t.startswith("block:")]
        assert parsed.tap == f"block:{len(blocks) - 2}", "one block before the last"
        assert row["projector_peak_gb"] < row["peak_gb"], "a GPU that holds one holds both"
        if row["gpu_gb"]:
            twice = dataclasses.replace(one.vlm, together=2 * one.vlm.together)
            assert paper.needs(one.source, twice)["gpu_gb"] != row["gpu_gb"]
    assert [name for name, row in rows.items() if not row["gpu_gb"]] == ["table1_13b"]
    assert [name for name, row in rows.items() if row["gpu_gb"] == 180] == ["table1_7b"]
    several, single = rows["table1_7b_s2"], rows["table1_7b"]
    assert several["tokens"] == single["tokens"] == 576
    assert several["every_step_gpu_hours"] / single["every_step_gpu_hours"] == pytest.approx(14)
