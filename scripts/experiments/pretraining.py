"""Table 4, small: does a small vision transformer that is trained with S2 match a larger one?

    python scripts/experiments/pretraining.py [--objective supervised] [--row small-S2] [--seed 0]
    python scripts/experiments/pretraining.py --summary

A list of runs (row, images seen, seed); a run whose JSON is in analyses/pretraining/data/ is
skipped, and one that was stopped resumes. Checkpoints and stores go to --runs (runs/pretraining);
1 GB. --summary writes the tables of docs/pretraining.md. Expected on two idle cores: 1 to 8
minutes a run.

Images  bundled:specks, rendered in unlimited number: six small bright shapes of one class over a
        real photograph. Only outlines of a few pixels tell the class, so that scale matters;
        photographs of the test images are never seen in training. Photographs of objects that fill
        the picture would test little of it, and the few real images that packages ship are too few
        to train a transformer on.
Rows    small: test_vit at 64 pixels (0.3 million parameters). large: test_vit with 1.5 times its
        width, heads and depth, 3.0 times its multiply-accumulates, as Large has 3.5 times those of
        Base. small-S2: the small one trained at 1x + 2x, interpolated, as in the paper.
Equal   images: each row of an objective sees IMAGES images. Compute: each spends what small-S2
        spends on them.
Probe   frozen mean tokens of 4,000 further images, linear head to convergence, 2,000 test images.
Floors  the same probe on pixels (32 x 32) and on the backbones at their random start.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import runner
from PIL import Image

import feature_store
from analyses import probe
from analyses.configs import ProbeConfig
from analyses.pretraining import experiment
from workbench import cost, datasets
from workbench.extraction import ExtractRequest, extract
from workbench.models import trained
from workbench.models.names import ModelName
from workbench.pretraining.backbone import build_s2
from workbench.pretraining.config import Distillation, PretrainConfig, PretrainRecipe
from workbench.pretraining.run import Pretraining, pretrain
from workbench.results import strict_json
from workbench.results.table_files import to_markdown
from workbench.tables.render import extra_tables
from workbench.training.config import TrainingConfig
from workbench.training.files import IDENTITY

RESULTS = Path(experiment.__file__).parent / "data"
PAGE = Path(__file__).parents[2] / "docs/pretraining.md"
MODEL = "timm:test_vit:64"
LARGE = {"embed_dim": 96, "depth": 9, "num_heads": 3}
ROWS: dict[str, tuple[dict[str, int], tuple[str, ...]]] = {
    "small": ({}, ("1x",)),
    "large": (LARGE, ("1x",)),
    "small-S2": ({}, ("1x", "2x")),
}
"""Row to the further arguments of its architecture and the scales of its training."""
IMAGES = {"supervised": 32_000, "dinov2": 25_600}
BATCH = {"supervised": 32, "dinov2": 16}
"""So few images need small batches for enough steps: 500 steps of 64 leave the losses of dinov2
where untrained heads have them, at ln(prototypes)."""
MULTIPLE = 64
"""Numbers of images are multiples of it, and so whole batches."""
PROBED = {"train": 4_000, "test": 2_000}
FIRST_PROBED = 490_000
"""Number of the first image that the probe is trained on; no training reaches it."""
RECIPE = PretrainRecipe(
    learning_rate=1e-3, weight_decay=0.05, warm_up=0.1, augment="none", min_crop=0.6, ema=0.998
)
DISTILLATION = Distillation(
    prototypes=256, hidden=256, local_crops=4, local_pixels=0.5, momentum=0.98, layer_decay=1.0,
    weight_decay_end=0.04,
)  # fmt: skip
"""Fewer prototypes, and a teacher that follows sooner, than in runs of 100,000 steps."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, or a floor (objective none)."""

    row: str
    objective: str
    images: int
    budgets: tuple[str, ...]
    seed: int

    @property
    def name(self) -> str:
        return f"{self.objective}-{self.row}-{self.images}-seed{self.seed}"

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.name}.json"


def main() -> None:
    parser = runner.parser(__doc__, "write the tables of what is there")
    parser.add_argument("--runs", type=Path, default=Path("runs/pretraining"))
    parser.add_argument("--objective", choices=("supervised", "dinov2", "none"), nargs="+",
                        default=["none", "supervised", "dinov2"])  # fmt: skip
    parser.add_argument("--row", nargs="+", default=[*ROWS, experiment.PIXELS])
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    asked = runner.parsed(parser)
    if asked.summary:
        runner.write_tables(tables(), PAGE)
        return
    runner.do(listed(asked), lambda run: measured(run, asked.runs))


def listed(asked: argparse.Namespace) -> list[Run]:
    """The runs that are asked for, the floors first."""
    runs = [
        Run(row=row, objective="none", images=0, budgets=("none",), seed=0)
        for row in (*experiment.FLOORS.values(), experiment.PIXELS)
        if row.removeprefix("random-") in asked.row and "none" in asked.objective
    ]
    most = gmacs("small-S2") * IMAGES["supervised"]
    for seed in asked.seed:
        for row in (row for row in ROWS if row in asked.row):
            if "supervised" in asked.objective:
                equal = round(most / gmacs(row) / MULTIPLE) * MULTIPLE
                sizes = {IMAGES["supervised"]: ("images",)}
                sizes[equal] = (*sizes.get(equal, ()), "compute")
                runs += [
                    Run(row=row, objective="supervised", images=images, budgets=of, seed=seed)
                    for images, of in sizes.items()
                ]
            if "dinov2" in asked.objective:
                only = ("images",)
                images = IMAGES["dinov2"]
                runs.append(
                    Run(row=row, objective="dinov2", images=images, budgets=only, seed=seed)
                )
    return runs


