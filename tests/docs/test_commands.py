"""Every command line of README.md and docs/*.md runs, in order, on small bundled data.

Each page gets a folder of its own with photographs, masks, tables of runs and a checkpoint under
the names that the pages use. ``workbench`` runs in this process, so that torch is imported once.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from workbench.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)

SUBSTITUTES = {
    "timm:vit_base_patch16_224.mae": "bundled:efficientnet_lite0",
    "timm:vit_large_patch16_224.mae": "bundled:efficientnet_lite2",
    "timm:vit_huge_patch14_224.mae": "bundled:efficientnet_lite1",
}
"""Models of the pages whose weights would be fetched, and bundled ones in their place."""

NOT_RUN = {
    r"bash scripts/": "sets up, tests or demonstrates everything, this test included",
    r"source \.venv/bin/activate": "changes the shell that it runs in",
    r"(jupyter lab|mkdocs serve|dask) ": "serves until it is stopped",
    r"conda env create": "builds an environment of several gigabytes",
    r"(\w+=\$\()?sbatch ": "needs a Slurm cluster",
    r"[A-Z]+=": "sets a variable for a line that is not run",
    r"workbench extract .*--engine (dask|slurm)": "starts workers or jobs; tests of the engines do",
    r"workbench tables ": "takes minutes; its own tests run it",
}
"""Beginnings of lines that are only parsed, and why."""


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
    photo = next((folder / "photos/train").rglob("*.jpg")).relative_to(folder)
    (folder / "photos.csv").write_text(f"path,label\n{photo},{photo.parent.name}\n")
    shutil.copytree(
        ROOT / "notebooks", folder / "notebooks", ignore=lambda *_: [".ipynb_checkpoints"]
    )
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


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_command_lines_run(page, data, tmp_path, monkeypatch):
    for entry in data.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    for language, text in blocks(page):
        for real, small in SUBSTITUTES.items():
            text = text.replace(real, small)
        if language == "python":
            exec(compile(text, str(page), "exec"), {})
            continue
        for line in lines(text):
            if not any(re.match(start, line) for start in NOT_RUN):
                assert run(line) == expected_status(line), line


def run(line):
    """Exit status of one command line; ``workbench`` without a new process."""
    words = shlex.split(without_comment(line))
    if words[0] != "workbench":
        path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
        command = ["bash", "-c", line]
        return subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode
    try:
        return main(words[1:])
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_lines_that_are_not_run_are_well_formed(page):
    for line in (s for language, text in blocks(page) if language == "bash" for s in lines(text)):
        assert subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0, line
        words = shlex.split(without_comment(line))
        if words[0] == "workbench":
            assert words[1] in COMMANDS, line
            given = {w.partition("=")[0] for w in words if w.startswith("--")}
            assert given <= options_of(words[1]), line
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
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit):
        main([command, "--help"])
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
