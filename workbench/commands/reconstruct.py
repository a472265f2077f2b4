"""``workbench reconstruct``: how much of a model is a linear function of another (Table 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from workbench.cluster import EngineOptions
from workbench.results import strict_json
from workbench.results.messages import note, show

if TYPE_CHECKING:
    import xarray as xr

    from analyses.reconstruction import ReconstructionConfig


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """Reconstruct a model's features linearly from each source; information in bits (Table 2).

    Example: workbench reconstruct --train runs/demo/train.zarr --test runs/demo/test.zarr
    --target bundled:efficientnet_lite2@1x --source bundled:efficientnet_lite0@1x
    --source bundled:efficientnet_lite0@1x+2x --reference bundled:efficientnet_lite1@1x
    --out runs/reconstruct
    """

    train: str
    """Store of the images the maps are fitted on; with --stream a dataset name will do."""
    test: str
    """Store of the images they are judged on; shares no image with --train."""
    target: str
    """Source to reconstruct, MODEL[#TAP]@SCALE[+SCALE...]."""
    source: tyro.conf.UseAppendAction[tuple[str, ...]]
    """Source to reconstruct from; repeat for each row."""
    reference: str | None = None
    """Source that ratios are relative to, usually the largest model; a row as well."""
    out: Path | None = None
    """Folder for table2.md, .csv, .tex and the figures."""
    ridge: str = "auto"
    """auto: by cross-validation over images; 0: least squares, the paper's way; or a number
    relative to the mean eigenvalue of the source covariance."""
    grid: Literal["pool", "same"] = "pool"
    """pool: area-average all token maps to the common grid; same: refuse grids that differ."""
    resamples: int = 1000
    """Resamples of the test images behind the 95 percent intervals."""
    seed: int = 0
    """Seed of the resamples."""
    precision: Literal["float32", "float64"] = "float32"
    """Type of the products of tokens; sums are always float64."""
    device: str = "cpu"
    """Torch device of the products: cpu, cuda, cuda:1, ..."""
    moments: Path | None = None
    """Where to keep the training moments (moments.zarr): reused, or continued if interrupted."""
    pairs: bool = False
    """With --moments: also the information of every source about every other, on training images;
    in pairs.md, .csv, .tex and a figure with --out."""
    stream: bool = False
    """Run the models now and store no features: --train and --test may be dataset names, and what
    a given store lacks is computed. With --moments, repeat an interrupted run to resume it."""
    limit: int | None = None
    """With --stream: only the first so many images of a dataset."""
    batch: int = 8
    """With --stream: images run together; 32 and more on a GPU."""
    workers: int = 0
    """With --stream: decoding processes; 0 decodes in threads of this process."""
    arithmetic: Literal["fp32", "bf16", "fp16"] = "fp32"
    """With --stream: arithmetic of the models."""
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: bool = False
    """Print one JSON object on standard output; the table goes to standard error."""

    def run(self) -> int:
        """Fit, judge, report; the exit status."""
        config = self._config()
        from analyses import reconstruction
        from analyses.reconstruction.table2 import layout
        from workbench.cluster.engine import connect
        from workbench.figures.reconstruction_files import pair_rows, write, write_pairs
        from workbench.results.table_files import to_markdown

        train, test = self._splits()
        with connect(self.cluster) as engine:
            result = reconstruction.compute(
                train,
                test,
                target=self.target,
                sources=self.source,
                reference=self.reference,
                config=config,
                engine=engine,
            )
        text = to_markdown(layout(result))
        (note if self.json else show)(text)
        for line in result.attrs["notes"]:
            note(line)
        for line in result.attrs["warnings"]:
            note(f"warning: {line}")
        pairs = self._pairs(result, config) if self.pairs else None
        if self.out is not None:
            written = write(result, self.out)
            if pairs is not None:
                written += write_pairs(pairs, self.out)
            note(f"wrote {', '.join(p.name for p in written)} in {self.out}")
        if self.json:
            found = report(result)
            if pairs is not None:
                found["pairs"] = strict_json.records(pair_rows(pairs))
            show(strict_json.dumps(found))
        return 0

    def _pairs(self, result: xr.Dataset, config: ReconstructionConfig) -> xr.Dataset:
        """Every source and the target, each from each, out of the kept moments."""
        from analyses.moments import on_disk
        from analyses.reconstruction.pairs import pair_matrix

        names = [*map(str, result["source"].values), result.attrs["target"]]
        moments = on_disk.load(self.moments)  # type: ignore[arg-type]  # checked in _config
        return pair_matrix(moments, list(dict.fromkeys(names)), config=config)

    def _splits(self) -> tuple[Any, Any]:
        """Stores, or what computes its features when asked."""
        import feature_store
        from feature_store.dataset_name import is_dataset_name
        from feature_store.errors import InputError
        from workbench.extraction import streaming

        if self.stream and self.cluster.engine != "local":
            raise InputError(
                f"--stream runs the models in this process; --engine {self.cluster.engine} reads "
                f"stores: extract first, or leave one of them out"
            )
        if self.stream:
            how = streaming.StreamConfig(
                device=self.device,
                arithmetic=self.arithmetic,
                batch=self.batch,
                workers=self.workers,
            )
            running = streaming.Running(how, log=note)
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

    def _config(self) -> ReconstructionConfig:
        from analyses.reading.progress import watched
        from analyses.reconstruction import ReconstructionConfig
        from feature_store.errors import InputError

        try:
            ridge = self.ridge if self.ridge == "auto" else float(self.ridge)
        except ValueError:
            raise InputError(
                f"--ridge {self.ridge}: expected auto, 0 or a positive number"
            ) from None
        if self.pairs and self.moments is None:
            raise InputError("--pairs answers from kept moments; say where with --moments PATH")
        return ReconstructionConfig(
            ridge=ridge,
            grid=self.grid,
            resamples=self.resamples,
            seed=self.seed,
            precision=self.precision,
            device=self.device,
            decompose=self.out is not None or self.pairs,
            moments=None if self.moments is None else str(self.moments),
            progress=watched(),
        )


def report(result: xr.Dataset) -> dict:
    """The result as one JSON object: rows, warnings, counts."""
    from analyses.reconstruction import rows

    counts = ("train_images", "train_tokens", "test_images", "null_train_loss", "null_test_loss")
    return {
        "rows": strict_json.records(rows(result)),
        "warnings": list(result.attrs["warnings"]),
        "notes": list(result.attrs["notes"]),
        **strict_json.jsonable({name: result.attrs[name] for name in counts}),
        "config": dict(result.attrs["config"]),
    }
