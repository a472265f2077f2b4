"""JSON of results: every value that analyses return has a form that every reader accepts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from feature_store import InputError
from workbench.results import strict_json


def test_a_file_is_strict_and_read_as_it_was_written(tmp_path):
    path = tmp_path / "folder" / "x.json"
    strict_json.write({"a": np.float32(1.5), "b": [float("nan"), np.array([1, 2])]}, path)
    assert strict_json.read(path) == {"a": 1.5, "b": [None, [1, 2]]}
    assert [file.name for file in path.parent.iterdir()] == ["x.json"]


@pytest.mark.parametrize("damaged", ["{", "", None])
def test_a_file_that_is_not_json_is_named(tmp_path, damaged):
    path = tmp_path / "x.json"
    if damaged is not None:
        path.write_text(damaged, encoding="utf-8")
    with pytest.raises(InputError, match="x.json"):
        strict_json.read(path)


def test_values_keep_their_full_precision_and_kind():
    value = {1: (np.int64(2), np.bool_(True), -np.inf), "text": "NaN", "third": 1 / 3}
    assert json.loads(strict_json.dumps(value)) == {
        "1": [2, True, None],
        "text": "NaN",
        "third": 1 / 3,
    }
    assert "\n" not in strict_json.dumps(value)


def test_a_table_becomes_one_object_per_row():
    table = pd.DataFrame({"source": ["a", "b"], "loss": [0.25, np.nan], "top": [[("x", 0.5)], []]})
    assert strict_json.jsonable(table) == [
        {"source": "a", "loss": 0.25, "top": [["x", 0.5]]},
        {"source": "b", "loss": None, "top": []},
    ]
