"""Every command line of README.md and docs/*.md runs, in order, on small bundled data.

Each page gets a folder of its own with photographs, masks, tables of runs and a checkpoint under
the names that the pages use. ``workbench`` runs in this process, so that torch is imported once.
The set-up scripts run with an interpreter that only notes what it is asked for, Slurm's ``sbatch``
with a stand-in that looks at the job script, and the profile of tables has few images.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shlex
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from workbench.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python|toml)\n(.*?)^```", re.DOTALL | re.MULTILINE)

SUBSTITUTES = {
    "timm:vit_base_patch16_224.mae": "bundled:efficientnet_lite0",
    "timm:vit_huge_patch14_224.mae": "bundled:efficientnet_lite1",
    "workbench extract ... ": "workbench extract --dataset csv:train.csv --store jobs.zarr "
    "--model bundled:efficientnet_lite0 --scales 1x ",
    "csv:train.csv": "csv:scenes/train.csv",
    '"/data/': '"data/',
    ":/data/": ":data/",
    "workbench tables --out runs/tables ": "workbench tables --only 3 5 10 --out runs/tables ",
    "--only 5 13 --columns cost": "--only 10 --columns cost",  # few models to build
    "--config paper.toml --only 5 --dry-run": "--config paper.toml --only 3 --dry-run",
    "--scales 1x 2x 3x --arithmetic bf16 --workers 8": "--scales 1x --workers 1",
    "bundled:scenes:{split} --limit 100": "bundled:scenes:{split} --limit 12",
    "bundled:stereo:{split} --splits": "bundled:stereo:{split} --limit 8 --splits",
    "--episodes 120 --size 448": "--episodes 2 --size 64",
    "--scales 224 448 --store demos.zarr": "--scales 224 --store demos.zarr",
    "@224+448 --look-every 8": "@224 --look-every 8 --iterations 2",
    "--positions 200 --seed 1": "--positions 1 --max-steps 16 --seed 1",
    "vit_base_patch16_224.mae:mvp_vitb.pth": "vit_tiny_patch16_224:weights/mine.safetensors",
    "--scales 224 448 --store mvp.zarr": "--scales 224 --store mvp.zarr",
    " --model file:vit_large_patch16_224.mae:224:mvp_vitl_256.pth#block:23": "",
    "#block:11@224+448 --out runs/mvp-s2": "#block:11@224 --iterations 2 --out runs/mvp-s2",
    "run:runs/vit-base-s2": "run:runs/small-s2",
}
"""What the pages name and a test has not: weights to be fetched, datasets, GPUs."""

SERVES = {"jupyter lab ": "is running at", "workbench explore ": "http://127.0.0.1"}
"""Beginnings of lines that serve until they are stopped, and what they print once they do."""

STUB = """#!/usr/bin/env bash
# Notes what it is asked for, and makes an environment of copies of itself.
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in
    *print*) echo 3.12 ;;
    "-m venv .venv")
        mkdir -p .venv/bin && touch .venv/bin/activate
        for name in python ruff mypy workbench; do cp "$0" ".venv/bin/$name"; done ;;
esac
"""
"""In place of the Python that scripts/setup.sh builds the environment with."""

CALLS = {
    "setup.sh": "python -m pip install",
    "demo.sh": "workbench demo",
    "test.sh": "python -m pytest -n 2",
}
"""Script → what it has to come to."""

SBATCH = """#!/usr/bin/env bash
for word in "$@"; do
    case "$word" in *.sbatch) bash -n "$word" && echo 7 && exit 0 ;; esac
done
exit 1
"""
"""In place of Slurm's: the job script has to be there and to parse."""


def blocks(page):
    """(language, text) of each block of commands."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def lines(text):
    """Command lines with continuations joined and comments kept."""
    return [s for s in text.replace("\\\n", " ").splitlines() if s.strip() and s[0] != "#"]


def without_comment(line):
    """The line without its comment; a # inside a word, as in MODEL#TAP, begins none."""
    return re.sub(r"(^|\s)#.*", "", line)


def expected_status(line):
    found = re.search(r"# exit status (\d)", line)
    return int(found.group(1)) if found else 0


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """What the pages take for granted: images, masks, tables of runs, a checkpoint."""
    folder = tmp_path_factory.mktemp("data")
    _photographs(folder / "photos")
    _scenes(folder / "scenes")
    _runs(folder)
    _checkpoint(folder / "weights")
    _archives(folder)
    _questions(folder)
    photo = next((folder / "photos/train").rglob("*.jpg")).relative_to(folder)
    shutil.copy(folder / photo, folder / "photo.jpg")
    (folder / "photos.csv").write_text(f"path,label\n{photo},{photo.parent.name}\n")
    for name in ("notebooks", "scripts"):
        left = shutil.ignore_patterns(".ipynb_checkpoints", "results")
        shutil.copytree(ROOT / name, folder / name, ignore=left)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "data/imagenet").mkdir(parents=True)
    for split, theirs in (("train", "train"), ("test", "val")):
        (folder / "data/imagenet" / theirs).symlink_to(folder / "photos" / split)
    return folder


