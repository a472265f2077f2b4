"""The estimated cost of a run as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from workbench.results.terminal import as_shown
from workbench.vlm.paper import EXAMPLES, GPUS_GB, USABLE


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
    if found["trainings"]["recipes"]:
        lines += [trainings(found["trainings"], as_shown), ""]
    for table in found["tables"]:
        said = table["expected"] or table["missing"] or "nothing to measure"
        lines.append(f"{table['table']}, {table['title']}: {said}")
    lines += ["", *_sums(found)]
    lines += [f"left empty: {line}" for line in found["skipped"]]
    lines += found["not_comparable"]
    lines += [f"problem: {line}" for line in found["problems"]]
    return "\n".join(lines)


def trainings(found: dict[str, Any], shown: Callable[[pd.DataFrame, str], str]) -> str:
    """What :func:`workbench.vlm.paper.estimated` found, in two tables with a sentence on each."""
    usable = ", ".join(f"{USABLE * gb:.0f} of {gb}" for gb in GPUS_GB)
    length = " or ".join(sorted({str(row["length"]) for row in found["recipes"]}))
    return "\n\n".join(
        [
            f"Multimodal trainings: memory of each GPU in GB, with `--together` conversations of "
            f"{length} tokens at a time (usable: {usable} GB), in the recipe's stage and in the "
            f"projector's before it; TB of tokens, at most; GPU hours of encoding in every step of "
            f"both stages, at {found['tflops']:g} TFLOP/s sustained:",
            shown(_memory(pd.DataFrame(found["recipes"])), ""),
            f"GPU hours of encoding. LLaVA-1.5's {EXAMPLES:,} captions and conversations are "
            f"examples: pictures repeat among them and some have none, so that bytes and hours of "
            f"encoding once are upper bounds:",
            shown(_encoding(pd.DataFrame(found["encoders"])), ""),
        ]
    )


def _memory(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per training."""
    return pd.DataFrame(
        {
            "recipe": rows["recipe"],
            "stage": rows["stage"],
            "tokens x channels": [f"{r.tokens} x {r.channels}" for r in rows.itertuples()],
            "million trained": _digits(rows["trained"] / 1e6, 0),
            "at a time": rows["together"],
            "weights": _digits(rows["weights_gb"], 1),
            "gradients": _digits(rows["gradients_gb"], 1),
            "optimiser": _digits(rows["optimizer_gb"], 1),
            "activations": _digits(rows["activations_gb"], 1),
            "in all": _digits(rows["peak_gb"], 0),
            "fits a GPU of": ["none" if pd.isna(gb) else f"{gb:.0f}" for gb in rows["gpu_gb"]],
            "projector stage, million trained": _digits(rows["projector_trained"] / 1e6, 0),
            "projector stage, in all": _digits(rows["projector_peak_gb"], 0),
            "TB of tokens": _digits(rows["once_tb"], 1),
            "encoding in every step": _digits(rows["every_step_gpu_hours"], 1),
        }
    )


def _encoding(encoders: pd.DataFrame) -> pd.DataFrame:
    """One line per encoder."""
    return pd.DataFrame(
        {
            "encoder": encoders["encoder"],
            "scales": encoders["scales"],
            "TB of tokens": _digits(encoders["once_tb"], 1),
            "once, for all trainings": _digits(encoders["once_gpu_hours"], 1),
            "trainings": encoders["trainings"],
            "in every step of all trainings": _digits(encoders["every_step_gpu_hours"], 1),
        }
    )


def _digits(values: pd.Series, digits: int) -> pd.Series:
    return values.map(f"{{:,.{digits}f}}".format)


def _sums(found: dict[str, Any]) -> list[str]:
    totals = found["totals"]
    lines = [f"{len(found['tables'])} tables, {totals['models']} models: nothing is extracted"]
    if found["sources"]:
        lines = [
            f"{len(found['tables'])} tables, {totals['models']} models, {totals['stores']} stores: "
            f"{totals['gpu_hours']:.1f} GPU hours at {found['assumed_tflops']:g} TFLOP/s "
            f"sustained, {totals['bytes'] / 1e12:.2f} TB",
            "GPU hours are those of the extraction's forward passes alone: decoding, writing and "
            "the analyses (above, by table) come on top",
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
    if totals["trainings"]:
        lines.append(
            f"{totals['trainings']} multimodal trainings on {len(found['trainings']['encoders'])} "
            f"encoders are left to scripts/slurm/multimodal.sbatch: encoding once takes at most "
            f"{totals['once_gpu_hours']:.1f} GPU hours and {totals['once_tb']:.1f} TB, encoding in "
            f"every step {totals['every_step_gpu_hours']:.1f} GPU hours; GPU hours of training are "
            f"not estimated"
        )
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
