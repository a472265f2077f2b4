"""Dense probes of stored tokens check every source before they train a decoder."""

from __future__ import annotations

import pytest

from workbench.cli import main
from workbench.extraction import ExtractRequest, extract

MODEL = "random:timm:test_vit.r160_in1k:32"


@pytest.mark.parametrize("second", ["32", "32+64"])
def test_every_source_is_checked_before_the_first_training(seen, unseen, tmp_path, capsys, second):
    """The second source's test tokens are not stored, or its folder holds another run."""
    given = []
    for part, dataset in (("train", seen), ("test", unseen)):
        path = str(tmp_path / f"{part}.zarr")
        scales = ["32", "64"] if part == "train" or second != "32" else ["64"]
        extract(ExtractRequest(dataset=dataset, models=[MODEL], scales=scales, store=path))
        given += [f"--{part}", path]
    out = tmp_path / "out"
    ask = ["probe", *given, "--dense", "depth", "--head", "vpd", "--hidden", "32"]
    both = [*ask, "--source", f"{MODEL}@64", "--source", f"{MODEL}@{second}", "--out", str(out)]
    there = set()
    if second != "32":
        alone = [*ask, "--source", f"{MODEL}@{second}", "--out", str(out), "--iterations", "1"]
        assert main(alone) == 0
        there = {folder.name for folder in out.glob("*-vpd-seed0")}
    assert main([*both, "--iterations", "2"]) == 2
    expected = "test.zarr" if second == "32" else "iterations was 1 there and is 2 now"
    assert expected in capsys.readouterr().err
    assert {folder.name for folder in out.glob("*-vpd-seed0")} == there
