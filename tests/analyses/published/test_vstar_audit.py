"""The counts behind the printed V* scores, and what chance allows."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from analyses.published import vstar_audit
from feature_store.errors import InputError


def test_every_printed_score_is_one_count():
    found = vstar_audit.cells().set_index(["table", "row", "column"])
    right = found["right"]
    assert right["1", "LLaVA-1.5-7B-S2", "vstar_att"] == 59
    assert right["1", "LLaVA-1.5-7B-S2", "vstar_spa"] == 47
    assert right["1", "LLaVA-1.5-7B-S2", "overall"] == 106
    assert right["8", "big-G 224", "vstar_att"] == 37
    printed = found[found["printed"].notna()]
    assert len(printed) == 2 * (7 + 5)  # seven rows of Table 1 and five of Table 8
    rounded = (100 * printed["right"] / printed["questions"] - printed["printed"]).abs()
    assert rounded.max() < 0.051
    assert (found["low"] < 100 * found["right"] / found["questions"]).all()
    with pytest.raises(InputError, match=r"51\.0 % is 0 counts of 115"):
        vstar_audit._count(51.0, 115)


def test_only_the_differences_from_instructblip_are_certain():
    """Nine of 115 questions: at best p = 2 / 2^9; with the most discordant ones far from it."""
    found = vstar_audit.differences().set_index(["table", "row", "against", "column"])
    least = found.loc["8", "Large 224+448", "Large 224", "vstar_att"]
    assert least["difference"] == 4
    assert least["mcnemar_low"] == 0.125
    gain = found.loc["1", "LLaVA-1.5-7B-S2", "LLaVA-1.5-7B", "vstar_att"]
    assert gain["difference"] == 9
    assert gain["mcnemar_low"] == pytest.approx(2 / 2**9)
    assert gain["mcnemar_high"] == pytest.approx(binomtest(59, 109).pvalue)
    assert gain["mcnemar_low"] < gain["fisher"] < gain["mcnemar_high"]
    certain = found[found["mcnemar_high"] <= 0.05].reset_index()
    assert set(certain["against"]) == {"InstructBLIP-7B"}
    assert sorted(certain["column"]) == ["overall", "overall", "vstar_att", "vstar_att"]
    overall = found.loc["8", "Large 224+448+672", "Large 224", "overall"]
    assert (overall["difference"], round(overall["percent"], 1)) == (9, 4.7)


def test_bounds_over_all_questions_keep_to_the_counts_of_each_type():
    """Two ahead in one type and two behind in the other differ in four questions at least."""
    found = vstar_audit.chance((5, 3, 10), (1, 3, 4))
    assert found["mcnemar_low"] == binomtest(2, 4).pvalue
    assert found["mcnemar_high"] == binomtest(2 + 3 + 1, 4 + 2 * (3 + 1)).pvalue
    ahead = vstar_audit.chance((7, 3, 10), (1, 3, 4))
    assert ahead["mcnemar_low"] == binomtest(4, 6).pvalue
    assert ahead["mcnemar_low"] < ahead["mcnemar_high"]
    assert vstar_audit.chance((3, 3, 3)) == {"fisher": 1, "mcnemar_low": 1, "mcnemar_high": 1}
