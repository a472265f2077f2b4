"""The shape law: known parameters come back, units do not matter, bad tables are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analyses.scaling_laws import joint, shape
from analyses.scaling_laws.digits import load_digits_sweep
from analyses.scaling_laws.fitting import FitOptions
from analyses.scaling_laws.runs import pareto
from analyses.scaling_laws.shape import ShapeLawConfig
from analyses.scaling_laws.shape_law import PARAMETERS, ShapeLaw
from feature_store.errors import InputError

LAW = ShapeLaw(a=1.2, b=1.75, c=0.65, alpha=300.0, beta=8.4e-6, xi=1.0, epsilon=0.1)
QUICK = ShapeLawConfig(options=FitOptions(resamples=0))


def sweep(noise: float = 0.0, seed: int = 0, law: ShapeLaw = LAW) -> pd.DataFrame:
    """A star leg as in appendix B.2, its centre included: 7 widths × 3 budgets."""
    value = np.repeat([608.0, 768, 928, 1088, 1328, 1648, 1968], 3)
    compute = np.tile([0.5, 1.0, 2.0], 7) * 40 * (value / 1000) ** 2
    metric = law.metric(value, compute)
    metric = metric + noise * np.random.default_rng(seed).normal(size=len(metric))
    return pd.DataFrame({"value": value, "compute": compute, "metric": metric})


@pytest.mark.parametrize("loss", ["huber", "linear"])
@pytest.mark.parametrize("residuals", ["absolute", "relative"])
@pytest.mark.parametrize(
    "law",
    [
        LAW,
        ShapeLaw(a=0.5, b=0.6, c=0.4, alpha=5.0, beta=0.02, xi=2.0, epsilon=0.05),
        ShapeLaw(a=2.5, b=0.9, c=0.3, alpha=2e6, beta=0.001, xi=0.4, epsilon=0.3),
    ],
)
def test_noise_free_runs_give_the_parameters_back(loss, residuals, law):
    config = ShapeLawConfig(options=FitOptions(resamples=0, loss=loss, residuals=residuals))
    fit = shape.compute(sweep(law=law), config)[0]
    for name in (*PARAMETERS, "s"):
        assert getattr(fit.law, name) == pytest.approx(getattr(law, name), rel=1e-3), name
    assert fit.quality["r2"] == pytest.approx(1.0)
    assert fit.holdout["mean_relative_error"] < 1e-6
    assert not fit.warnings
    assert repr(fit) == f"<ShapeFit value: s = {fit.law.s:.3f}, 21 runs>"


def test_units_of_compute_value_and_metric_only_rescale():
    table = sweep(noise=0.003)
    first = shape.compute(table, QUICK)[0].law
    scaled = table.assign(
        compute=table["compute"] * 1e12, value=table["value"] / 50, metric=table["metric"] * 7
    )
    second = shape.compute(scaled, QUICK)[0].law
    for name in ("a", "b", "c", "s"):
        assert getattr(second, name) == pytest.approx(getattr(first, name), rel=1e-4)
    assert second.xi == pytest.approx(7 * first.xi * 1e12**first.c, rel=1e-2)
    assert second.optimum(1e12) == pytest.approx(first.optimum(1.0) / 50, rel=1e-3)


def test_order_of_the_runs_does_not_matter():
    table = sweep(noise=0.003)
    shuffled = table.sample(frac=1, random_state=0)
    first, second = (shape.compute(t, QUICK)[0].law for t in (table, shuffled))
    assert second.s == pytest.approx(first.s, rel=1e-5)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """60 sweeps; 95 % intervals of every parameter must cover between 86 % and 100 %.

    With 60 sweeps a true coverage of 95 % falls below 86 % with probability 0.4 % per parameter.
    """
    hits = pd.Series(0.0, index=[*PARAMETERS, "s"])
    sweeps = 60
    for seed in range(sweeps):
        options = FitOptions(resamples=200, loss="linear", seed=seed)
        config = ShapeLawConfig(holdout="none", options=options)
        fit = shape.compute(sweep(noise=0.002, seed=seed), config)[0]
        for name, (low, high) in fit.intervals.items():
            hits[name] += low <= getattr(LAW, name) <= high
    assert (hits / sweeps >= 0.86).all(), hits / sweeps


def test_huber_resists_a_failed_run():
    table = sweep(noise=0.0005)
    table.loc[10, "metric"] += 0.2
    errors = {}
    for loss in ("huber", "linear"):
        options = FitOptions(resamples=0, loss=loss, allow_unidentified=True)
        law = shape.compute(table, ShapeLawConfig(options=options))[0].law
        errors[loss] = abs(law.s - LAW.s)
    assert errors["huber"] < 0.02
    assert errors["huber"] < errors["linear"] / 3


def test_optimum_is_the_minimum_and_the_frontier_passes_through_it():
    x = np.geomspace(50, 50_000, 400_001)
    for t in (1.0, 40.0, 900.0):
        assert LAW.optimum(t) == pytest.approx(x[LAW.metric(x, t).argmin()], rel=1e-4)
        size = LAW.alpha * (1 + LAW.a / LAW.b) * LAW.optimum(t) ** -LAW.a  # eq. (5)
        frontier = size + LAW.xi * t**-LAW.c + LAW.epsilon
        assert frontier == pytest.approx(LAW.metric(LAW.optimum(t), t), rel=1e-12)
    grown = LAW.optimum(10.0) / LAW.optimum(1.0)
    assert grown == pytest.approx(10**LAW.s)


def test_the_law_is_quasiconvex():
    """Once it rises, it never falls again (appendix A.1)."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        law = ShapeLaw(**dict(zip(PARAMETERS, np.exp(rng.normal(size=7)), strict=True)))
        values = law.metric(np.geomspace(1e-3, 1e3, 2001), float(np.exp(rng.normal())))
        steps = np.diff(values)
        steps[np.abs(steps) < 1e-12 * np.abs(values).max()] = 0
        assert not (np.maximum.accumulate(steps > 0) & (steps < 0)).any()


