"""The ``lerobot`` package reads recorded demonstrations, with the values that this project reads.

    python scripts/lerobot_compatibility.py --work runs/lerobot --lerobot 0.4.4

The package asks for older versions of torch than this project has, so it is installed in an
environment of its own in --work, without its requirements and in front of this one's libraries.
These must include the extras robot and archives (``datasets``): bash scripts/setup.sh all.
Expected: 1 minute. Writes experiments/results/lerobot_compatibility.json beside this file: frames
compared, largest differences, versions. Found: no difference of any pixel, state or action.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

RESULTS = Path(__file__).parent / "experiments" / "results" / "lerobot_compatibility.json"
INSIDE = """
import importlib.metadata, json, sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
folder, ours = sys.argv[1:]
dataset = LeRobotDataset("local/demos", root=folder)
wanted = np.load(ours)
items = [dataset[int(k)] for k in wanted["rows"]]
def most(name, feature):
    return float(np.abs(np.stack([i[feature] for i in items]) - wanted[name]).max())
picture = [np.asarray(i["observation.images.corner2"]).transpose(1, 2, 0) * 255 for i in items]
found = {
    "episodes": dataset.num_episodes,
    "frames": dataset.num_frames,
    "fps": dataset.fps,
    "compared": len(items),
    "pixels": float(np.abs(np.stack(picture) - wanted["pixels"]).max()),
    "state": most("state", "observation.state"),
    "action": most("action", "action"),
    "task": items[0]["task"],
    "versions": {n: importlib.metadata.version(n) for n in ("lerobot", "torch", "datasets")},
}
print(json.dumps(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/lerobot"))
    parser.add_argument("--lerobot", default="0.4.4", help="version of the package")
    asked = parser.parse_args()
    ours, folder = recorded(asked.work)
    python = environment(asked.work / "env", asked.lerobot)
    done = subprocess.run(
        [python, "-c", INSIDE, str(folder), str(ours)], stdout=subprocess.PIPE, text=True,
        check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    if max(found["pixels"], 1e5 * found["state"], 1e5 * found["action"]) > 1e-2:
        sys.exit(f"values differ: {found}")
    found["date"] = str(datetime.date.today())
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def recorded(work: Path) -> tuple[Path, Path]:
    """Three demonstrations, and some of their frames as this project reads them."""
    import numpy as np

    from workbench import datasets
    from workbench.robot.config import DemoConfig
    from workbench.robot.demonstrations import load
    from workbench.robot.record import record

    folder = work / "demos"
    record(DemoConfig(episodes=3, size=96), folder, print)
    given, dataset = load(folder), datasets.open(f"lerobot:{folder}")
    rows = np.linspace(0, len(dataset) - 1, 20).astype(int)
    path = work / "ours.npz"
    pixels = np.stack([dataset.image(int(row)) for row in rows])
    np.savez(path, rows=rows, pixels=pixels, state=given.state[rows], action=given.action[rows])
    return path.resolve(), folder.resolve()


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
