"""How long the page of `workbench explore` takes, in a real browser, over 10,000 images.

    python scripts/benchmarks/explore.py [--images 10000] [--visits 5] [--clicks 10]

Expected: 3 minutes on 2 cores, 0.5 GB of disk, under 2 GB of memory. Needs chromium. Writes
results/explore.json beside this file.

The store is made on the spot: 7 x 7 x 320 float16 tokens per image (smooth random maps, ten planted
classes) and small JPEGs of scikit-image's photographs. Times are taken by the browser's clock: from
the start of a visit to the first drawn maps, from a click to the new similarity map, and from a
click to the nearest tokens of the whole store.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import feature_store
from workbench import datasets, processors

RESULTS = Path(__file__).parent / "results" / "explore.json"
SOURCE, SHAPE = "planted:model#blocks@224", (7, 7, 320)
TRANSFORM = {
    "height": 224, "width": 224, "resize_ratio": 1.0, "mode": "centre",
    "interpolation": "bicubic", "antialias": True,
}  # fmt: skip
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
READY = "window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle"
WATCH = """(source) => {
  const doc = Bokeh.documents[0], watched = window.watched = {}
  const note = (name) => () => requestAnimationFrame(() => watched[name] = performance.now())
  const map = doc.get_model_by_name(`similarity ${source}`).renderers[0].data_source
  map.properties.data.change.connect(note("similarity"))
  const nearest = doc.get_model_by_name("nearest")
  nearest.properties.text.change.connect(() => {
    if (nearest.text.includes("figure") && !nearest.text.includes("store searched"))
      note("nearest")() })
  window.addEventListener("pointerup", () => watched.click = performance.now(), true) }"""
BOX = """() => {
  const model = Bokeh.documents[0].get_model_by_name("photograph tile")
  const {x, y, width, height} = Bokeh.index.find_one(model).el.getBoundingClientRect()
  return [x, y, width, height] }"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--clicks", type=int, default=10)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        store = planted(Path(folder), arguments.images)
        command = [sys.executable, "-m", "workbench.cli", "explore", store, "--port", "0"]
        with subprocess.Popen(
            [*command, "--no-browser"], stdout=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stdout is not None
                address = server.stdout.readline().strip()
                found = measure(address, server.pid, arguments.visits, arguments.clicks)
            finally:
                server.terminate()
    report = {
        "date": str(datetime.date.today()),
        "machine": {
            **processors.machine(),
            "load_average_at_start": load,
            "load_average_at_end": os.getloadavg()[0],
        },
        "versions": versions(),
        "images": arguments.images,
        "tokens": list(SHAPE),
        **found,
    }
    RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


def planted(folder: Path, images: int) -> str:
    """A store of planted features over a folder of photographs; its path."""
    photos = datasets.open("bundled:photos", limit=64)
    small = [Image.fromarray(photos.image(row)).resize((224, 224)) for row in range(len(photos))]
    (folder / "images").mkdir()
    for row in range(images):
        path = folder / "images" / f"{row:05d}.jpg"
        if row < len(small):
            small[row].save(path, quality=80)
        else:
            os.link(folder / "images" / f"{row % len(small):05d}.jpg", path)
    rng = np.random.default_rng(0)
    labels = np.arange(images, dtype=np.int32) % 10
    classes = rng.standard_normal((10, SHAPE[2]), dtype=np.float32)
    store = feature_store.create(
        folder / "s.zarr", dataset=f"folder:{folder / 'images'}",
        image_ids=[f"{row:05d}.jpg" for row in range(images)], labels=labels,
        label_names=[f"class {k}" for k in range(10)], shard_images=256,
    )  # fmt: skip
    manifest = {"model": "planted", "transform": TRANSFORM, "default_tap": "blocks"}
    writer = store.add_source(
        SOURCE, manifest=manifest, grid=SHAPE[:2], channels=SHAPE[2], dtype="float16"
    )
    for shard in writer.missing():
        rows = writer.rows(shard)
        coarse = rng.standard_normal((len(rows), 4, 4, SHAPE[2]), dtype=np.float32)
        maps = coarse.repeat(2, 1).repeat(2, 2)[:, :7, :7]
        maps += rng.standard_normal((len(rows), *SHAPE), dtype=np.float32) / 2
        maps[:, 2:5, 2:5] += classes[labels[rows.start : rows.stop]][:, None, None]
        writer.commit(shard, maps, None, {})
    return str(folder / "s.zarr")


def measure(address: str, pid: int, visits: int, clicks: int) -> dict:
    """Seconds of visits and clicks, and the server's memory."""
    before = memory(pid)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=FLAGS.split()
        )
        first, seen = [], []
        for _ in range(visits + 1):
            page = chromium.new_context(viewport={"width": 1400, "height": 1000}).new_page()
            page.set_default_timeout(120_000)
            page.goto(address)
            page.wait_for_function(READY)
            first.append(page.evaluate("performance.now()") / 1000)
            page.wait_for_timeout(5000)  # the scatter is drawn
            seen.append(memory(pid))
        similarity, nearest = times_of_clicks(page, clicks)
        chromium.close()
    return {
        "first_visit_seconds": first[0],
        "first_picture_seconds": summary(first[1:]),
        "similarity_seconds": summary(similarity),
        "nearest_seconds": summary(nearest),
        "server_memory_mb": {
            "before": before,
            "after_first_visit": seen[0],
            "after_visits": seen[-1],
            "after_clicks": memory(pid),
        },
    }


def times_of_clicks(page: Page, clicks: int) -> tuple[list[float], list[float]]:
    """Seconds from a click to the similarity map and to the nearest tokens."""
    page.evaluate(WATCH, SOURCE)
    x, y, width, height = page.evaluate(BOX)
    similarity, nearest = [], []
    for number in range(clicks):
        row, col = divmod(number * 5 % 49, 7)
        page.evaluate("for (const key in watched) delete watched[key]")
        page.mouse.click(x + width * (col + 0.5) / 7, y + height * (row + 0.5) / 7)
        page.wait_for_function("watched.similarity && watched.nearest")
        click, shown, listed = page.evaluate("[watched.click, watched.similarity, watched.nearest]")
        similarity.append((shown - click) / 1000)
        nearest.append((listed - click) / 1000)
    return similarity, nearest


def summary(seconds: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(seconds), 3),
        "min": round(min(seconds), 3),
        "max": round(max(seconds), 3),
    }


def memory(pid: int) -> dict[str, float]:
    """Megabytes of the process: of its own, and of files that it has mapped."""
    text = Path(f"/proc/{pid}/status").read_text()
    fields = {"own": "RssAnon", "mapped_files": "RssFile", "peak": "VmHWM"}
    return {
        name: round(int(re.search(rf"{field}:\s+(\d+)", text)[1]) / 1000)  # type: ignore[index]
        for name, field in fields.items()
    }


def versions() -> dict[str, str]:
    names = ["bokeh", "faiss-cpu", "numpy", "torch", "zarr", "playwright"]
    chromium = subprocess.run(["chromium", "--version"], capture_output=True, text=True).stdout
    found = {n: importlib.metadata.version(n) for n in names}
    return {"python": platform.python_version(), "chromium": chromium.strip(), **found}


if __name__ == "__main__":
    main()
