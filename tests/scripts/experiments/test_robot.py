"""The experiment in miniature, its list of runs, its summary, and the committed table."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from analyses import experiments
from feature_store.errors import InputError
from workbench.robot.config import DemoConfig, RolloutConfig
from workbench.tables.pipeline import committed
from workbench.training.config import TrainingConfig

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/robot.py"


@pytest.fixture
def script(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    found = loaded()
    change(monkeypatch, found, RESULTS=tmp_path)
    return found


def loaded():
    """Names of the script and of the modules beside it."""
    script = runpy.run_path(str(SCRIPT))
    return {**script["write_summary"].__globals__, **script["runs"].__globals__, **script}


def change(monkeypatch, script, **values):
    """Give constants other values, in each module that has them."""
    for module in (script[name].__globals__ for name in ("main", "write_summary", "runs")):
        for name in values.keys() & module.keys():
            monkeypatch.setitem(module, name, values[name])


def put(script, folder, row, seed, grasp, placed, **more):
    run = script["Run"](row=row, seed=seed, positions=len(grasp), **more)
    rate = {"trials": len(grasp), "hz": 50.0, "gmacs_per_look": 0.4, "versions": {"mujoco": "3"}}
    rate["gmacs_per_step"] = 0.05
    outcomes = {"grasp": grasp, "placed": placed}
    one = {**vars(run), **rate, "outcomes": outcomes, "training": {"best_loss": 0.1}}
    one |= {name: {"successes": sum(hits)} for name, hits in outcomes.items()}
    (folder / run.path.name).write_text(json.dumps(one))


def test_the_main_runs_are_rows_by_seeds(script):
    runs = list(script["runs"]("main", [0, 1, 2]))
    assert len({run.path for run in runs}) == len(script["ROWS"]) * 3
    assert {(run.positions, run.episodes, run.task) for run in runs} == {
        (200, 120, "pick-place-v3")
    }
    moved = list(script["runs"]("robustness", [0]))
    assert {run.policy for run in moved} <= {run.policy for run in runs}


def test_a_run_is_in_the_part_that_lists_it(script):
    for part in script["PARTS"]:
        assert {script["part_of"](vars(run)) for run in script["runs"](part, [0])} == {part}


def test_rates_are_pooled_over_seeds_and_paired_over_positions(script, tmp_path):
    for seed in (0, 1):
        put(script, tmp_path, "Lite0", seed, [1, 0, 0, 0], [0, 0, 0, 0])
        put(script, tmp_path, "Lite0-S2", seed, [1, 1, 1, 0], [1, 0, 0, 0])
    put(script, tmp_path, "Lite0", 0, [1, 1], [1, 1], task="push-v3")
    rows = script["summary"]().set_index(["task", "row"])
    base, other = (rows.loc[("pick-place-v3", name)] for name in ("Lite0", "Lite0-S2"))
    assert (base.grasp, base.trials, base.seeds) == (2, 8, 2)
    assert (other.grasp, other.placed) == (6, 2)
    assert other.grasp_difference == pytest.approx(0.5)
    assert pd.isna(other.grasp_p), "two seeds"
    assert (other.grasp_by_seed, other.grasp_first) == ("3, 3", "3, 3")
    assert pd.isna(base.grasp_difference)
    assert rows.loc[("push-v3", "Lite0"), "positions"] == 2


def test_rows_are_compared_where_both_see_past_actions_or_neither_does(script, tmp_path):
    one, two = script["STEADY"]
    put(script, tmp_path, "Lite0", 0, [0, 0, 0, 0], [0, 0, 0, 0])
    put(script, tmp_path, one, 0, [1, 1, 0, 0], [0, 0, 0, 0])
    put(script, tmp_path, two, 0, [1, 1, 1, 0], [0, 0, 0, 0])
    rows = script["summary"]().set_index("row")
    assert rows.grasp_difference[one] == pytest.approx(0.5)
    assert rows.grasp_difference[two] == pytest.approx(0.25)


def test_another_view_is_paired_with_the_first_positions_of_the_recorded_one(script, tmp_path):
    for row, grasp in (("Lite0", [1, 1, 0, 0]), ("Lite0-S2", [1, 1, 1, 1])):
        put(script, tmp_path, row, 0, grasp, [0, 0, 0, 0])
        put(script, tmp_path, row, 0, [0, 1], [0, 0], camera_shift=0.05)
    put(script, tmp_path, "Lite0", 0, [0, 0, 0, 0], [0, 0, 0, 0], episodes=10)
    rows = script["summary"]().set_index(["row", "episodes", "camera_shift"])
    for row in ("Lite0", "Lite0-S2"):
        moved = rows.loc[(row, 120, 0.05)]
        assert moved.grasp_view_difference == pytest.approx(-0.5)
        assert moved.placed_view_difference == 0
        assert pd.isna(rows.loc[(row, 120, 0.0)].grasp_view_difference)


def test_all_demonstrations_stand_beside_fewer_over_the_same_positions(script, tmp_path):
    grasp, placed = [1, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1]
    one, two = script["STEADY"]
    for row in (one, two, "blind"):
        for seed in (0, 1):
            put(script, tmp_path, row, seed, grasp, placed)
    put(script, tmp_path, one, 0, [0, 1, 1], [0, 0, 0], camera_shift=0.05)
    assert set(script["summary"]()["positions"]) == {6, 3}
    put(script, tmp_path, one, 0, [0, 0, 1], [0, 0, 0], episodes=10)
    put(script, tmp_path, two, 0, [1, 0, 0], [0, 0, 0], episodes=10)
    rows = script["summary"]().set_index(["camera_shift", "episodes", "positions", "row"])
    for row in (one, two):
        cut = rows.loc[(0.0, 120, 3, row)]
        assert (cut.grasp, cut.placed, cut.trials, cut.seeds) == (2, 1, 3, 1)
        assert rows.loc[(0.0, 120, 6, row)].trials == 12
    assert rows.loc[(0.0, 120, 3, two)].grasp_difference == 0
    assert (0.0, 120, 3, "blind") not in rows.index
    assert len(rows) == 2 + 3 + 2 + 1


def test_what_runs_share_is_prepared_in_steps_of_one_scale(script):
    runs = [script["Run"](row=row) for row in ("Lite0", "Lite0-S2", "blind", "Lite0-S2 raw")]
    model = "bundled:efficientnet_lite0"
    scales = ("224", "448", "448.raw")
    steps = [("pick-place-v3", "")] + [("pick-place-v3", f"{model}@{scale}") for scale in scales]
    assert script["preparations"](runs) == steps
    assert script["preparations"]([script["Run"](row="blind", task="push-v3")]) == [("push-v3", "")]


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("metaworld"), reason="needs the extra robot (metaworld)")
def test_a_small_experiment_runs_from_demonstrations_to_the_table_and_the_film(
    script, tmp_path, monkeypatch
):
    work = tmp_path / "work"
    small = replace(script["POLICY"], width=16, layers=1, batch=4)
    sees = script["LITE"].format(0, "32"), script["LITE"].format(0, "32+64")
    rows = {
        "Lite0": (sees[0], small),
        "Lite0-S2": (sees[1], small),
        "blind": ("", replace(small, blind=True, pooling="auto")),
    }
    change(
        monkeypatch, script, ROWS=rows, RESULTS=tmp_path / "results", TABLE=tmp_path / "table.csv",
        DEMOS=DemoConfig(episodes=3, size=32),
        TRIALS=RolloutConfig(max_steps=16, environments=1),
        TRAINING=TrainingConfig(iterations=4, checkpoint_every=2, patience=6),
    )  # fmt: skip
    listed = [script["Run"](row=row, episodes=2, positions=2) for row in rows]
    with pytest.raises(InputError, match=r"has no meta/info\.json"):
        script["measured"](listed[0], work)
    try:
        script["prepare"](listed, work)
    except InputError as error:
        pytest.skip(f"no rendering here: {error}")
    script["runner"].do(listed, lambda run: script["measured"](run, work))
    found = {run.row: json.loads(run.path.read_text()) for run in listed}
    assert {len(one["outcomes"]["placed"]) for one in found.values()} == {2}
    looks = [found[row]["gmacs_per_look"] for row in ("Lite0", "Lite0-S2", "blind")]
    assert looks == [pytest.approx(looks[0]), pytest.approx(5 * looks[0]), 0]
    assert {len(one["code_sha256"]) for one in found.values()} == {64}
    assert script["runner"].missing(listed) == []
    table = script["summary"]().set_index("row")
    assert list(table.index) == list(rows)
    assert set(table["trials"]) == {2}
    assert (
        table.loc["Lite0-S2", "placed_difference"]
        == (table.loc["Lite0-S2", "placed"] - table.loc["Lite0", "placed"]) / 2
    )
    path = script["film"](listed[1], work)
    assert path == tmp_path / "table10_Lite0-S2.gif"
    with Image.open(path) as shown:
        assert (shown.size, shown.n_frames) == ((2 * 224, 280), 6)


def test_the_committed_table_and_the_page_are_the_summary_of_the_committed_runs(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    own = loaded()
    found, stored = own["summary"](), experiments.load(committed.ROBOT)
    pd.testing.assert_frame_equal(stored, found, check_dtype=False, rtol=1e-6)
    assert own["runner"].tables_of(own["PAGE"]) == own["tables"](found), "run robot.py --summary"


def test_the_words_of_the_page_have_no_other_figures_than_its_tables(script):
    prose = script["PAGE"].read_text("utf-8").partition("## Does image scaling help here?")[2]
    prose, _, rest = prose.partition(script["runner"].BEGIN)
    tables = rest.partition(script["runner"].END)[0]
    figures = set(re.findall(r"\d+\.\d+(?= %| points)|[+−]\d+\.\d+", prose))
    assert figures
    assert sorted(figures - set(re.findall(r"[+−]?\d+\.\d+", tables))) == []


def test_the_page_has_a_table_for_each_part_without_columns_of_one_value(script, tmp_path):
    for row, moved in (("Lite0", [1, 0]), ("Lite0-S2", [0, 0])):
        put(script, tmp_path, row, 0, [1] * 200, [0] * 200)
        put(script, tmp_path, row, 0, moved, [1, 1], camera_shift=0.05)
    parts = script["tables"](script["summary"]()).split("**")[1:]
    found = dict(zip(parts[::2], parts[1::2], strict=True))
    assert found["Other tasks"].strip() == "Not yet run."
    assert "demonstrations" not in found["Rows of Table 10"]
    assert found["Rows of Table 10"].count("Lite0-S2") == 1
    assert "minus view as recorded" in found["Another view"]