def test_centre_runs_join_every_leg():
    fits = shape.compute(
        load_digits_sweep(),
        ShapeLawConfig(options=FitOptions(resamples=0, allow_unidentified=True)),
    )
    assert [f.dimension for f in fits] == ["width", "depth", "mlp"]
    assert [f.holdout["value"] for f in fits] == [64, 6, 192]
    assert [f.quality["runs"] for f in fits] == [48, 40, 40]


def test_the_digits_width_leg_says_that_the_law_does_not_fit():
    table = load_digits_sweep()
    table = table[table["dimension"].isin(["width", "centre"])]
    options = FitOptions(resamples=0, residuals="relative")
    fit = shape.compute(table, ShapeLawConfig(options=options))[0]
    assert fit.quality["lack_of_fit_p"] < 0.01
    assert any("lack of fit" in w for w in fit.warnings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="compute"), r"lacks compute; it has value, metric"),
        (lambda t: t.assign(metric=-t["metric"]), r"metric must be a positive number.*line 2"),
        (lambda t: t.assign(value="wide"), r"value must be a positive number.*'wide'"),
        (lambda t: t.assign(compute=np.nan), r"compute must be a positive number.*an empty cell"),
        (lambda t: t.assign(metric=0), r"metric must be a positive number.*has 0$"),
        (lambda t: t.assign(dimension=[None] + ["width"] * 20), r"dimension is empty in line 2"),
        (lambda t: t.head(6), r"6 runs; eq\. \(2\) has 7 parameters.*at least 8"),
        (lambda t: t[t["value"] < 800].sample(12, replace=True, random_state=0), r"value takes 2"),
        (lambda t: t.assign(compute=5.0), r"compute takes 1 distinct value;.*c and the two"),
        (lambda t: t.assign(dimension="centre"), r"all runs are centre runs"),
    ],
)
def test_bad_tables_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        shape.compute(change(sweep()), QUICK)


def test_runs_without_a_rising_side_do_not_determine_b():
    law = ShapeLaw(a=1.2, b=1.75, c=0.65, alpha=300.0, beta=0.0, xi=1.0, epsilon=0.1)
    with pytest.raises(InputError, match=r"do not determine b \(.*add larger values or smaller"):
        shape.compute(sweep(law=law), QUICK)


def test_compute_that_is_a_power_of_the_value_is_not_identifiable():
    value = np.geomspace(100, 3000, 24)
    table = pd.DataFrame({"value": value, "compute": (value / 100) ** 2})
    table["metric"] = LAW.metric(table["value"], table["compute"])
    with pytest.raises(InputError, match=r"b and c .*compute is a power of value"):
        shape.compute(table, QUICK)


