"""The page's tables are those of the committed runs; the list of runs has equal budgets."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts/experiments/pretraining.py"
PROSE = "**Result.**"


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        yield runpy.run_path(str(SCRIPT))


def test_the_page_has_the_tables_and_its_words_have_no_other_figures(script):
    tables = script["runner"].tables_of(script["PAGE"])
    assert tables == script["tables"](), "run pretraining.py --summary"
    prose = script["PAGE"].read_text("utf-8").partition(PROSE)[2].partition("\n## ")[0]
    prose = prose.partition(script["runner"].BEGIN)[0]
    figures = set(re.findall(r"\d+\.\d+", prose))
    assert figures
    assert sorted(figures - set(re.findall(r"\d+\.\d+", tables))) == []


def test_equal_compute_is_that_of_the_row_with_s2(script):
    asked = script["argparse"].Namespace(
        row=list(script["ROWS"]), objective=["supervised"], seed=[3]
    )
    runs = script["listed"](asked)
    spent = {
        run.row: run.images * script["gmacs"](run.row) for run in runs if "compute" in run.budgets
    }
    assert set(spent) == set(script["ROWS"])
    assert list(spent.values()) == pytest.approx([spent["small-S2"]] * 3, rel=2e-3)
    assert {run.images for run in runs if "images" in run.budgets} == {
        script["IMAGES"]["supervised"]
    }
    assert all(run.images % script["BATCH"]["supervised"] == 0 for run in runs)
