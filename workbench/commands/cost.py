"""``workbench cost``: parameters, GMACs, bytes and images per second of a source."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated

import tyro

import workbench.cost
from feature_store.source import split_tap
from workbench.cost import LatencyConfig, ThroughputConfig
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import show


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Count what a model costs per image at one or several scales; no weights are fetched.

    GMACs are multiply-accumulates in 1e9 (what the papers call FLOPs), summed over all crops.

    Examples
    --------
    workbench cost --model timm:vit_base_patch16_224 --scales 1x 2x 3x --json
    """

    model: str
    """MODEL or MODEL#TAP, such as bundled:efficientnet_lite0."""
    scales: tuple[str, ...] = ("1x",)
    """Pixels (224 448 448.whole 224x448) or multiples of the native size (1x 2x)."""
    dtype: str = "float16"
    """Stored dtype behind bytes per image: float16 or float32."""
    throughput: Annotated[
        bool, tyro.conf.arg(help="Also measure images per second, with the options that follow.")
    ] = False
    timing: Annotated[
        ThroughputConfig, options_of(ThroughputConfig, "device", "arithmetic", "batch", "repeats")
    ] = field(default_factory=lambda: ThroughputConfig(device="auto"))
    latency: Annotated[
        bool,
        tyro.conf.arg(
            help="Also measure one image's latency and peak memory at each scale: its crops "
            "batched, one after the other, shared among --crop-processes, and the image uncut."
        ),
    ] = False
    one_image: Annotated[LatencyConfig, options_of(LatencyConfig, "crop_processes")] = field(
        default_factory=LatencyConfig
    )
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        model, tap = split_tap(self.model)
        counted = workbench.cost.cost(model, self.scales, tap=tap, dtype=self.dtype)
        report = asdict(counted) | (self._measured(model, tap) if self.throughput else {})
        if self.latency:
            report["latency"] = self._latency(model, tap)
        show(strict_json.dumps(report) if self.json else _prose(report))
        return 0

    def _measured(self, model: str, tap: str | None) -> dict:
        from workbench.extraction.local import pick_device

        config = replace(self.timing, device=pick_device(self.timing.device))
        measured = workbench.cost.throughput(model, self.scales, config, tap=tap)
        return {
            "images_per_s": measured.median,
            "images_per_s_low": measured.low,
            "images_per_s_high": measured.high,
            "device": measured.device,
            "measured_with": asdict(measured.config),
        }

    def _latency(self, model: str, tap: str | None) -> list[dict]:
        from workbench.extraction.local import pick_device

        config = replace(
            self.one_image, device=pick_device(self.timing.device),
            arithmetic=self.timing.arithmetic, repeats=self.timing.repeats,
        )  # fmt: skip
        return workbench.cost.latency(model, self.scales, config, tap=tap).to_dict("records")


def _prose(report: dict) -> str:
    lines = [
        f"{report['model']}#{report['tap']}@{'+'.join(report['scales'])}",
        f"  parameters       {report['params'] / 1e6:,.1f} M, classification head left out",
        f"  GMACs per image  {report['gmacs']:,.2f}",
        f"  map              {report['tokens']} tokens x {report['channels']} channels",
        f"  stored           {report['bytes_per_image']:,} bytes per image as {report['dtype']}",
    ]
    for row in report["per_scale"]:
        rows, cols = row["grid"]
        lines.append(
            f"    {row['scale']:<14} {row['crops']:>3} crops  {row['gmacs']:>9,.2f} GMACs  "
            f"{rows} x {cols}  {row['bytes']:,} bytes"
        )
    if "images_per_s" in report:
        lines.append(
            f"  throughput       {report['images_per_s']:.1f} images/s, median of "
            f"{report['measured_with']['repeats']} (slowest {report['images_per_s_low']:.1f}, "
            f"fastest {report['images_per_s_high']:.1f}) on {report['device']}"
        )
    lines += [
        f"  latency          {row['seconds']:.3f} s (fastest {row['low']:.3f}, slowest "
        f"{row['high']:.3f}), {row['peak_mb']:,.0f} MB: {row['scale']}, {row['way']}"
        for row in report.get("latency", ())
    ]
    return "\n".join(lines)
