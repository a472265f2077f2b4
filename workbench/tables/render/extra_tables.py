"""Further tables beside a table's own: cost columns, arithmetic of a recipe, fitted laws."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

from feature_store.errors import InputError
from workbench import code_hash
from workbench.tables.render.view import signed


def block(name: str) -> dict:
    """A block by its declared name, such as ``cost 5``: title, caption, columns, records.

    Raises
    ------
    InputError
        Unknown kind of block.
    """
    kind = kind_of(name)
    title, caption, frame = BLOCKS[kind](name.removeprefix(kind).strip())
    return {
        "name": name,
        "kind": kind.split()[-1],
        "title": title,
        "caption": caption,
        "columns": list(frame.columns),
        "records": frame.astype(object).where(frame.notna(), None).to_dict("records"),
    }


def kind_of(name: str) -> str:
    """The kind of a declared name.

    Raises
    ------
    InputError
        Unknown kind of block.

    Examples
    --------
    >>> kind_of("cost 5")
    'cost'
    """
    kind = next((kind for kind in BLOCKS if name.startswith(kind)), None)
    if kind is None:
        raise InputError(f"no block {name!r}; there are: {', '.join(BLOCKS)}")
    return kind


def code_of(names: Iterable[str]) -> str:
    """Hash of the code and data behind blocks of these names; empty without any."""
    return code_hash.blocks_sha256(tuple(sorted({kind_of(name) for name in names})))


def _cost(number: str) -> tuple[str, str, pd.DataFrame]:
    from workbench.cost import published_cost_columns

    found = published_cost_columns(int(number))
    explained = [
        "; ".join(filter(None, pair))
        for pair in zip(found["params_explanation"], found["gmacs_explanation"], strict=True)
    ]
    frame = pd.DataFrame(
        {
            "family": found["family"],
            "size": found["size"],
            "scales": found["scales"],
            "parameters (M), paper": found["params_m"],
            "parameters (M), counted": found["params_m_counted"].round(1),
            "parameters, difference (%)": _percent(found["params_deviation"]),
            "GMACs, paper": found["flops_g"],
            "GMACs, counted": found["gmacs"].round(1),
            "GMACs, difference (%)": _percent(found["gmacs_deviation"]),
            "explanation": explained,
        }
    )
    caption = (
        "Counted on the paper's own models without weights; the paper calls multiply-accumulates "
        "FLOPs. A difference above 3 % is explained where a reading reproduces the printed figure "
        "to 0.5 %."
    )
    return "Cost columns", caption, frame


def _audit(_: str) -> tuple[str, str, pd.DataFrame]:
    from analyses.published import audit

    found = audit.compute()
    bases = found.bases.set_index("base")["consistent"]
    fits = ", ".join(f"{count} under base {base}" for base, count in bases.items())
    frame = pd.DataFrame(
        {
            "target": found.blocks["block"],
            "split": found.blocks["split"],
            "l0 from": found.blocks["null_loss_low"].map("{:.5f}".format),
            "l0 to": found.blocks["null_loss_high"].map("{:.5f}".format),
            "rows agree": found.blocks["consistent"].map({True: "yes", False: "no"}),
            "cells that do not follow": [
                _contradicted(found.cells, block, split)
                for block, split in zip(found.blocks["block"], found.blocks["split"], strict=True)
            ],
        }
    )
    caption = (
        "Arithmetic on the printed figures alone. With information -log(loss / l0), each row of a "
        "target implies the loss l0 of a constant vector, as exactly as it is printed. Of "
        f"{len(frame)} targets and splits, the rows agree on one l0 in {fits}; the best base is "
        f"{found.fitted_base:.3f}. So the figures are bits. Below, l0 under base 2."
    )
    return "The paper's figures against each other", caption, frame


def _contradicted(cells: pd.DataFrame, block: str, split: str) -> str:
    """The cells of a target and split that their neighbours contradict, in words."""
    part = cells[(cells["block"] == block) & (cells["split"] == split)]
    return "; ".join(
        f"{cell.source}, {cell.cell}: printed {cell.printed}, follows {cell.low:.4f} to "
        f"{cell.high:.4f}"
        for cell in part.itertuples()
    )


def _recipe(_: str) -> tuple[str, str, pd.DataFrame]:
    from analyses.scaling_laws import sovit

    parts = [
        sovit.reproduce(target).rename_axis("quantity").reset_index().assign(model=target.name)
        for target in sovit.TARGETS
    ]
    frame = pd.concat(parts, ignore_index=True)
    shown = pd.DataFrame(
        {
            "model": frame["model"],
            "quantity": frame["quantity"],
            "start": frame["start"].round(1),
            "published": frame["published"].round(1),
            "recipe at matched compute": frame["scaled"].round(1),
            "recipe, difference (%)": _percent(frame["relative"]),
            "best single factor": frame["fitted"].round(1),
            "factor, difference (%)": _percent(frame["fitted_relative"]),
        }
    )
    caption = (
        "From the small optimum (608, 10, 928) by the published exponents to the published shapes: "
        "arithmetic on the paper's own figures."
    )
    return "The recipe to SoViT", caption, shown


def _claims(_: str) -> tuple[str, str, pd.DataFrame]:
    from analyses.scaling_laws import sovit

    frame = sovit.claims()
    frame["difference (%)"] = _percent(frame["arithmetic"] / frame["paper"] - 1)
    frame["arithmetic"] = [float(f"{value:.4g}") for value in frame["arithmetic"]]
    columns = ["claim", "paper", "arithmetic", "difference (%)", "reading"]
    return "Claims and what the exponents give", "", frame[columns]


def _gains(group: str) -> tuple[str, str, pd.DataFrame]:
    from analyses.scaling_laws import encoder_gain
    from workbench.tables.pipeline.laws import encoder_group

    found = encoder_gain.summary(encoder_group(*group.split("/")))
    frame = pd.DataFrame(
        {
            "smaller encoder": found["small"].map(_size),
            "larger encoder": found["large"].map(_size),
            "mean gain in loss": found["mean"].round(4),
            "low": found["mean_low"].round(4),
            "high": found["mean_high"].round(4),
            "at each amount of data": found["verdict"],
        }
    )
    caption = (
        "Gain: loss of the smaller encoder minus that of the larger at equal data, with a 95 % "
        "interval; positive means that the larger encoder pays."
    )
    return "What the next larger encoder gains", caption, frame


def _sweep(_: str) -> tuple[str, str, pd.DataFrame]:
    from analyses import experiments
    from analyses.scaling_laws import encoder, encoder_signs

    published = encoder_signs.compute(encoder.published_runs())
    parts, missing = [published.assign(of="paper")], " No run of ours is committed yet."
    if "encoder_sweep" in experiments.names():
        ours = encoder_signs.compute(experiments.load("encoder_sweep"))
        parts, missing = [ours.assign(of="here"), *parts], ""
    found = pd.concat(parts, ignore_index=True)
    frame = found[["of", "llm", "dataset", "runs"]].copy()
    for name, label in (("size", "encoder twice as large"), ("pairs", "twice as many pairs")):
        ends = list(zip(*(found[f"{name}{end}"] for end in ("", "_low", "_high")), strict=True))
        frame[label] = [f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" for value, low, high in ends]
        frame[f"loss, {label}"] = [encoder_signs.sign(low, high) for _, low, high in ends]
    caption = (
        "Change of the loss in nats a token, slopes of a least-squares plane over log size and log "
        "pairs with 95 % intervals, and its sign. Here: scripts/experiments/encoder_sweep.py, "
        "projectors on small frozen encoders, each pair seen once, so that fewer pairs are fewer "
        f"steps as well.{missing}"
    )
    return "Signs of the encoder law", caption, frame


def _laws(group: str) -> tuple[str, str, pd.DataFrame]:
    from analyses.scaling_laws import encoder
    from workbench.tables.pipeline.laws import encoder_group

    found = encoder.comparison([encoder_group(*group.split("/"))])
    frame = pd.DataFrame(
        {
            "law": found["variant"],
            "rms residual": found["rms"].round(4),
            "BIC above best": found["delta_bic"].round(1),
            "AICc above best": found["delta_aicc"].round(1),
            "not determined": found["unidentified"],
        }
    )
    return "Laws compared", "", frame


def _pretraining(objective: str) -> tuple[str, str, pd.DataFrame]:
    from analyses.pretraining import experiment

    records = experiment.load()
    parts = []
    for budget in experiment.BUDGETS:
        table = experiment.compute(records, objective=objective, budget=budget)
        if not len(table):
            continue
        against = experiment.differences(table).set_index("against")
        for row in table.to_dict("records"):
            found = (
                f"{100 * row['accuracy']:.1f} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
            )
            gain = ""
            if row["row"] in against.index:
                one = 100 * against.loc[row["row"]]
                ends = [signed(one[name], 1) for name in ("difference", "low", "high")]
                gain = "{} ({} to {})".format(*ends)
            parts.append(
                {
                    "equal": budget,
                    "row": row["row"],
                    "images": row["images"],
                    "forward TMACs": f"{row['compute'] / 1e3:.2f}",
                    "top-1 (%)": found if row["learned"] else f"did not learn: {found}",
                    "pixels (%)": f"{100 * row['pixels']:.1f}",
                    "random start (%)": f"{100 * row['random']:.1f}",
                    "S2 in training minus it": gain,
                    "seeds": row["seeds"],
                }
            )
    caption = (
        "Runs committed with this project: small vision transformers on small shapes over "
        "photographs. Floors: a linear head on pixels, and on the backbone at its random start. "
        "Intervals: 95 %, over test images and seeds."
    )
    columns = ["equal", "row", "images", "forward TMACs", "top-1 (%)"]
    floors = ["pixels (%)", "random start (%)"]
    frame = pd.DataFrame(parts, columns=[*columns, *floors, "S2 in training minus it", "seeds"])
    return f"Pre-training here, {objective}", caption, frame


def _percent(share: pd.Series) -> pd.Series:
    """To a tenth of a per cent, without the sign of a zero."""
    return (100 * share.astype(float)).round(1) + 0.0


def _size(params: float) -> str:
    return f"{params / 1e9:.3g}B" if params >= 1e9 else f"{params / 1e6:.0f}M"


def _robot_audit(rest: str) -> tuple[str, str, pd.DataFrame]:
    from workbench.tables.render.robot_tables import audit_block

    return audit_block(rest)


def _robot_runs(rest: str) -> tuple[str, str, pd.DataFrame]:
    from workbench.tables.render.robot_tables import runs_block

    return runs_block(rest)


def _dense(number: str) -> tuple[str, str, pd.DataFrame]:
    from workbench.tables.render.dense_tables import block

    return block(number)


def _vstar_counts(number: str) -> tuple[str, str, pd.DataFrame]:
    from workbench.tables.render import case_studies

    return case_studies.vstar_counts(number)


def _vstar_chance(number: str) -> tuple[str, str, pd.DataFrame]:
    from workbench.tables.render import case_studies

    return case_studies.vstar_chance(number)


def _experiment(name: str) -> tuple[str, str, pd.DataFrame]:
    from workbench.tables.render import case_studies

    return case_studies.experiment(name)


BLOCKS: dict[str, Callable[[str], tuple[str, str, pd.DataFrame]]] = {
    "cost": _cost,
    "audit": _audit,
    "sovit recipe": _recipe,
    "sovit claims": _claims,
    "encoder gains": _gains,
    "encoder sweep": _sweep,
    "encoder laws": _laws,
    "pretraining": _pretraining,
    "robot audit": _robot_audit,
    "robot runs": _robot_runs,
    "dense": _dense,
    "vstar counts": _vstar_counts,
    "vstar chance": _vstar_chance,
    "experiment": _experiment,
}
"""Kind of block → from the rest of its name to title, caption and frame."""
