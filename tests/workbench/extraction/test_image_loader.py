"""Decoding processes leave the program's random numbers and start method alone."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import multiprocessing, sys
import numpy as np, torch
from PIL import Image
from analyses.reading.progress import Bar, each, shown
from workbench.datasets import registry
from workbench.extraction.image_loader import Decoders, Pixels, batches_of
from workbench.models.transform import Transform

Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(sys.argv[1] + "/a.png")
torch.manual_seed(5)
expected = torch.rand(3)
torch.manual_seed(5)
transform = Transform(height=8, width=8, resize_ratio=1.0, mode="squash", interpolation="bicubic")
pixels = Pixels(registry.open("folder:" + sys.argv[1]), np.arange(1), (transform,))
decoders = Decoders(pixels, 1, gpu=False)
(batch,) = decoders.batches(batches_of({0: range(1)}, 1))
with Bar("a", 1) as bar, shown("b", total=1, unit="x"):
    bar.update(1)
list(each(["c"], progress=True, label="d"))
assert batch.rows == [0]
print(torch.equal(torch.rand(3), expected), multiprocessing.get_start_method(allow_none=True))
"""


def test_seed_and_start_method_stay(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["True", "None"], done.stderr