def _photographs(folder):
    from workbench import datasets

    for split, each in (("train", 6), ("test", 3)):
        textiles = datasets.open(f"bundled:textiles:{split}")
        for label, name in enumerate(textiles.label_names):
            (folder / split / name).mkdir(parents=True)
            for row in np.flatnonzero(textiles.labels == label)[:each]:
                target = folder / split / name / f"{row:04d}.jpg"
                Image.fromarray(textiles.image(int(row))).save(target)


def _scenes(folder):
    from workbench import datasets

    for part in ("images", "masks", "depth"):
        (folder / part).mkdir(parents=True)
    for split, count in (("train", 12), ("test", 6)):
        scenes = datasets.open(f"bundled:scenes:{split}", limit=count)
        table = ["path,mask,depth"]
        for row in range(count):
            stem = f"{split}{row:04d}"
            Image.fromarray(scenes.image(row)).save(folder / f"images/{stem}.png")
            Image.fromarray(scenes.mask(row).astype(np.uint8)).save(folder / f"masks/{stem}.png")
            np.save(folder / f"depth/{stem}.npy", scenes.depth(row))
            table.append(f"images/{stem}.png,masks/{stem}.png,depth/{stem}.npy")
        (folder / f"{split}.csv").write_text("\n".join(table) + "\n")


def _archives(folder):
    """The training images in a tar archive and in two shards, one image per class in each."""
    (folder / "shards").mkdir()
    with tarfile.open(folder / "photos.tar", "w") as tar:
        tar.add(folder / "photos/train", "")
    for shard in range(2):
        with tarfile.open(folder / f"shards/train-{shard:03d}.tar", "w") as tar:
            for label in sorted((folder / "photos/train").iterdir()):
                image = sorted(label.iterdir())[shard]
                tar.add(image, f"{label.name}-{image.name}")
                name = tarfile.TarInfo(f"{label.name}-{image.stem}.cls")
                name.size = len(label.name)
                tar.addfile(name, io.BytesIO(label.name.encode()))


def _questions(folder):
    """A question about each of some photographs."""
    (folder / "vqa").mkdir()
    for split in ("train", "test"):
        photos = [p.relative_to(folder) for p in sorted((folder / "photos" / split).rglob("*.jpg"))]
        paths = "\n".join(f"../{photo}" for photo in photos)
        (folder / f"vqa/{split}.csv").write_text(f"path\n{paths}\n")
        rows = "\n".join(f"{photo},What is it?,{photo.parent.name}" for photo in photos)
        (folder / f"vqa/{split}_questions.csv").write_text(f"image,question,answer\n{rows}\n")


def _runs(folder):
    from analyses.scaling_laws import encoder
    from analyses.scaling_laws.shape_law import ShapeLaw

    value, compute = np.meshgrid([32.0, 64, 128, 256, 512], [1.0, 4, 16, 64])
    law = ShapeLaw(a=0.5, b=0.8, c=0.6, alpha=3.0, beta=0.004, xi=0.5, epsilon=0.1)
    metric = law.metric(value, compute) * np.random.default_rng(0).normal(1, 0.002, value.shape)
    cells = np.stack([value.ravel(), compute.ravel(), metric.ravel()], 1)
    text = "\n".join(",".join(map(str, row)) for row in cells.tolist())
    (folder / "shape_runs.csv").write_text(f"value,compute,metric\n{text}\n")
    published = encoder.published_runs()
    first = published[published["llm"] == published["llm"].iloc[0]]
    columns = ["vit_params", "image_text_pairs", "eval_loss"]
    one = first[first["dataset"] == first["dataset"].iloc[0]]
    one[columns].to_csv(folder / "encoder_runs.csv", index=False)


def _checkpoint(folder):
    import timm
    from safetensors.torch import save_file

    folder.mkdir()
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    save_file(model.state_dict(), folder / "mine.safetensors")


@pytest.fixture
def few_images(monkeypatch):
    """The bundled profile of tables with few images, shots and resamples, and nothing timed."""
    from analyses.scaling_laws import fitting
    from workbench.tables.pipeline import analyses, profile
    from workbench.tables.render import extra_tables as blocks

    few = {
        key: {role: (f"bundled:{key}:{role}", n) for role, n in counts.items()}
        for key, counts in (
            ("textiles", {"train": 12, "test": 6}),
            ("scenes", {"train": 3, "test": 2}),
        )
    }
    monkeypatch.setattr(profile, "_BUNDLED", few)
    monkeypatch.setattr(profile, "_BUNDLED_VIEWS", 6)
    shot = functools.partial(_one_shot, analyses.few_shot)
    monkeypatch.setitem(analyses.ANALYSES, "few_shot", analyses.Analysis(run=shot))
    quick = functools.partial(fitting.FitOptions, resamples=20)
    monkeypatch.setattr(fitting, "FitOptions", quick)
    timed = SimpleNamespace(median=2.0, low=1.0, high=3.0, device="no device")
    monkeypatch.setattr("workbench.cost.throughput", lambda *_, **__: timed)
    counted = ("Cost columns", "", pd.DataFrame({"size": ["Base"]}))
    monkeypatch.setitem(blocks.BLOCKS, "cost", lambda _: counted)  # `--columns cost` counts them


