"""``workbench reconstruct``: how much of a model is a linear function of another (Table 2)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
import xarray as xr

import feature_store
from analyses import reconstruction
from analyses.reading.progress import watched
from analyses.reading.splits import image_notes
from analyses.reconstruction import ReconstructionConfig
from feature_store import InputError
from feature_store.dataset_name import is_dataset_name
from workbench.cluster import EngineOptions
from workbench.cluster.engine import connect
from workbench.datasets.bundled.photos import few_photographs
from workbench.extraction.request import StreamConfig
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.results.terminal import show_table


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    r"""Reconstruct a model's features linearly from each source; information in bits (Table 2).

    Examples
    --------
    workbench reconstruct --train runs/demo/train.zarr --test runs/demo/test.zarr \
        --target bundled:efficientnet_lite2@1x --reference bundled:efficientnet_lite1@1x \
        --source bundled:efficientnet_lite0@1x --source bundled:efficientnet_lite0@1x+2x \
        --out runs/reconstruct
    """

    train: str
    """Store of the images the maps are fitted on; with --stream a dataset name will do."""
    test: str
    """Store of the images they are evaluated on; shares no image with --train."""
    target: str
    """Source to reconstruct, MODEL[#TAP]@SCALE[+SCALE...]."""
    source: tyro.conf.UseAppendAction[tuple[str, ...]]
    """Source to reconstruct from; repeat for each row."""
    reference: str | None = None
    """Source that ratios are relative to, usually the largest model; a row as well."""
    out: Path | None = None
    """Folder for table2.md, .csv, .tex and the figures."""
    config: Annotated[
        ReconstructionConfig,
        options_of(
            ReconstructionConfig,
            *("ridge", "grid", "resamples", "seed", "precision", "device", "moments"),
            "keep_shared",
        ),
    ] = field(default_factory=lambda: ReconstructionConfig(progress=watched()))
    pairs: bool = False
    """With --moments: also the information of every source about every other, on training images;
    in pairs.md, .csv, .tex and a figure with --out."""
    stream: bool = False
    """Run the models now and store no features: --train and --test may be dataset names, and what
    a given store lacks is computed, as --limit, --batch, --workers and --arithmetic say. With
    --moments, repeat an interrupted run to resume it."""
    limit: int | None = None
    """With --stream: use only the first N images of a dataset."""
    models: Annotated[StreamConfig, options_of(StreamConfig, "batch", "workers", "arithmetic")] = (
        field(default_factory=StreamConfig)
    )
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        if self.pairs and self.config.moments is None:
            raise InputError("--pairs answers from stored moments; add --moments PATH")
        from analyses.reconstruction.table2 import layout
        from workbench.figures.reconstruction_files import pair_rows, write, write_pairs

        config = replace(self.config, decompose=self.out is not None or self.pairs)
        train, test = self._splits()
        with connect(self.cluster) as engine:
            result = reconstruction.compute(
                train, test, target=self.target, sources=self.source, reference=self.reference,
                config=config, engine=engine,
            )  # fmt: skip
        show_table(layout(result), aside=self.json)
        note(*result.attrs["notes"], *image_notes(result.attrs["shared_images"]))
        result.attrs["warnings"] += few_photographs(train.dataset)
        note(*(f"warning: {line}" for line in result.attrs["warnings"]))
        pairs = self._pairs(result, config) if self.pairs else None
        if self.out is not None:
            written = write(result, train, self.out)
            if pairs is not None:
                written += write_pairs(pairs, self.out)
            note(f"wrote {', '.join(p.name for p in written)} in {self.out}")
        if self.json:
            found = report(result)
            if pairs is not None:
                found["pairs"] = pair_rows(pairs)
            show(strict_json.dumps(found))
        return 0

    def _pairs(self, result: xr.Dataset, config: ReconstructionConfig) -> xr.Dataset:
        """Every source and the target, each from each, from the stored moments."""
        from analyses.moments import on_disk
        from analyses.reconstruction.pairs import pair_matrix

        names = [*map(str, result["source"].values), result.attrs["target"]]
        moments = on_disk.load(str(config.moments))
        return pair_matrix(moments, list(dict.fromkeys(names)), config=config)

    def _splits(self) -> tuple[Any, Any]:
        """Stores, or what computes its features when asked."""
        if self.stream and self.cluster.engine != "local":
            raise InputError(
                f"--stream runs the models in this process; --engine {self.cluster.engine} reads "
                f"stores: extract first, or leave one of them out"
            )
        if self.stream:
            from workbench.extraction import streaming

            running = streaming.Running(replace(self.models, device=self.config.device), log=note)
            first, second = (
                streaming.open_split(n, running, self.limit) for n in (self.train, self.test)
            )
            return first, second
        for name in (self.train, self.test):
            if is_dataset_name(name):
                raise InputError(
                    f"{name} is a dataset, not a store; add --stream to run the models on it now, "
                    f"or extract its features first"
                )
        return feature_store.open(self.train), feature_store.open(self.test)


def report(result: xr.Dataset) -> dict:
    """The result as one JSON object: rows, warnings, counts."""
    counts = ("train_images", "train_tokens", "test_images", "null_train_loss", "null_test_loss")
    return {
        "rows": reconstruction.rows(result),
        "warnings": list(result.attrs["warnings"]),
        "notes": list(result.attrs["notes"]),
        **{name: result.attrs[name] for name in counts},
        "config": dict(result.attrs["config"]),
        "shared_images": result.attrs["shared_images"],
    }
