"""``workbench encoder-law``: the published losses, a table of one's own, and refusals."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from analyses.scaling_laws.fitting import FitOptions
from feature_store.errors import InputError
from workbench.commands.encoder_law import EncoderLaw

QUICK = FitOptions(loss="linear", resamples=0)
RESAMPLED = FitOptions(loss="linear", resamples=20)


def own_runs(path, **extra):
    n, d = (v.ravel() for v in np.meshgrid([1e8, 3e8, 9e8], np.arange(1, 7) * 1e6))
    loss = 1.5 + 400 * n**-0.4 + 50 * d**-0.35
    table = pd.DataFrame({"vit_params": n, "image_text_pairs": d, "eval_loss": loss, **extra})
    table.to_csv(path, index=False)
    return str(path)


def test_published_losses_give_tables_and_figures(tmp_path, capsys):
    assert EncoderLaw(fit=RESAMPLED, out=tmp_path, json=True).run() == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["rows"]) == 3 * 5
    assert len(result["gains"]) == 3 * 3
    assert len(result["curves"]) == 3 * 4
    detail = [g for g in result["gains_by_pairs"] if g["small"] == 632e6]
    assert len(detail) == 3 * 10
    assert all(g["low"] < g["gain"] < g["high"] for g in detail)
    first = next(g for g in detail if g["image_text_pairs"] == 1e6)
    assert first["observed"] == pytest.approx(2.036 - 2.017)  # table 2, 1M pairs
    assert len(pd.read_csv(tmp_path / "gains_by_pairs.csv")) == 3 * 3 * 10
    last = [g for g in result["gains"] if g["small"] == 632e6]
    assert [g["mean"] < 0 for g in last] == [True, True, True]
    assert sum(row["best"] for row in result["rows"]) == 3
    assert any(choice["extrapolated"] for choice in result["choices"])
    residuals = pd.read_csv(tmp_path / "residuals.csv")
    assert len(residuals) == 120
    assert {"fitted_power", "residual_free"} <= set(residuals.columns)
    for stem in ("figure1_losses", "figure2_losses", "figure3_losses", "gains"):
        assert (tmp_path / f"{stem}.png").stat().st_size > 10_000
        assert (tmp_path / f"{stem}.svg").is_file()


def test_own_runs_without_a_known_language_model(tmp_path, capsys):
    runs = own_runs(tmp_path / "own.csv")
    assert EncoderLaw(runs=runs, fit=RESAMPLED, json=True).run() == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    power = next(row for row in result["rows"] if row["variant"] == "power")
    assert power["alpha"] == pytest.approx(0.4, rel=1e-3)
    assert power["beta"] == pytest.approx(0.35, rel=1e-3)
    assert result["choices"] == []
    assert "add a column llm_params" in output.err
    sized = EncoderLaw(runs=runs, fit=QUICK, llm_params=7e9, budget=(1e20,), json=True)
    assert sized.run() == 0
    choices = json.loads(capsys.readouterr().out)["choices"]
    assert {choice["budget"] for choice in choices} == {1e20}


def test_text_output_names_the_verdict(capsys):
    assert EncoderLaw(fit=QUICK).run() == 0
    text = capsys.readouterr().out
    assert "632M to 1010M: mean gain -0.0156" in text
    assert "hurts at" in text
    assert "FLOP: 632M on" in text
    assert "(extrapolated)" in text


def test_few_values_of_pairs_still_give_an_exchange_rate(tmp_path, capsys):
    file = tmp_path / "own.csv"
    own_runs(file)
    table = pd.read_csv(file)
    table[table["image_text_pairs"] <= 3e6].to_csv(file, index=False)
    assert EncoderLaw(runs=str(file), fit=QUICK, out=tmp_path / "out").run() == 0
    text = capsys.readouterr().out
    assert "3 values of image_text_pairs" in text
    assert "worth a factor" in text


def test_a_budget_without_a_language_model_is_refused(tmp_path):
    runs = own_runs(tmp_path / "own.csv")
    with pytest.raises(InputError, match="size of language model 'all' is unknown"):
        EncoderLaw(runs=runs, fit=QUICK, budget=(1e20,)).run()


@pytest.mark.parametrize("bad", [{"llm_params": -7e9}, {"text_tokens": 0.0}])
def test_sizes_that_are_not_positive_are_refused(bad):
    with pytest.raises(InputError, match="must be a positive number"):
        EncoderLaw(fit=QUICK, **bad).run()


def test_missing_columns_are_named(tmp_path):
    file = tmp_path / "bad.csv"
    pd.DataFrame({"vit_params": [1], "loss": [2]}).to_csv(file, index=False)
    with pytest.raises(InputError, match="lacks image_text_pairs, eval_loss; it has vit_params"):
        EncoderLaw(runs=str(file)).run()