def _one_shot(few_shot, context, sources, options):
    return few_shot(context, sources, {**options, "shots": 1})


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """An interpreter and a Slurm that need nothing, and where the first notes its calls."""
    folder = tmp_path / "stand_ins"
    folder.mkdir()
    for name, text in (("interpreter", STUB), ("sbatch", SBATCH)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    settings = '{"ServerApp": {"allow_root": true, "open_browser": false, "port": 0}}'
    (folder / "jupyter_server_config.json").write_text(settings)
    monkeypatch.setenv("PATH", f"{folder}:{ROOT / '.venv/bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", str(folder / "interpreter"))
    monkeypatch.setenv("CALLS", str(folder / "calls"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(folder))
    return folder / "calls"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_command_lines_run(page, data, tmp_path, monkeypatch, stand_ins, request):
    if page.stem == "tables":
        request.getfixturevalue("few_images")
    for entry in data.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    for language, text in blocks(page):
        text = re.sub(r" *\\\n\s*", " ", text) if language == "bash" else text
        for real, small in SUBSTITUTES.items():
            text = text.replace(real, small)
        if language == "python":
            exec(compile(text, str(page), "exec"), {})
        elif language == "toml" and (named := re.match(r"# (\w+\.toml)\n", text)):
            Path(named[1]).write_text(text)
        elif language == "bash":
            set_before = ""
            for line in lines(text):
                assert run(line, set_before) == expected_status(line), line
                if re.match(r"\w+=", line):
                    set_before += line + "\n"
    asked = stand_ins.read_text() if stand_ins.exists() else ""
    for script, call in CALLS.items():
        if re.search(rf"^bash scripts/{script}", page.read_text(), re.MULTILINE):
            assert call in asked


def run(line, set_before=""):
    """Exit status of one command line; ``workbench`` without a new process."""
    words = shlex.split(without_comment(line))
    for start, promise in SERVES.items():
        if line.startswith(start):
            return serves(line, promise)
    if words[0] != "workbench":
        return subprocess.run(["bash", "-c", f"{set_before}{line}"], check=False).returncode
    if "slurm" in words and "--dry-run" not in words:
        words.append("--dry-run")  # workers would never come
    try:
        return main(words[1:])
    except SystemExit as stopped:
        return stopped.code


def serves(line, promise):
    """0 once a server has said that it runs; it is stopped then."""
    command = ["bash", "-c", f"exec {line}"]
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    env = {**os.environ, "BROWSER": "true"}
    with subprocess.Popen(command, env=env, **said) as server:
        try:
            return 0 if any(promise in text for text in server.stdout) else 1
        finally:
            server.terminate()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_lines_that_are_not_run_are_well_formed(page):
    for line in (s for language, text in blocks(page) if language == "bash" for s in lines(text)):
        assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0, line
        words = shlex.split(without_comment(line))
        if words[0] == "workbench":
            command = " ".join(words[1:3]) if " ".join(words[1:3]) in COMMANDS else words[1]
            assert command in COMMANDS, line
            given = {w.partition("=")[0] for w in words if w.startswith("--")}
            assert given <= options_of(command), line
        elif line.startswith("bash scripts/"):
            script = ROOT / words[1]
            assert subprocess.run(["bash", "-n", script], check=False).returncode == 0, line
        elif words[0] == "sbatch":
            (script,) = [w for w in words[1:] if w.endswith((".sh", ".sbatch"))]
            assert (ROOT / script).exists(), line


@cache
def options_of(command):
    """Every option that a command's help names."""
    shown = io.StringIO()
    for which in ("--help", "--help-slurm"):
        with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
            main([*command.split(), which])
    return frozenset(re.findall(r"--[a-z][a-z0-9.-]*", shown.getvalue()))


def test_conda_environment_parses():
    assert yaml.safe_load((ROOT / "environment.yml").read_text())["name"] == "s2-workbench"


def test_no_block_of_commands_goes_unseen():
    """A block of commands that names no language would not be run."""
    for page in PAGES:
        fences = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for language, text in fences:
            commands = [s for s in text.splitlines() if re.match(r"(workbench|bash|sbatch) ", s)]
            assert language == "bash" or not commands, f"{page.name}: {commands}"
