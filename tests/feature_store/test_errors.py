"""Checks of options: what is found, what is expected."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from feature_store.errors import InputError, require_at_least, require_positive


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "rate is -1; expected at least 0"),
        (math.inf, "rate is inf; expected a finite number of at least 0"),
        (math.nan, "rate is nan; expected a finite number of at least 0"),
    ],
)
def test_values_below_the_least_or_not_finite_are_refused(value, message):
    with pytest.raises(InputError, match=message):
        require_at_least(SimpleNamespace(rate=value), rate=0)


@pytest.mark.parametrize("value", [0, -1.5, math.inf, math.nan])
def test_values_that_are_not_positive_are_refused(value):
    with pytest.raises(InputError, match=f"rate is {value}; expected a positive, finite number"):
        require_positive(SimpleNamespace(rate=value), "rate")


def test_none_is_not_a_value():
    require_at_least(SimpleNamespace(rate=None), rate=0)
    require_positive(SimpleNamespace(rate=None), "rate")
