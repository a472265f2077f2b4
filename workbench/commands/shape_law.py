"""``workbench shape-law``: how width, depth and MLP size should grow with compute."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import tyro

from analyses.scaling_laws import joint, planners, shape, sovit
from analyses.scaling_laws.architecture import DIMENSIONS
from analyses.scaling_laws.digits import load_digits_sweep
from analyses.scaling_laws.fitting import FitOptions
from analyses.scaling_laws.runs import read_runs
from analyses.scaling_laws.shape import ShapeFit, ShapeLawConfig
from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.results.messages import note, show
from workbench.results.terminal import show_table

_SHOWN = [
    *("dimension", "a", "b", "c", "alpha", "beta", "xi", "epsilon", "s", "s_low", "s_high"),
    *("runs", "r2", "rms", "holdout_rms"),
]


@dataclass(frozen=True, kw_only=True)
class ShapeLaw:
    """Fit the shape law of "Getting ViT in Shape" to training runs, or plan such runs.

    Without --runs, --plan prints a sweep or the arithmetic of the paper.

    Examples
    --------
    workbench shape-law --runs bundled:digits --allow-unidentified --out runs/shape-law
    workbench shape-law --plan star --json
    """

    runs: str | None = None
    """CSV with columns value, compute, metric and optionally dimension (`centre` for the star's
    centre, then with one column per dimension); or bundled:digits, a real sweep on a CPU."""
    plan: Literal["star", "grid", "scale", "sovit"] | None = None
    """Print the paper's star or grid sweep as architectures with parameters and GMACs, a shape
    scaled by --tau, or the arithmetic behind SoViT-400m and SoViT-150m."""
    tau: float = 10.0
    """Factor on compute for --plan scale, which starts at width 608, depth 10, MLP 928."""
    joint: bool = False
    """Also fit the joint law of width, depth and MLP size to a table with those columns."""
    law: tyro.conf.OmitArgPrefixes[ShapeLawConfig] = field(default_factory=ShapeLawConfig)
    out: Path | None = None
    """Folder for the table and the figures."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        if (self.runs is None) == (self.plan is None):
            raise InputError("give either --runs FILE.csv or --plan star, grid, scale or sovit")
        return self._fit() if self.runs is not None else self._plan()

    def _fit(self) -> int:
        name = str(self.runs)
        table = load_digits_sweep() if name == "bundled:digits" else read_runs(name)
        fits = shape.compute(table, self.law)
        rows = [fit.row() for fit in fits]
        both = {"joint": _joint(table, self.law.options)} if self.joint else {}
        if self.out is not None:
            self._draw(fits, self.out)
        if self.json:
            # With one dimension its fields also stand at the top of the object.
            show(strict_json.dumps((rows[0] if len(rows) == 1 else {}) | {"rows": rows} | both))
        else:
            frame = pd.DataFrame(rows)
            show_table(frame[[c for c in _SHOWN if c in frame]], ".4g")
            if self.joint:
                _show_joint(both["joint"])
        for name, reason in both.get("joint", {}).get("unidentified", {}).items():
            note(f"warning: joint: {name} not determined: {reason}")
        for row in rows:
            for warning in row["warnings"]:
                note(f"warning: {row['dimension']}: {warning}")
            if "holdout_rms" in row and "holdout_reason" in row:
                note(f"warning: {row['dimension']}: {row['holdout_reason']}")
            for parameter, reason in row["unidentified"].items():
                what = f"{parameter}, and with it s, not determined"
                note(f"warning: {row['dimension']}: {what}: {reason}")
        return 0

    def _plan(self) -> int:
        frame = _planned(str(self.plan), self.tau)
        if self.out is not None:
            write_csv(frame, self.out / f"{self.plan}.csv")
            if self.plan == "sovit":
                from workbench.figures import scaling_laws, style

                drawn = scaling_laws.draw_published_frontier()
                style.save(drawn, self.out / "published_frontier")
        if self.json:
            show(strict_json.dumps({"rows": frame.to_dict(orient="records")}))
        else:
            show_table(frame, ".5g")
        return 0

    def _draw(self, fits: list[ShapeFit], out: Path) -> None:
        from workbench.figures import scaling_laws, style

        write_csv(pd.DataFrame([fit.row() for fit in fits]), out / "shape_law.csv")
        runs = pd.concat([fit.runs.assign(leg=fit.dimension) for fit in fits])
        write_csv(runs, out / "predicted.csv")
        style.save(scaling_laws.draw_runs(fits), out / "runs")
        style.save(scaling_laws.draw_isoflop(fits), out / "isoflop")
        style.save(scaling_laws.draw_predicted(fits), out / "predicted")
        style.save(scaling_laws.draw_exponents(fits), out / "exponents")
        style.save(scaling_laws.draw_frontier(fits), out / "frontier")


def _joint(table: pd.DataFrame, options: FitOptions) -> dict[str, Any]:
    """The joint law as a flat record: per-dimension parameters are lists in order."""
    fit = joint.compute(table, options=options)
    record = asdict(fit.law) | {"s": fit.law.s, "r2": fit.r2}
    for name, (low, high) in fit.intervals.items():
        record |= {f"{name}_low": low, f"{name}_high": high}
    return record | {"unidentified": fit.unidentified}


def _show_joint(record: dict[str, Any]) -> None:
    """The joint law for a reader: one row per dimension, then what all share."""
    each = ("a", "b", "alpha", "beta", "s")
    frame = pd.DataFrame({"dimension": list(record["dimensions"])} | {k: record[k] for k in each})
    for end in ("low", "high"):
        if f"c_{end}" in record:
            frame[f"s_{end}"] = [record[f"s_{name}_{end}"] for name in record["dimensions"]]
    shared = ", ".join(f"{k} = {record[k]:.4g}" for k in ("c", "xi", "epsilon", "r2"))
    show(f"\njoint law, eq. (3): {shared}")
    show_table(frame, ".4g")


def _planned(plan: str, tau: float) -> pd.DataFrame:
    if plan == "star":
        return planners.star_sweep()
    if plan == "grid":
        return planners.grid_sweep()
    if plan == "sovit":
        parts = [
            sovit.reproduce(target).rename_axis("quantity").reset_index().assign(model=target.name)
            for target in sovit.TARGETS
        ]
        return pd.concat([*parts, sovit.claims()], ignore_index=True)
    start = {name: float(getattr(sovit.SMALL_OPTIMUM, name)) for name in DIMENSIONS}
    scaled = planners.scale_shape(start, tau, sovit.exponents())
    rows = [
        {"dimension": k, "start": start[k], "scaled": scaled[k], "rounded": round(scaled[k])}
        for k in DIMENSIONS
    ]
    return pd.DataFrame(rows).assign(tau=tau)
