"""The ``lerobot`` package and this project read what the other wrote, with the same values.

    python scripts/lerobot_compatibility.py --work runs/lerobot --lerobot 0.4.4

Recorded demonstrations are read by the package; the package writes them anew, once with pictures in
its table and once as a video, and ``lerobot:DIR`` reads these. Pixels, states and actions of all
frames are compared. A video loses detail, so its frames are compared with those that PyAV decodes
from the first to the last, and their mean difference from the written pixels is noted.

The package asks for older versions of torch than this project has, so it is installed in an
environment of its own in --work, without its requirements and in front of this one's libraries.
These must include the extras robot and archives (``datasets``): bash scripts/setup.sh all.
Expected: 2 minutes. Writes experiments/results/lerobot_compatibility.json beside this file: frames
compared, largest differences, versions. Found: no difference of any pixel, state or action.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "experiments" / "results" / "lerobot_compatibility.json"
KINDS = ("image", "video")
READER = """
import importlib.metadata, json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
folder, given = sys.argv[1:]
dataset, wanted = LeRobotDataset("local/demos", root=folder), np.load(given)
items = [dataset[k] for k in range(len(dataset))]
def most(name, feature):
    return float(np.abs(np.stack([i[feature] for i in items]) - wanted[name]).max())
picture = [np.asarray(i["observation.images.corner2"]).transpose(1, 2, 0) * 255 for i in items]
found = {
    "episodes": dataset.num_episodes,
    "frames": dataset.num_frames,
    "fps": dataset.fps,
    "task": items[0]["task"],
    "pixels": float(np.abs(np.stack(picture) - wanted["pixels"]).max()),
    "state": most("state", "observation.state"),
    "action": most("action", "action"),
    "versions": {n: importlib.metadata.version(n) for n in ("lerobot", "torch", "datasets", "av")},
}
print(json.dumps(found))
"""
"""Runs beside the package: reads the folder and compares it with the arrays."""
WRITER = """
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
folder, given, kind = sys.argv[1:]
arrays = {name: value for name, value in np.load(given).items()}
names = {"pixels": "observation.images.corner2", "state": "observation.state", "action": "action"}
features = {
    names[name]: {"dtype": "float32", "shape": arrays[name].shape[1:], "names": None}
    for name in names
}
features[names["pixels"]] |= {"dtype": kind, "names": ["height", "width", "channels"]}
dataset = LeRobotDataset.create(
    "local/demos", fps=int(arrays["fps"]), features=features, root=folder,
    use_videos=kind == "video",
)
for episode in np.unique(arrays["episode"]):
    for row in np.flatnonzero(arrays["episode"] == episode):
        values = {feature: arrays[name][row] for name, feature in names.items()}
        dataset.add_frame(values | {"task": "pick-place-v3"})
    dataset.save_episode()
dataset.finalize()
"""
"""Runs beside the package: writes the arrays to the folder."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/lerobot"))
    parser.add_argument("--lerobot", default="0.4.4", help="version of the package")
    asked = parser.parse_args()
    work = asked.work.resolve()
    recorded(work / "demos")
    arrays = work / "ours.npz"
    np.savez(arrays, **read(work / "demos"))
    python = environment(work / "env", asked.lerobot)
    done = run(python, READER, work / "demos", arrays)
    theirs = json.loads(done.splitlines()[-1])
    versions = theirs.pop("versions")
    found = {"read by lerobot": theirs}
    for kind in KINDS:
        folder = work / f"theirs-{kind}"
        shutil.rmtree(folder, ignore_errors=True)
        run(python, WRITER, folder, arrays, kind)
        found[f"written by lerobot, {kind}"] = compared(folder, arrays, kind)
    for what, one in found.items():
        if max(one["pixels"], 1e5 * one["state"], 1e5 * one["action"]) > 1e-2:
            sys.exit(f"{what}: values differ: {one}")
    result = found | {"versions": versions, "date": str(datetime.date.today())}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def recorded(folder: Path) -> None:
    """Three demonstrations."""
    from workbench.robot.config import DemoConfig
    from workbench.robot.record import record

    record(DemoConfig(episodes=3, size=96), folder, print)


def read(folder: Path) -> dict[str, np.ndarray]:
    """All frames of a dataset as this project reads them, with their states and actions."""
    from workbench import datasets
    from workbench.robot.demonstrations import load

    given, dataset = load(folder), datasets.open(f"lerobot:{folder}")
    return {
        "pixels": np.stack([dataset.image(row) for row in range(len(dataset))]),
        "state": given.state,
        "action": given.action,
        "episode": given.episode,
        "fps": np.array(given.fps),
    }


def compared(folder: Path, arrays: Path, kind: str) -> dict[str, float]:
    """Largest differences of a dataset that the package wrote from the arrays it was given."""
    found, wanted = read(folder), np.load(arrays)
    if not np.array_equal(found["episode"], wanted["episode"]):
        sys.exit(f"{folder}: episodes differ: {np.bincount(found['episode'])} frames")
    pixels, more = wanted["pixels"], {}
    if kind == "video":
        more["mean_difference_from_written"] = float(np.abs(found["pixels"] - 1.0 * pixels).mean())
        pixels = decoded(folder)
    most = {
        name: float(np.abs(found[name] - 1.0 * value).max())
        for name, value in (
            ("pixels", pixels), ("state", wanted["state"]), ("action", wanted["action"])
        )
    }  # fmt: skip
    episodes, frames = len(np.unique(found["episode"])), len(found["episode"])
    return {"episodes": episodes, "frames": frames, "fps": float(found["fps"]), **most, **more}


def decoded(folder: Path) -> np.ndarray:
    """Every frame of the dataset's video in order: uint8, dims (frame, row, col, 3)."""
    import av

    (path,) = folder.rglob("*.mp4")
    with av.open(str(path)) as video:
        return np.stack([np.asarray(frame.to_image()) for frame in video.decode(video=0)])


def run(python: str, code: str, *arguments: object) -> str:
    """Output of code that runs beside the package."""
    line = [python, "-c", code, *map(str, arguments)]
    return subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout


def environment(folder: Path, version: str) -> str:
    """The interpreter of an environment with the package."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        (behind,) = (folder / "lib").glob("python*/site-packages")
        (behind / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [python, "-m", "pip", "install", "-q", "--no-deps", f"lerobot=={version}"]
    subprocess.run(install, check=True)
    return str(python.absolute())


if __name__ == "__main__":
    main()
