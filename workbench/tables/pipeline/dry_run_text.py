"""The estimated cost of a run as text."""

from __future__ import annotations

from typing import Any

import pandas as pd

from workbench.results.terminal import as_shown


def text(found: dict[str, Any]) -> str:
    """The findings of :func:`workbench.tables.pipeline.dry_run.dry_run` in words and tables."""
    lines = []
    if found["sources"]:
        lines += [as_shown(_sources(pd.DataFrame(found["sources"])), ".2f"), ""]
    if found["timed"]:
        frame = pd.DataFrame(found["timed"])[["source", "gmacs_per_image"]]
        frame.columns = ["source", "GMACs/image"]
        lines += ["timed, not stored:", "", as_shown(frame, ".2f"), ""]
    if found["decoders"]:
        lines += ["decoders, trained on the fly:", "", as_shown(_trained(found), ".2f"), ""]
    for table in found["tables"]:
        said = table["expected"] or table["missing"] or "nothing to measure"
        lines.append(f"{table['table']}, {table['title']}: {said}")
    lines += ["", *_sums(found)]
    lines += [f"left empty: {line}" for line in found["skipped"]]
    lines += found["not_comparable"]
    lines += [f"problem: {line}" for line in found["problems"]]
    return "\n".join(lines)


def _sums(found: dict[str, Any]) -> list[str]:
    totals = found["totals"]
    lines = [
        f"{len(found['tables'])} tables, {totals['models']} models, {totals['stores']} stores: "
        f"{totals['gpu_hours']:.1f} GPU hours at {found['assumed_tflops']:g} TFLOP/s sustained, "
        f"{totals['bytes'] / 1e12:.2f} TB",
        "GPU hours are those of the extraction's forward passes alone: decoding, writing and the "
        "analyses (above, by table) come on top",
    ]
    if totals["stored"]:
        lines.append(
            f"{totals['stored']} of {len(found['sources'])} sources are stored already: "
            f"{totals['gpu_hours_left']:.1f} GPU hours and {totals['bytes_left'] / 1e12:.2f} TB "
            f"are left"
        )
    if totals["decoders"]:
        lines.append(
            f"{totals['decoders']} decoders are trained on the fly: "
            f"{totals['decoder_gpu_hours']:.0f} GPU hours, nothing stored (unpooled tokens of "
            f"their crops would be {totals['crops_bytes'] / 1e12:.1f} TB)"
        )
        lines.append(totals["decoder_assumption"])
    if totals["uncounted"]:
        lines.append(
            f"not in these sums, the number of images being unknown: "
            f"{', '.join(totals['uncounted'])}; their rows are per 1,000 images"
        )
    return lines


def _trained(found: dict[str, Any]) -> pd.DataFrame:
    """One line per decoder."""
    frame = pd.DataFrame(found["decoders"])
    return pd.DataFrame(
        {
            "source": frame["source"],
            "recipe": frame["published"],
            "TB if stored": frame["crops_bytes"] / 1e12,
            "GPU hours": frame["on_the_fly_gpu_hours"],
            "GPU memory, GB": frame["on_the_fly_memory_gb"],
        }
    )


def _sources(frame: pd.DataFrame) -> pd.DataFrame:
    """One line per source; of 1,000 images where their number is unknown."""
    counts = pd.to_numeric(frame["images"])
    images = counts.fillna(1000)
    return pd.DataFrame(
        {
            "source": frame["source"],
            "store": frame["store"],
            "images": ["per 1,000" if pd.isna(n) else f"{n:.0f}" for n in counts],
            "GMACs/image": frame["gmacs_per_image"],
            "GB": frame["bytes_per_image"] * images / 1e9,
            "GPU hours": frame["gpu_hours_per_1000"] * images / 1000,
            "stored": ["complete" if stored else "" for stored in frame["stored"]],
        }
    )
