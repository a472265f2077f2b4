"""Table 10 in counts: what its intervals and tests are, by the figures of the protocol notes."""

from __future__ import annotations

import pytest

from analyses.published.robot import audit, count_of
from feature_store.errors import InputError


def test_the_published_rates_are_counts_of_16():
    assert [count_of(rate) for rate in (43.8, 50.0, 62.5)] == [7, 8, 10]
    with pytest.raises(InputError, match="45.0 % is not a share of 16"):
        count_of(45.0)


def test_no_test_tells_the_published_rates_apart():
    rows = audit().set_index(["size", "scales"])
    ends = {key: (round(row.low), round(row.high)) for key, row in rows.iterrows()}
    assert ends == {
        ("Base", "224"): (23, 67),
        ("Large", "224"): (28, 72),
        ("Base", "224+448"): (39, 82),
    }
    assert round(rows.loc[("Base", "224"), "p"], 2) == 0.48
    assert round(rows.loc[("Large", "224"), "p"], 2) == 0.72
    assert rows["trials_needed"].dropna().to_dict() == {
        ("Base", "224"): 111,
        ("Large", "224"): 247,
    }
