"""The pictures of README and docs, drawn again from models and photographs that come as packages.

Purpose   information.png, look_tokens.png, look_similarity.png, hard_examples.jpg, and
          selection.png and selection_crops.jpg of scale selection, dense_segmentation.jpg and
          dense_depth.jpg, in docs/img.
Command   bash scripts/demo.sh && python scripts/pictures.py
Expected  a few minutes beside the demo, 1 GB of memory, 100 MB of disk; no download.
Data      scikit-image's photographs. The hard examples are crops of twelve of them, the upper
          half for training and the lower for testing: which photograph is it?
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import skimage
from matplotlib.figure import Figure
from PIL import Image

import feature_store
from analyses import hard_examples, reconstruction, scale_selection
from analyses.scale_selection import Layout, ReconstructTask, SelectionConfig
from workbench.cli import main as workbench
from workbench.commands.demo import LARGE, S2, SMALL, SOURCES, SPLITS
from workbench.datasets.pictures import reader
from workbench.extraction import ExtractRequest, extract
from workbench.figures import look, style
from workbench.figures.gallery import Pictures, sheet
from workbench.figures.reconstruction import draw_information
from workbench.figures.selection import draw_chosen, draw_curve
from workbench.pictures.computed import ComputedMaps

DATA = Path(skimage.__file__).parent / "data"
CAT = "photos/chelsea.png"
PHOTOGRAPHS = {
    "astronaut": "astronaut.png", "brick": "brick.png", "camera": "camera.png",
    "cat": "chelsea.png", "clock": "clock_motion.png", "coffee": "coffee.png",
    "coins": "coins.png", "galaxies": "hubble_deep_field.jpg", "grass": "grass.png",
    "gravel": "gravel.png", "moon": "moon.png", "rocket": "rocket.jpg",
}  # fmt: skip
SELECTION = Path(__file__).parent.resolve() / "experiments" / "results" / "scale_selection"
CROPS = {"train": 5, "test": 7}
"""Per photograph."""


def crops(folder: Path) -> None:
    """Write ``SPLIT/PHOTOGRAPH/N.png``, squares from a photograph's upper or lower half."""
    chance = np.random.default_rng(0)
    for name, file in PHOTOGRAPHS.items():
        whole = Image.open(DATA / file).convert("RGB")
        width, height = whole.size[0], whole.size[1] // 2
        for split, start in (("train", 0), ("test", height)):
            (folder / split / name).mkdir(parents=True)
            for n in range(CROPS[split]):
                side = int(min(width, height) * chance.uniform(0.2, 0.5))
                left = int(chance.integers(width - side))
                top = start + int(chance.integers(height - side))
                crop = whole.crop((left, top, left + side, top + side))
                crop.save(folder / split / name / f"{n}.png")


def extracted(
    dataset: str, store: str, limit: int | None = None
) -> list[feature_store.FeatureStore]:
    """Both splits of a dataset through the small model at two scales and the large one at one."""
    for split in SPLITS:
        given = {"dataset": dataset.format(split), "store": store.format(split)}
        for model, scales in ((SMALL, ("1x", "2x")), (LARGE, ("1x",))):
            extract(ExtractRequest(models=[model], scales=scales, limit=limit, **given))
    return [feature_store.open(store.format(split)) for split in SPLITS]


def hard(folder: Path) -> Figure:
    """The hardest crops of three photographs."""
    crops(folder / "crops")
    train, test = extracted(f"folder:{folder}/crops/{{}}", f"{folder}/{{}}.zarr")
    found = hard_examples.compute(train, test, sources=[SOURCES[0], S2, SOURCES[-1]])
    sides = Pictures(reader(train), reader(test), train.image_ids, test.image_ids)
    return sheet(found.drop_duplicates("label").head(3), sides)


def predictions(folder: Path, data: str, task: str, limit: int | None) -> Image.Image:
    """What a linear head predicts from each source: the commands of docs/dense_results.md."""
    train, test = extracted(f"bundled:{data}:{{}}", f"{folder}/{data}-{{}}.zarr", limit)
    sources = [word for name in (*SOURCES[:2], SOURCES[-1]) for word in ("--source", name)]
    stores = ("--train", train.path, "--test", test.path)
    workbench(["probe", *stores, "--dense", task, *sources, "--out", f"{folder}/{data}"])
    return Image.open(f"{folder}/{data}/{task}_predictions.png").convert("RGB")


def selection(folder: Path) -> Figure:
    """Crops that bottom-up selection runs on crops of photographs, and what every crop is worth."""
    for split in SPLITS:
        dataset, store = f"folder:{folder}/crops/{split}", f"{folder}/{split}.zarr"
        merged = ("2x.unpooled", "3x.unpooled")
        extract(ExtractRequest(dataset=dataset, models=[SMALL], scales=merged, store=store))
    train, test = (feature_store.open(f"{folder}/{split}.zarr") for split in SPLITS)
    layout = Layout.stored(train, SMALL, ["1x", "2x", "3x"])
    task = ReconstructTask((train, test), SOURCES[-1], layout.grid)
    config = SelectionConfig(policies=("bottom-up",), budgets=(0.25,), resamples=10)
    table = scale_selection.compute(train, test, layout=layout, task=task, config=config)
    return draw_chosen(test, layout, table, count=3)


def selection_curve() -> Figure:
    """What the experiment on 500 photographs found."""
    found = json.loads((SELECTION / "imagenet_sample_500.json").read_text())
    return draw_curve(pd.DataFrame(found["rows"]), pd.DataFrame(found["sources"]))


def information(demo: Path) -> Figure:
    """What the demo found."""
    stores = (feature_store.open(f"{demo}/{split}.zarr") for split in ("train", "test"))
    options = {"target": SOURCES[-1], "sources": SOURCES[:2], "reference": SOURCES[2]}
    return draw_information(reconstruction.compute(*stores, **options))


def save(drawn: Figure, path: Path, width: int) -> None:
    """Write the picture small: a JPEG, or a PNG of 128 colours."""
    (png,) = style.save(drawn, path.with_suffix(""), ["png"])
    picture = Image.open(png).convert("RGB")
    png.unlink()
    save_small(picture, path, width)


def save_small(picture: Image.Image, path: Path, width: int) -> None:
    """A picture as a JPEG, or a PNG of 128 colours, so many pixels wide."""
    picture.thumbnail((width, width))
    if path.suffix == ".jpg":
        picture.save(path, quality=60)
    else:
        picture.quantize(128).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    asked = parser.parse_args()
    out = asked.out.resolve()
    save(information(asked.demo), out / "information.png", 1160)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("photos").mkdir()
        Image.open(DATA / "chelsea.png").save(CAT)
        maps = ComputedMaps([CAT], [SMALL], ["1x", "2x", "2x.unpooled"])
        one, two, unpooled = (f"{SMALL}@{scale}" for scale in ("224", "448", "448.unpooled"))
        drawn = look.tokens(maps, image=0, sources=[one, two, unpooled])
        save(drawn, out / "look_tokens.png", 900)
        drawn = look.similarity(maps, image=0, token=(2, 2), sources=[f"{SMALL}@224+448"])
        save(drawn, out / "look_similarity.png", 900)
        save(hard(Path(folder)), out / "hard_examples.jpg", 900)
        save(selection(Path(folder)), out / "selection_crops.jpg", 820)
        save(selection_curve(), out / "selection.png", 1000)
        for data, task, limit in (("scenes", "segmentation", 100), ("stereo", "depth", None)):
            picture = predictions(Path(folder), data, task, limit)
            save_small(picture, out / f"dense_{task}.jpg", 860)


if __name__ == "__main__":
    main()
