"""The paper's runs on the meta device, against figures that LLaVA and the paper print."""

from __future__ import annotations

import pytest

from workbench.vlm.paper import LANGUAGE, RUNS, needs


def test_sizes_of_the_language_models():
    seven, thirteen = LANGUAGE.values()
    assert seven.params == pytest.approx(6.74e9, rel=0.01)
    assert thirteen.params == pytest.approx(13.0e9, rel=0.01)
    assert seven.adapters(128) == pytest.approx(320e6, rel=0.01)  # as peft counts them


@pytest.mark.slow
def test_s2_has_the_tokens_of_one_scale_and_adapters_fit_a_smaller_gpu():
    by_name = {run.name: run for run in RUNS}
    single, several = (needs(by_name[f"Table 1, 7B{end}"]) for end in ("", "-S2"))
    assert (single["tokens"], single["channels"]) == (576, 1024)
    assert (several["tokens"], several["channels"]) == (576, 3072)
    assert several["source"].endswith("openai#block:22@336+672.raw+1008.raw")
    assert several["encode_gpu_hours"] / single["encode_gpu_hours"] == pytest.approx(14)
    assert single["weights_gib"] == pytest.approx(18 * 6.76e9 / 2**30, rel=0.01)
    thirteen = needs(by_name["Table 1, 13B"])
    assert [run["gpu_gb"] for run in (several, single, thirteen)] == [80, None, None]
    assert needs(by_name["Table 1, 7B"], together=1)["gpu_gb"] == 141
    assert single["trained"] > 15 * several["trained"]
    large = needs(by_name["Tables 8 and 9, Large 224+448+896"])
    assert (large["tokens"], large["channels"]) == (256, 3072)
