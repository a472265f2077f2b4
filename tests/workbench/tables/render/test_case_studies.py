"""Every printed V* score stands in the blocks of its table, with its count and interval."""

from __future__ import annotations

import re

import pytest

from analyses.published import vstar_audit
from workbench.tables.render import extra_tables
from workbench.tables.render.case_studies import COLUMNS
from workbench.tables.specs import tables


@pytest.mark.parametrize(("number", "rows"), [("1", 7), ("8", 5)])
def test_every_cell_is_shown_as_a_count(number, rows):
    name = f"vstar counts {number}"
    assert name in tables()[number].extra_tables
    shown = {record["row"]: record for record in extra_tables.block(name)["records"]}
    cells = vstar_audit.cells()
    found = cells[cells["table"] == number]
    assert (len(shown), len(found)) == (rows, 3 * rows)
    for cell in found.itertuples():
        numbers = re.findall(r"[\d.]+", shown[cell.row][COLUMNS[cell.column]])
        assert [int(n) for n in numbers[:2]] == [cell.right, cell.questions]
        expected = [100 * cell.right / cell.questions, cell.low, cell.high]
        assert [float(n) for n in numbers[2:]] == pytest.approx(expected, abs=0.051)


def test_differences_say_what_chance_allows():
    block = extra_tables.block("vstar chance 1")
    said = {
        (r["row"], r["against"], r["questions of"]): r["larger than chance"]
        for r in block["records"]
    }
    assert said["LLaVA-1.5-7B-S2", "InstructBLIP-7B", "overall"] == "yes"
    assert said["LLaVA-1.5-7B-S2", "LLaVA-1.5-7B", "attribute"] == "perhaps"
    assert said["LLaVA-1.5-7B-S2", "GPT-4V", "overall"] == "no"
    values = list(said.values())
    counts = [values.count(verdict) for verdict in ("yes", "perhaps")]
    assert f"{counts[0]} are larger than chance" in block["caption"]
    assert f"and {counts[1]} may be" in block["caption"]


@pytest.mark.parametrize("number", ["1", "8", "9"])
def test_footnotes_tell_of_scoring_and_of_the_misprint(number):
    for setup in tables()[number].setups.values():
        said = " ".join(setup.footnotes())
        assert {"lmms-eval", "VLMEvalKit", "896", "672"} <= set(re.findall(r"[\w-]+", said))
    assert "multimodal_paper.py" in tables()[number].setups["paper"].expected
