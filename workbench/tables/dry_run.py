"""What a run would take: models, stores, GPU hours and bytes, without weights, images or disk."""

from __future__ import annotations

from typing import Any

import pandas as pd

from workbench.tables.plan import Plan, estimate
from workbench.tables.profile import Profile, problems


def dry_run(plan: Plan, profile: Profile) -> dict[str, Any]:
    """Resolve everything that a plan names.

    Every model is built on the meta device and every source checked against it; dataset names and
    paths are looked at without listing images.

    Returns
    -------
    dict
        ``sources`` (one record per single-scale source and store), ``totals``, ``tables``,
        ``skipped`` and ``problems`` (empty if the run can start).
    """
    rows = estimate(plan.needs(profile).values(), profile)
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
            "gpu_hours": sum(row["gpu_hours"] for row in rows),
            "bytes": sum(row["bytes"] for row in rows),
        },
        "skipped": list(plan.skipped.values()),
        "problems": problems(profile, plan.data),
    }


def text(found: dict[str, Any]) -> str:
    """The same for a reader."""
    lines = []
    if found["sources"]:
        frame = pd.DataFrame(found["sources"])
        shown = pd.DataFrame(
            {
                "store": frame["store"],
                "source": frame["source"],
                "images": frame["images"],
                "GMACs/image": frame["gmacs_per_image"].round(1),
                "GB": (frame["bytes"] / 1e9).round(2),
                "GPU hours": frame["gpu_hours"].round(2),
            }
        )
        lines.append(shown.to_string(index=False))
    totals = found["totals"]
    lines.append(
        f"{len(found['tables'])} tables, {totals['models']} models, {totals['stores']} stores: "
        f"{totals['gpu_hours']:.1f} GPU hours at {found['assumed_tflops']:g} TFLOP/s sustained, "
        f"{totals['bytes'] / 1e12:.2f} TB"
    )
    lines += [f"left empty: {line}" for line in found["skipped"]]
    lines += [f"problem: {line}" for line in found["problems"]]
    return "\n".join(lines)
