"""Tables of dense probes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analyses.statistics.dense_scores import PerImage
from workbench.heads.report import class_table


def test_classes_that_occur_have_their_names():
    found = PerImage(np.arange(1), [np.array([[1, 0, 2], [2, 0, 2], [1, 3, 2]])])
    part = pd.DataFrame()
    part.attrs["per_image"] = {"m:a@1x": found}
    table = class_table([part], ["road", "sky"])
    assert table["class"].tolist() == [0, 2]
    assert table["name"].tolist() == ["road", ""]
    assert table["m:a@1x"].tolist() == [0.5, 1.0]
    assert "name" not in class_table([part], None)
