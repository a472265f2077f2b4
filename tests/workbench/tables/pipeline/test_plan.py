"""What a config leaves to measure."""

from __future__ import annotations

import pytest

from workbench.tables.pipeline import config as configs
from workbench.tables.pipeline import plan
from workbench.tables.specs import select


def test_optional_data_are_left_out_and_said(tmp_path):
    made = plan.make(select(["sovit3"]), configs.load("paper", tmp_path, None))
    assert {m.data for m in made.measurements} == {"imagenet"}
    assert made.skipped["pets"] == "datasets.pets is not set"


@pytest.mark.slow
def test_everything_in_the_paper_is_planned(tmp_path):
    """Its models are built one by one in tests/workbench/models/test_registry.py."""
    given = configs.load("paper", tmp_path, None)
    planned = plan.make(select(), given)
    assert planned.tables == select()
    assert {"imagenet", "ade20k", "nyuv2"} <= set(planned.data)
