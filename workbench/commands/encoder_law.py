"""``workbench encoder-law``: does a bigger vision encoder pay in a vision-language model?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import tyro

from analyses.scaling_laws import encoder, encoder_cost, encoder_gain
from analyses.scaling_laws.encoder import GroupFit
from analyses.scaling_laws.fitting import FitOptions
from analyses.scaling_laws.runs import read_runs
from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.results.messages import note, show
from workbench.results.terminal import show_table


@dataclass(frozen=True, kw_only=True)
class EncoderLaw:
    """Fit loss against encoder parameters and image-text pairs; say what a bigger encoder gains.

    Without --runs, the 120 published losses.

    Examples
    --------
    workbench encoder-law --out runs/encoder-law
    """

    runs: str = "published"
    """CSV with columns vit_params, image_text_pairs, eval_loss and optionally llm, dataset,
    llm_params, image_tokens; or `published`."""
    variant: Literal["free", "power", "saturating", "turning", "pairs"] = "free"
    """Law that predicts the losses of the compute-optimal choice."""
    budget: tuple[float, ...] = ()
    """Budgets in FLOP; by default from the cheapest run to ten times the dearest."""
    llm_params: float | None = None
    """Parameters of the language model, if neither its name nor a column gives them."""
    text_tokens: float = 40.0
    """Text tokens per pair in the compute model (the paper states none)."""
    fit: Annotated[FitOptions, tyro.conf.arg(name="")] = field(
        default_factory=lambda: FitOptions(loss="linear")
    )
    out: Path | None = None
    """Folder for tables and figures."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        table = encoder.published_runs() if self.runs == "published" else read_runs(self.runs)
        self._check()
        if self.llm_params is not None:
            table = table.assign(llm_params=self.llm_params)
        groups = encoder.compute(table, self.fit)
        variants = encoder.comparison(groups)
        steps, choices, detail = [], [], []
        for group in groups:
            detail += encoder_gain.by_pairs(group, self.fit.confidence).to_dict(orient="records")
            steps += encoder_gain.summary(group, self.fit.confidence).to_dict(orient="records")
            choices += self._choices(group)
        found = {"gains": steps, "gains_by_pairs": detail, "choices": choices}
        if self.out is not None:
            self._write(groups, variants, found)
        if self.json:
            report = {"rows": _rows(groups, variants), **found, "curves": _curves(groups)}
            show(strict_json.dumps(report))
        else:
            _print(groups, variants, steps, choices)
        return 0

    def _check(self) -> None:
        for name in ("llm_params", "text_tokens"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} must be a positive number, found {value:g}")

    def _choices(self, group: GroupFit) -> list[dict[str, Any]]:
        """Compute-optimal choices, or a note on standard error where costs are unknown."""
        try:
            cost = encoder_cost.cost_model(group.runs, group.llm, self.text_tokens)
        except InputError as error:
            if self.budget:
                raise
            note(f"note: no compute-optimal choice for {group.llm}: {error}")
            return []
        budgets = self.budget or encoder_cost.default_budgets(group, cost)
        frame = encoder_cost.choices(
            group, cost, budgets, variant=self.variant, confidence=self.fit.confidence
        )
        named = frame.assign(llm=group.llm, dataset=group.dataset)
        return [{str(k): v for k, v in row.items()} for row in named.to_dict(orient="records")]

    def _write(
        self, groups: list[GroupFit], variants: pd.DataFrame, tables: dict[str, list[dict]]
    ) -> None:
        from workbench.figures import encoder_laws, style

        out = Path(self.out or ".")
        write_csv(variants, out / "variants.csv")
        for name, rows in tables.items():
            write_csv(pd.DataFrame(rows), out / f"{name}.csv")
        write_csv(pd.concat([group.residuals() for group in groups]), out / "residuals.csv")
        for number, group in enumerate(groups, start=1):
            style.save(encoder_laws.draw_losses(group), out / f"figure{number}_losses")
        style.save(encoder_laws.draw_gains(groups, self.fit.confidence), out / "gains")


def _rows(groups: list[GroupFit], variants: pd.DataFrame) -> list[dict[str, Any]]:
    """One record per group and variant: parameters, intervals, criteria."""
    rows = []
    fitted = [(group, name) for group in groups for name in group.fits]
    for row, (group, name) in zip(variants.to_dict(orient="records"), fitted, strict=True):
        ends = _ends(group.fits[name].intervals)
        values = {k: v for k, v in row.items() if v == v}  # drop parameters of other variants
        rows.append(values | ends | {"best": name == group.best})
    return rows


def _curves(groups: list[GroupFit]) -> list[dict[str, Any]]:
    """L(D) of every encoder alone."""
    return [
        {"llm": part.llm, "dataset": part.dataset, "vit_params": size, **fit.parameters}
        | _ends(fit.intervals)
        | {"rms": fit.rms, "at_zero": list(fit.at_zero), "unidentified": fit.unidentified}
        for part in groups
        for size, fit in part.own.items()
    ]


def _ends(intervals: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Intervals as flat `NAME_low`, `NAME_high` fields."""
    low = {f"{name}_low": pair[0] for name, pair in intervals.items()}
    return low | {f"{name}_high": pair[1] for name, pair in intervals.items()}


def _print(
    groups: list[GroupFit],
    variants: pd.DataFrame,
    steps: list[dict[str, Any]],
    choices: list[dict[str, Any]],
) -> None:
    """Tables for a reader: laws compared, gain of each step in size, best encoder by budget."""
    shown = ["llm", "dataset", "variant", "rms", "delta_aicc", "delta_bic", "beta"]
    show_table(variants[shown], ".4g")
    for group in groups:
        show(f"\n{group.llm} on {group.dataset}: best law in size by BIC: {group.best}")
        for step in (s for s in steps if (s["llm"], s["dataset"]) == (group.llm, group.dataset)):
            gain = ""
            if "mean" in step:
                ends = f"[{step['mean_low']:+.4f}, {step['mean_high']:+.4f}]"
                gain = f"mean gain {step['mean']:+.4f} {ends}; "
            show(
                f"  {step['small'] / 1e6:.0f}M to {step['large'] / 1e6:.0f}M: {gain}"
                f"{step['verdict']}; worth a factor {step['exchange_factor']:.3g} in pairs"
            )
        for row in (c for c in choices if (c["llm"], c["dataset"]) == (group.llm, group.dataset)):
            if row["best"]:
                mark = " (extrapolated)" if row["extrapolated"] else ""
                show(
                    f"  {row['budget']:.3g} FLOP: {row['vit_params'] / 1e6:.0f}M on "
                    f"{row['image_text_pairs']:.3g} pairs, loss {row['loss']:.3f}{mark}"
                )
    for row in variants.to_dict(orient="records"):
        for what in ("at_zero", "unidentified"):
            if row[what]:
                where = f"{row['llm']}, {row['dataset']}, {row['variant']}"
                note(f"warning: {where}: {what.replace('_', ' ')}: {row[what]}")
