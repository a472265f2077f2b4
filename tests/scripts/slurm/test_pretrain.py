"""The job of a pre-training: its signal reaches the training, which then is queued again."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("options", "again"),
    [
        ({"finishes": True}, []),
        ({"finishes": False}, ["requeue 7"]),
        ({"finishes": False, "ends_with": 0}, []),
    ],
)
def test_a_job_is_queued_again_unless_it_has_finished(options, again, job):
    (call,), queued, told = job("pretrain.sbatch", "--out", "a b", **options)
    assert call.endswith("--nproc-per-node 2 --module workbench.cli pretrain --out a b")
    assert queued == again
    assert told != options["finishes"]
