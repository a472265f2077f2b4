"""What a run would take: models, stores, GPU hours and bytes, without weights, pixels or disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pandas as pd

from feature_store.errors import InputError
from workbench import datasets
from workbench.tables.plan import Plan, estimate
from workbench.tables.profile import Profile, problems


def dry_run(plan: Plan, profile: Profile) -> dict[str, Any]:
    """Resolve everything that a plan names.

    Every model is built on the meta device and every source checked against it; datasets that the
    config names are listed and counted, without decoding an image.

    Returns
    -------
    dict
        ``sources`` (one record per single-scale source and store), ``totals`` (of the sources whose
        images can be counted; ``uncounted`` names the other datasets), ``tables``, ``skipped`` and
        ``problems`` (empty if the run can start).
    """
    profile, unopened = counted(profile, plan.data)
    found = problems(profile, plan.data)
    found += [line for key, line in unopened.items() if key not in " ".join(found)]
    rows = estimate(plan.needs(profile).values(), profile)
    known = [row for row in rows if row["images"] is not None]
    return {
        "profile": profile.name,
        "assumed_tflops": profile.tflops,
        "tables": [
            {
                "table": table.key,
                "title": table.title,
                "numbers": len(table.asks(profile.name)),
                "expected": table.runs[profile.name].expected if profile.name in table.runs else "",
                "missing": table.missing,
            }
            for table in plan.tables
        ],
        "sources": rows,
        "totals": {
            "models": len({row["source"].partition("@")[0] for row in rows}),
            "stores": len({row["store"] for row in rows}),
            "gpu_hours": sum(row["gpu_hours"] for row in known),
            "bytes": sum(row["bytes"] for row in known),
            "uncounted": sorted({row["dataset"] for row in rows if row["images"] is None}),
        },
        "skipped": list(plan.skipped.values()),
        "problems": found,
    }


def counted(profile: Profile, needed: Iterable[str]) -> tuple[Profile, dict[str, str]]:
    """The profile with the number of images of every dataset that its config names.

    A folder is listed, a table read; a dataset of a hub is not opened, since that may fetch it, and
    stays uncounted. Also, for each config key whose dataset cannot be opened, a line that says why.
    """
    sizes: dict[str, int | None] = {}
    unopened = {}
    data = dict(profile.data)
    for key in needed:
        for role, split in profile.data[key].items():
            if split.images is not None:
                continue
            name = split.dataset.split(":", 2)[2] if split.dataset[:5] == "view:" else split.dataset
            if name not in sizes:
                try:
                    sizes[name] = None if name.startswith("hf:") else len(datasets.open(name))
                except InputError as error:
                    sizes[name] = None
                    unopened[split.key] = f"{split.key} = {name!r}: {error}"
            data[key] = {**data[key], role: replace(split, images=sizes[name])}
    return replace(profile, data=data), unopened


def text(found: dict[str, Any]) -> str:
    """The same for a reader."""
    lines = []
    if found["sources"]:
        lines.append(_sources(pd.DataFrame(found["sources"])).to_string(index=False))
    totals = found["totals"]
    lines.append(
        f"{len(found['tables'])} tables, {totals['models']} models, {totals['stores']} stores: "
        f"{totals['gpu_hours']:.1f} GPU hours at {found['assumed_tflops']:g} TFLOP/s sustained, "
        f"{totals['bytes'] / 1e12:.2f} TB"
    )
    if totals["uncounted"]:
        lines.append(
            f"not in these sums, the number of images being unknown: "
            f"{', '.join(totals['uncounted'])}; their rows are per 1,000 images"
        )
    lines += [f"left empty: {line}" for line in found["skipped"]]
    lines += [f"problem: {line}" for line in found["problems"]]
    return "\n".join(lines)


def _sources(frame: pd.DataFrame) -> pd.DataFrame:
    """One line per source; of 1,000 images where their number is unknown."""
    images = pd.to_numeric(frame["images"]).fillna(1000)
    return pd.DataFrame(
        {
            "store": frame["store"],
            "source": frame["source"],
            "images": [
                "per 1,000" if pd.isna(n) else f"{n:.0f}" for n in pd.to_numeric(frame["images"])
            ],
            "GMACs/image": frame["gmacs_per_image"].round(1),
            "GB": (frame["bytes_per_image"] * images / 1e9).round(2),
            "GPU hours": (frame["gpu_hours_per_1000"] * images / 1000).round(2),
        }
    )
