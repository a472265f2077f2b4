"""A sample of the hostile images and tables of scripts/fuzz/inputs.py."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "fuzz" / "inputs.py"


def test_twenty_hostile_images_and_tables(tmp_path):
    spec = importlib.util.spec_from_file_location("inputs", SCRIPT)
    inputs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged metadata
        found = inputs.outcomes(20, tmp_path)
    assert {kind: len(of) for kind, of in found.items()} == {"images": 20, "tables": 20}
    for outcomes in found.values():
        assert [o for o in outcomes if o.startswith("fault")] == []
        assert len(set(outcomes)) == 2
