"""Table 3: what its memorization costs."""

from __future__ import annotations

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from analyses.memorization import MemorizationConfig, train
from workbench.tables.specs.s2_table03 import memorization_flop


def test_the_estimate_of_memorization_counts_what_the_head_multiplies():
    x = np.random.default_rng(0).normal(size=(2, 40, 24)).astype(np.float32)
    with FlopCounterMode(display=False) as counter:
        train(x, MemorizationConfig(epochs=3, batch=16, chunk=16))
    counted = memorization_flop(40, 24, views=2, epochs=3)
    assert counter.get_total_flops() == counted
