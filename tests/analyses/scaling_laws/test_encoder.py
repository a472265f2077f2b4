"""Encoder laws: known laws come back, the paper's tables, gains and costs by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analyses.scaling_laws import encoder, encoder_cost, encoder_gain
from analyses.scaling_laws.encoder_basis import VARIANTS, EncoderBasis
from analyses.scaling_laws.fitting import FitOptions
from feature_store.errors import InputError

QUICK = FitOptions(loss="linear", resamples=0)
SIZES, PAIRS = (86e6, 304e6, 632e6, 1.01e9), np.arange(1, 11) * 1e6


def losses(law, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """A complete table of losses from L(N, D)."""
    n, d = (v.ravel() for v in np.meshgrid(SIZES, PAIRS, indexing="ij"))
    y = law(n, d) + noise * np.random.default_rng(seed).normal(size=len(n))
    return pd.DataFrame({"vit_params": n, "image_text_pairs": d, "eval_loss": y})


def power(n, d):
    return 1.5 + 400 * n**-0.4 + 50 * d**-0.35


@pytest.fixture(scope="module")
def published():
    return encoder.compute(encoder.published_runs(), FitOptions(loss="linear", resamples=60))


def test_noise_free_power_law_comes_back():
    group = encoder.compute(losses(power), QUICK)[0]
    expected = {"E": 1.5, "A": 400, "alpha": 0.4, "B": 50, "beta": 0.35}
    for name, value in expected.items():
        assert group.fits["power"].parameters[name] == pytest.approx(value, rel=1e-3), name


@pytest.mark.parametrize(
    ("variant", "law", "expected"),
    [
        ("pairs", lambda n, d: 1.8 + 50 * d**-0.35 + 0 * n, {"E": 1.8, "B": 50, "beta": 0.35}),
        (
            "saturating",
            lambda n, d: 1.8 + 0.3 * np.exp(-n / 2e8) + 50 * d**-0.35,
            {"E": 1.8, "A": 0.3, "N0": 2e8, "B": 50, "beta": 0.35},
        ),
        (
            "turning",
            lambda n, d: 0.5 + 20 * n**-0.2 + 2e-10 * n + 50 * d**-0.35,
            {"alpha": 0.2, "G": 2e-10, "B": 50, "beta": 0.35},
        ),
    ],
)
def test_every_variant_recovers_its_own_law(variant, law, expected):
    fit = encoder.fit_variant(losses(law), variant, QUICK)
    for name, value in expected.items():
        assert fit.parameters[name] == pytest.approx(value, rel=1e-3), name


def test_slopes_are_the_derivatives_of_every_variant():
    n, d = np.tile(SIZES, 3), np.repeat([1e6, 3e6, 9e6], 4)
    rng = np.random.default_rng(0)
    for variant in VARIANTS:
        basis = EncoderBasis(n, d, variant)
        theta = 0.2 * rng.normal(size=(2, len(basis.exponents)))
        weights = rng.uniform(0.5, 1.5, size=(2, len(basis.coefficients)))
        for m in range(theta.shape[1]):
            step = np.zeros(theta.shape[1])
            step[m] = 1e-6
            rise = basis.columns(theta + step) - basis.columns(theta - step)
            numeric = np.einsum("pnk,pk->pn", rise, weights) / 2e-6
            slopes = basis.slopes(theta, weights)[..., m]
            np.testing.assert_allclose(slopes, numeric, rtol=1e-5, atol=1e-8, err_msg=variant)


def test_units_of_pairs_and_parameters_only_rescale():
    table = losses(power, noise=0.003)
    scaled = table.assign(
        image_text_pairs=table["image_text_pairs"] / 1e6, vit_params=table["vit_params"] / 1e9
    )
    first, second = (encoder.compute(t, QUICK)[0].fits["power"].parameters for t in (table, scaled))
    for name in ("alpha", "beta", "E"):
        assert second[name] == pytest.approx(first[name], rel=1e-3)


def test_criteria_are_the_gaussian_ones():
    fit = encoder.compute(losses(power, noise=0.01), QUICK)[0].fits["pairs"]
    n, k = 40, 4  # E, B, beta and the variance
    likelihood = stats.norm.logpdf(np.sqrt(n) * fit.rms * np.eye(1, n)[0], scale=fit.rms).sum()
    constant = n * (1 + np.log(2 * np.pi))
    assert fit.bic + constant == pytest.approx(-2 * likelihood + k * np.log(n))
    expected = -2 * likelihood + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    assert fit.aicc + constant == pytest.approx(expected)


def test_criteria_find_the_law_that_made_the_runs():
    power_runs = encoder.compute(losses(power, noise=0.004), QUICK)[0]
    assert power_runs.best == "power"
    flat = losses(lambda n, d: 1.8 + 50 * d**-0.35 + 0 * n, noise=0.004)
    options = FitOptions(loss="linear", resamples=0, allow_unidentified=True)
    assert encoder.compute(flat, options)[0].best == "pairs"


def test_published_tables_are_read_and_fitted(published):
    assert [len(g.runs) for g in published] == [40, 40, 40]
    table = pd.concat([g.residuals() for g in published])
    assert len(table) == 120
    free = table["eval_loss"] - table["fitted_free"]
    assert np.sqrt((free**2).mean()) < 0.0095
    compared = encoder.comparison(published).set_index(["llm", "dataset", "variant"])
    for key in {index[:2] for index in compared.index}:
        assert compared.loc[(*key, "pairs"), "delta_bic"] > 100  # size matters from 86M up


def test_noise_is_shared_at_one_number_of_pairs(published):
    correlation = []
    for group in published:
        noise = group.residuals().pivot(
            index="image_text_pairs", columns="vit_params", values="residual_free"
        )
        matrix = np.corrcoef(noise.to_numpy().T)
        correlation.append(matrix[np.triu_indices(len(matrix), 1)].mean())
    assert correlation[2] > 0.8  # LAION-400M
    assert min(correlation) > 0.2


def test_gain_from_632m_to_1010m_decides_the_claim(published):
    frames = [encoder_gain.gains(group, 632e6, 1.01e9) for group in published]
    means = [f.attrs["mean"] for f in frames]
    np.testing.assert_allclose(means, [-0.0030, -0.0056, -0.0156], atol=1e-4)
    assert frames[2].attrs["mean_high"] < 0  # worse on LAION-400M at 95 %
    for frame in frames:
        last = frame.iloc[-1]
        assert last["high"] < 0  # and worse at 10M pairs everywhere
    for frame in frames[:2]:
        assert frame.attrs["slope_high"] < 0  # on CC12M the gain falls as pairs grow
        assert 3e6 < frame.attrs["crossing"] < 4e6
    assert frames[2].attrs["verdict"].startswith("hurts at 2e+06 to 1e+07")


def test_gain_of_equal_encoders_is_a_students_t_test():
    table = losses(lambda n, d: 2.0 + 0 * n, noise=0.01, seed=3)
    options = FitOptions(loss="linear", resamples=0, allow_unidentified=True)
    group = encoder.compute(table, options)[0]
    frame = encoder_gain.gains(group, SIZES[0], SIZES[1])
    small, large = (table.loc[table["vit_params"] == n, "eval_loss"] for n in SIZES[:2])
    test = stats.ttest_rel(small, large).confidence_interval(0.95)
    assert (frame.attrs["mean_low"], frame.attrs["mean_high"]) == pytest.approx(test)
    line = stats.linregress(np.log(PAIRS), small.to_numpy() - large.to_numpy())
    assert frame.attrs["slope"] == pytest.approx(line.slope)
    half = stats.t.ppf(0.975, 8) * line.stderr
    assert frame.attrs["slope_high"] == pytest.approx(line.slope + half)


def test_exchange_rate_gives_equal_losses():
    group = encoder.compute(losses(power), QUICK)[0]
    factor = encoder_gain.exchange(group, 632e6, 1.01e9, 5e6)["factor"]
    assert power(632e6, factor * 5e6) == pytest.approx(power(1.01e9, 5e6), rel=1e-6)
    rate = encoder_gain.exchange_exponent(group, 632e6, 5e6)
    more = 632e6 * 1.0001
    fewer = 5e6 * 1.0001**-rate
    assert power(more, fewer) == pytest.approx(power(632e6, 5e6), rel=1e-8)


def test_exchange_rate_is_infinite_where_data_cannot_make_up():
    group = encoder.compute(losses(lambda n, d: 1 + 5e4 * n**-0.6 + 50 * d**-0.35), QUICK)[0]
    assert np.isinf(encoder_gain.exchange(group, 86e6, 1.01e9, 1e7)["factor"])


def test_cost_is_the_equation():
    cost = encoder_cost.CostModel(llm_params=7e9, text_tokens=44, tokens_by_encoder={86e6: 196})
    assert cost.flop_per_pair(86e6) == pytest.approx(2 * 86e6 * 196 + 6 * 7e9 * (196 + 44))
    assert cost.flop_per_pair(1e9) == pytest.approx(2 * 1e9 * 256 + 6 * 7e9 * (256 + 44))


def test_choices_spend_the_budget_and_mark_extrapolation():
    group = encoder.compute(losses(power), FitOptions(loss="linear", resamples=20))[0]
    cost = encoder_cost.CostModel(llm_params=7e9)
    budgets = encoder_cost.default_budgets(group, cost)
    frame = encoder_cost.choices(group, cost, budgets, variant="power")
    spent = [cost.flop_per_pair(n) for n in frame["vit_params"]] * frame["image_text_pairs"]
    np.testing.assert_allclose(spent, frame["budget"])
    assert frame.groupby("budget")["best"].sum().eq(1).all()
    outside = ~frame["image_text_pairs"].between(1e6, 1e7)
    assert (frame["extrapolated"] == outside).all()
    # The encoder is cheap beside the language model, so the largest wins under a power law.
    assert set(frame.loc[frame["best"], "vit_params"]) == {1.01e9}
    larger = encoder_cost.choices(group, cost, budgets[:1], variant="power", sizes=[2e9])
    assert larger["extrapolated"].all()


def test_a_continuous_optimum_needs_a_law_in_size():
    group = encoder.compute(losses(power), QUICK)[0]
    cost = encoder_cost.CostModel(llm_params=7e9)
    with pytest.raises(InputError, match="free law has no level for an encoder of 2e"):
        encoder_cost.choices(group, cost, [1e20], sizes=[2e9])
    with pytest.raises(InputError, match="no variant 'cubic'.*pairs, power"):
        encoder_cost.choices(group, cost, [1e20], variant="cubic")
    with pytest.raises(InputError, match=r"budgets.*-1"):
        encoder_cost.choices(group, cost, [-1.0])


def test_unknown_language_models_need_their_size():
    runs = losses(power)
    with pytest.raises(InputError, match=r"'all' is unknown; add a column llm_params.*Vicuna-7B"):
        encoder_cost.cost_model(runs, "all")
    assert encoder_cost.cost_model(runs.assign(llm_params=3e9), "all").llm_params == 3e9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="vit_params"), "lacks vit_params; it has image_text_pairs"),
        (lambda t: t.assign(eval_loss=0.0), "eval_loss must be a positive number"),
        (lambda t: t.head(5), "5 runs; the law has 5 parameters"),
        (lambda t: t[t["vit_params"] < 4e8], "vit_params takes 2 distinct values"),
        (lambda t: t[t["image_text_pairs"] < 2.5e6], "image_text_pairs takes 2 distinct values"),
        (lambda t: t.assign(eval_loss=2 + 50 * t["image_text_pairs"] ** -0.3), "determine alpha"),
    ],
)
def test_bad_tables_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        encoder.compute(change(losses(power)), QUICK)


def test_gains_name_what_is_missing(published):
    with pytest.raises(InputError, match=r"no runs of an encoder of 5e\+06"):
        encoder_gain.gains(published[0], 5e6, 632e6)


def test_incomplete_tables_are_fitted_too():
    table = losses(power, noise=0.002).drop(index=[3, 17])
    group = encoder.compute(table, FitOptions(loss="linear", resamples=20))[0]
    assert (
        group.fits["power"].intervals["beta"][0] < 0.35 < group.fits["power"].intervals["beta"][1]
    )


def test_a_coefficient_at_zero_is_said():
    fit = encoder.fit_variant(losses(lambda n, d: 3 * d**-0.05 + 0 * n), "pairs", QUICK)
    assert fit.at_zero == ()
    fit = encoder.fit_variant(losses(lambda n, d: 9 - 0.5 * np.log(d) + 0 * n), "pairs", QUICK)
    assert fit.at_zero == ("E",)
