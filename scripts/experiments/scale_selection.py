"""How much of S2's gain do a tenth, a quarter and half of the crops keep, and who chooses them?

    python scripts/experiments/scale_selection.py --data DIR [--only nyu13]
    python scripts/experiments/scale_selection.py --summary

A list of runs, one for each dataset; a run whose JSON is in results/scale_selection/ beside this
file is skipped. DIR holds imagenet_sample_500/, camvid/ and nyu13/, with images (and the latter two
with train.csv and test.csv: path and mask). Every other one of the 500 photographs is for training.
Lite0 runs at 224, 448 and 672 pixels, 13 crops beside the base image; merged maps are stored, so
that every crop is told apart exactly. Stores go to --stores (runs/scale_selection); 1 GB.

Expected on two idle cores: extraction 2 to 6 minutes a dataset; a run 2 to 10 minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import runner

import feature_store
from analyses import scale_selection
from analyses.scale_selection import DenseTask, Layout, ProbeTask, ReconstructTask, SelectionConfig
from workbench.cost.selection import others, with_gmacs
from workbench.datasets.target_maps import targets_for
from workbench.extraction import ExtractRequest, extract

RESULTS = Path(__file__).parent / "results" / "scale_selection"
SMALL = "bundled:efficientnet_lite0"
SCALES = ("224", "448", "672")
LARGER = ("bundled:efficientnet_lite1", "bundled:efficientnet_lite2")
POLICIES = ("oracle", "random", "centre", "bottom-up", "norm", "variance")
LIMIT = 500
"""Images of each side, at most."""
FEW = ("oracle", "random", "bottom-up", "norm")
"""Policies to compare when a head on every token is fitted for each of them."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """A dataset, and what is predicted from its maps."""

    task: str
    train: str
    test: str
    policies: tuple[str, ...] = POLICIES


DATA = {
    "textiles": Data(task="probe", train="bundled:textiles:train", test="bundled:textiles:test"),
    "nyu13": Data(task="segmentation", train="csv:{data}/nyu13/train.csv",
                  test="csv:{data}/nyu13/test.csv", policies=FEW),
    "imagenet_sample_500": Data(task="reconstruct", train="csv:{stores}/photographs_train.csv",
                                test="csv:{stores}/photographs_test.csv"),
    "camvid": Data(task="segmentation", train="csv:{data}/camvid/train.csv",
                   test="csv:{data}/camvid/test.csv", policies=FEW),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The run of one dataset."""

    name: str

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.name}.json"


def main() -> None:
    parser = runner.parser(__doc__)
    parser.add_argument("--data", type=Path, help="folder of the datasets")
    parser.add_argument("--stores", type=Path, default=Path("runs/scale_selection"))
    parser.add_argument("--only", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--extract", action="store_true", help="extract, and stop there")
    asked = runner.parsed(parser)
    if asked.summary:
        print(json.dumps(summary(), indent=1))
        return
    runs = [Run(name) for name in asked.only]
    if asked.extract:
        for run in runner.missing(runs):
            both_stored(run.name, asked)
        return
    runner.do(runs, lambda run: measured(run.name, both_stored(run.name, asked)))


def measured(
    name: str, stores: tuple[feature_store.FeatureStore, feature_store.FeatureStore]
) -> dict:
    """All policies and budgets of one dataset."""
    watch = runner.Stopwatch()
    config = SelectionConfig(policies=DATA[name].policies, progress=True)
    layout = Layout.stored(stores[0], SMALL, SCALES)
    task = task_of(name, stores, layout, config)
    table = scale_selection.compute(*stores, layout=layout, task=task, config=config)
    table = with_gmacs(table, layout, stores[0])
    beside = LARGER[:-1] if DATA[name].task == "reconstruct" else LARGER  # not the target itself
    larger = others(stores, [f"{model}@1x" for model in beside], task, config)
    return {
        "data": name,
        "task": DATA[name].task,
        "rows": table,
        "kept": table.attrs["kept"],
        "sources": larger,
        "scales": layout.describe(),
        "config": table.attrs["config"],
        **watch.record(),
        **runner.provenance(),
    }


def task_of(
    name: str,
    stores: tuple[feature_store.FeatureStore, feature_store.FeatureStore],
    layout: Layout,
    config: SelectionConfig,
) -> ReconstructTask | ProbeTask | DenseTask:
    """What the maps of a dataset are used for."""
    task = DATA[name].task
    if task == "reconstruct":
        return ReconstructTask(stores, f"{LARGER[-1]}@1x", layout.grid)
    if task == "probe":
        return ProbeTask(stores, config)
    train, test = (targets_for(store, layout.base, task) for store in stores)
    return DenseTask(stores, (train, test), layout.grid, task, config)


def both_stored(
    name: str, asked: argparse.Namespace
) -> tuple[feature_store.FeatureStore, feature_store.FeatureStore]:
    """The stores of train and test."""
    return stored(name, "train", asked), stored(name, "test", asked)


def stored(name: str, side: str, asked: argparse.Namespace) -> feature_store.FeatureStore:
    """The store of one side, with merged maps of the small model and the larger ones' own."""
    dataset = getattr(DATA[name], side).format(data=asked.data, stores=asked.stores)
    if name == "imagenet_sample_500":
        split(asked.data / name, asked.stores)
    path = str(asked.stores / f"{name}_{side}.zarr")
    merged = [SCALES[0], *(f"{scale}.unpooled" for scale in SCALES[1:])]
    for model, scales in ((SMALL, merged), *((model, ["1x"]) for model in LARGER)):
        if is_complete(path, model, scales):
            continue
        extract(
            ExtractRequest(dataset=dataset, models=[model], scales=scales, store=path, limit=LIMIT)
        )
    return feature_store.open(path)


def is_complete(path: str, model: str, scales: list[str]) -> bool:
    """Whether the store has it all, whichever version of the code extracted it."""
    try:
        store = feature_store.open(path)
        return not any(store.source(f"{model}@{scale}").missing() for scale in scales)
    except (feature_store.StoreError, OSError):
        return False


def split(folder: Path, stores: Path) -> None:
    """Tables of the photographs: every other one, in order of names, is for training."""
    photographs = sorted(folder.glob("*.JPEG"))
    stores.mkdir(parents=True, exist_ok=True)
    for n, side in enumerate(("train", "test")):
        with (stores / f"photographs_{side}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path"])
            writer.writerows([str(path.resolve())] for path in photographs[n::2])


def summary() -> list[dict]:
    """Share of the full gain of every policy and budget, and the difference from random."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        run = json.loads(path.read_text())
        for row in run["rows"]:
            names = ("policy", "budget", "gmacs", "metric", "share_of_full_gain", "over_random",
                     "over_random_low", "over_random_high")  # fmt: skip
            rows.append({"data": run["data"]} | {key: row[key] for key in names})
    return rows


if __name__ == "__main__":
    runner.run(main)