def test_an_exponent_at_its_edge_is_never_returned_in_silence():
    value = np.repeat([1.0, 2, 3, 4, 6], 4)
    compute = np.tile([1.0, 2, 4, 8], 5)
    metric = 1.0 * (value < 1.5) + 0.2 * value * compute**-0.5 + 0.1
    table = pd.DataFrame({"value": value, "compute": compute, "metric": metric})
    with pytest.raises(InputError, match=r"a \(it ran to the upper end of its range, 10"):
        shape.compute(table, QUICK)
    options = FitOptions(resamples=0, allow_unidentified=True)
    fit = shape.compute(table, ShapeLawConfig(options=options))[0]
    assert "a" in fit.unidentified
    assert fit.row()["unidentified"] == fit.unidentified


def test_a_zero_coefficient_is_said():
    law = ShapeLaw(a=1.2, b=1.75, c=0.65, alpha=300.0, beta=8.4e-6, xi=1.0, epsilon=0.0)
    table = sweep(law=law)
    table["metric"] -= 0.05  # the best constant would be negative
    fit = shape.compute(table, QUICK)[0]
    assert fit.law.epsilon == 0
    assert any(w.startswith("epsilon is 0") for w in fit.warnings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resamples": 5}, "at least 20"),
        ({"confidence": 1.0}, "confidence is"),
        ({"loss": "l1"}, "l1.*huber or linear"),
        ({"residuals": "log"}, "log.*absolute or relative"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        FitOptions(**options)


def joint_runs() -> tuple[joint.JointLaw, pd.DataFrame]:
    law = joint.JointLaw(
        dimensions=("width", "depth"),
        a=(1.1, 0.8),
        b=(0.9, 1.4),
        c=0.6,
        alpha=(20.0, 1.5),
        beta=(0.01, 0.02),
        xi=0.8,
        epsilon=0.1,
    )
    grid = [(w, d) for w in (16, 32, 48, 64, 96) for d in (2, 4, 6, 9, 12)]
    x = np.repeat(np.array(grid, float), 4, axis=0)
    t = np.tile([1.0, 3.0, 10.0, 30.0], len(grid)) * x[:, 0] ** 2 * x[:, 1] / 1e4
    table = pd.DataFrame(x, columns=["width", "depth"]).assign(compute=t, metric=law.metric(x, t))
    return law, table


def test_joint_law_comes_back_from_noise_free_runs():
    law, table = joint_runs()
    options = FitOptions(resamples=0, loss="linear")
    fit = joint.compute(table, ("width", "depth"), options)
    np.testing.assert_allclose(fit.law.s, law.s, rtol=1e-3)
    np.testing.assert_allclose(fit.law.a, law.a, rtol=1e-3)
    assert fit.law.c == pytest.approx(law.c, rel=1e-3)
    assert fit.r2 == pytest.approx(1.0)


def test_joint_optimum_minimises_each_dimension():
    law, _ = joint_runs()
    best = np.array([law.optimum(50.0)[name] for name in law.dimensions])
    least = law.metric(best[None], np.array([50.0]))[0]
    for k in range(2):
        for factor in (0.97, 1.03):
            moved = best.copy()
            moved[k] *= factor
            assert law.metric(moved[None], np.array([50.0]))[0] > least


def test_joint_law_in_one_dimension_is_the_single_law():
    table = sweep(noise=0.002)
    options = FitOptions(resamples=0)
    one = joint.compute(table.rename(columns={"value": "width"}), ("width",), options).law
    single = shape.compute(table, QUICK)[0].law
    assert one.s[0] == pytest.approx(single.s, rel=1e-6)


def test_joint_law_refuses_fewer_runs_than_parameters():
    _, table = joint_runs()
    with pytest.raises(InputError, match=r"11 parameters of eq\. \(3\) in 2 dimensions"):
        joint.compute(table.head(10), ("width", "depth"))


def test_pareto_is_the_brute_force_one():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        rng.uniform(size=(40, 2)), columns=["compute", "metric"], index=range(5, 45)
    )
    for i, row in table.iterrows():
        beaten = (table["compute"] < row["compute"]) & (table["metric"] <= row["metric"])
        assert pareto(table)[i] == (not beaten.any())