@functools.cache
def started(row: str) -> str:
    """Name of the row's backbone at its random start, kept until the script ends."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    asked = options(Run(row=row, objective="supervised", images=MULTIPLE, budgets=(), seed=0))
    s2 = build_s2(asked.config, asked.recipe, "cpu", asked.options)
    architecture = ModelName.parse(MODEL)
    record = {
        "architecture": architecture.arch, "pixels": architecture.pixels, "objective": "none",
        "options": asked.options, "scales": [str(scale) for scale in s2.scales], "identity": row,
    }  # fmt: skip
    trained.write(s2.backbone().module.state_dict(), record, folder)
    return f"run:{folder}"


def gmacs(row: str) -> float:
    """Multiply-accumulates of one image in training, in units of 1e9."""
    return counted(row)["gmacs_per_image"]


def measured(run: Run, folder: Path) -> dict:
    record = asdict(run)
    if run.row == experiment.PIXELS:
        record |= {"gmacs_per_image": 0.0, "params": 0, "scales": [],
                   "probes": {"1x": probed(stored_pixels(folder))}}  # fmt: skip
    elif run.objective == "none":
        row = run.row.removeprefix("random-")
        record |= counted(row) | {"probes": probes(started(row), folder)}
        record["identity"] = {"model": MODEL, "options": ROWS[row][0], "seed": run.seed}
    else:
        out = folder / run.name
        found = pretrain(options(run), out, print)
        if found is None:
            raise KeyboardInterrupt  # stopped between two steps
        record |= counted(run.row) | {key: found[key] for key in ("train_loss", "val_accuracy")}
        record["probes"] = probes(f"run:{out}", folder)
        record["identity"] = strict_json.read(out / IDENTITY)["identity"]
    return record | runner.provenance("torch", "timm", "lightly")


def counted(row: str) -> dict:
    _, scales = ROWS[row]
    found = cost.cost(started(row), scales)
    return {"gmacs_per_image": found.gmacs, "params": found.params, "scales": list(scales)}


def options(run: Run) -> Pretraining:
    shape, scales = ROWS[run.row]
    config = PretrainConfig(
        model=MODEL, dataset="bundled:specks:train", val="bundled:specks:test", limit=run.images,
        scales=scales, objective=run.objective, epochs=1, batch=BATCH[run.objective], seed=run.seed,
    )  # fmt: skip
    steps = run.images // config.batch
    return Pretraining(
        config=config, recipe=RECIPE, distillation=DISTILLATION,
        training=TrainingConfig(checkpoint_every=max(1, steps // 4), log_every=10), options=shape,
    )  # fmt: skip


def probes(model: str, folder: Path) -> dict:
    """Accuracy of a probe at one scale and at two."""
    names = []
    for side in PROBED:
        report = extract(
            ExtractRequest(
                dataset=f"folder:{pictures(folder, side)}", models=[model], scales=["1x", "2x"],
                store=str(folder / f"{side}.zarr"), device="cpu", batch=32,
            ),
            log=lambda line: None,
        )  # fmt: skip
        names = report.sources
    source = names[0].rpartition("@")[0]
    return {scales: probed([f"{source}@{scales}", folder]) for scales in ("1x", "1x+2x")}


def probed(asked: list) -> dict:
    source, folder = asked
    stores = [feature_store.open(folder / f"{side}.zarr") for side in PROBED]
    table = probe.compute(*stores, sources=[source], config=ProbeConfig())
    row = table.iloc[0]
    return {
        "accuracy": row["test_accuracy"], "low": row["low"], "high": row["high"],
        "train_loss": row["train_loss"], "l2": row["l2"],
        "resampled": np.round(table.attrs["resampled"][row["source"]], 5).tolist(),
    }  # fmt: skip


def pictures(folder: Path, side: str) -> Path:
    """The images of the probe as files, classes as folders."""
    out = folder / side
    if not out.exists():
        part = folder / f".{side}"
        dataset = datasets.open(f"bundled:specks:{side}")
        first = FIRST_PROBED if side == "train" else 0
        for row in range(first, first + PROBED[side]):
            place = part / dataset.label_names[dataset.labels[row]]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(dataset.image(row)).save(place / f"{dataset.image_ids[row]}.png")
        part.rename(out)
    return out


def stored_pixels(folder: Path) -> list:
    """The pixels of every image, 32 x 32, as a vector in the stores."""
    source = "pixels:rgb#all@32"
    for side in PROBED:
        dataset = datasets.open(f"folder:{pictures(folder, side)}")
        rows = [
            np.asarray(Image.fromarray(dataset.image(row)).resize((32, 32)), np.float32).ravel()
            for row in range(len(dataset))
        ]
        feature_store.import_features(
            folder / f"{side}.zarr", np.stack(rows) / 255, source=source,
            image_ids=dataset.image_ids, labels=[dataset.label_names[k] for k in dataset.labels],
            manifest={"tool": "Pillow", "resize": "32 x 32"}, dataset=dataset.name,
        )  # fmt: skip
    return [source, folder]


def tables() -> str:
    """Tables of the committed runs in Markdown, as docs/pretraining.md has them."""
    parts = []
    for objective in ("supervised", "dinov2"):
        lines = pd.DataFrame(extra_tables.block(f"pretraining {objective}")["records"])
        parts += [f"**{objective}**", to_markdown(lines, "") if len(lines) else "Not yet run."]
    return "\n\n".join(parts)


if __name__ == "__main__":
    runner.run(main)
