"""Runs give a model; killed at any moment and repeated, they give the same one."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from timm.optim import create_optimizer_v2

import feature_store
from feature_store import InputError
from workbench.cli import main
from workbench.models.backbone import weights_sha256
from workbench.models.run_names import record_of
from workbench.pretraining import run
from workbench.pretraining.backbone import build_s2
from workbench.pretraining.config import PretrainConfig, PretrainRecipe
from workbench.pretraining.supervised import Classifier
from workbench.training import checkpoints, loop, ranks
from workbench.training.trained import Outcome


def rows(folder, name):
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


def test_a_run_trains_and_its_result_is_a_model_wherever_its_folder_is(
    pretrain, coloured, tmp_path, capsys
):
    run = tmp_path / "small #1"
    found = pretrain(run, epochs="8")
    assert found["steps"] == 24
    assert found["images"] == 192
    losses = [float(row["loss"]) for row in rows(run, "metrics.csv")]
    assert len(losses) == 24
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    last = rows(run, "evaluation.csv")[-1]
    assert float(last["val_accuracy"]) == found["val_accuracy"] > 0.7
    assert float(last["images"]) == 192
    assert (run / "training.png").exists()

    def extract(name, store, scales, images=coloured):
        words = ["--dataset", f"folder:{images}", "--store", str(store), "--scales", *scales]
        assert main(["extract", "--model", f"run:{name}", *words]) == 0
        return feature_store.open(store)

    store = extract(run, tmp_path / "a.zarr", ["1x", "2x"])
    (model,) = {source.partition("#")[0] for source in store.sources()}
    manifest = store.source(f"{model}@1x").manifest
    assert manifest["weights_from"].endswith("supervised, trained at 32+64")
    assert manifest["pretrained"]

    moved = shutil.move(run, tmp_path / "else where#final#2")
    capsys.readouterr()
    extract(moved, tmp_path / "a.zarr", ["1x", "2x"])
    assert "nothing to do" in capsys.readouterr().err
    for path in coloured.rglob("*.png"):
        other = tmp_path / "others" / path.parent.name / f"other {path.name}"
        other.parent.mkdir(parents=True, exist_ok=True)
        ImageOps.mirror(Image.open(path)).save(other)
    extract(moved, tmp_path / "b.zarr", ["1x", "2x"], tmp_path / "others")
    capsys.readouterr()
    probe = ["probe", "--train", str(tmp_path / "a.zarr"), "--test", str(tmp_path / "b.zarr")]
    probe += ["--source", f"run:{moved}@1x", "--source", f"run:{moved}@1x+2x", "--l2", "0.01"]
    assert main([*probe, "--json"]) == 0
    said = capsys.readouterr()
    sources = [row["source"] for row in json.loads(said.out)["rows"]]
    assert len(sources) == 2
    assert all(source.startswith(model) for source in sources)
    assert [line for line in said.err.splitlines() if "trained at 32+64" in line] == [
        line for line in said.err.splitlines() if "@32:" in line
    ]
    assert main(["status", str(moved), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["steps_done"], status["steps_total"], status["complete"]) == (24, 24, True)


KILLED = """
import os, signal, sys
from workbench.cli import main
from workbench.training import loop
step = loop._Run._one
save = loop.checkpoints.save
def one(self, number, batch):
    if "step" in sys.argv[1] and number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, number, batch)
def half(file, *more, **options):
    file.write(b"begun"); file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
def saved(state, folder, *, keep):
    if "checkpoint" in sys.argv[1] and state["step"] == 4:
        import torch
        torch.save = lambda state, file: half(file)
    return save(state, folder, keep=keep)
loop._Run._one, loop.checkpoints.save = one, saved
main(sys.argv[2:])
"""


@pytest.mark.parametrize("moment", ["step", "checkpoint"])
def test_a_killed_run_resumes_with_the_same_bits(moment, line, pretrain, tmp_path):
    """SIGKILL in step 5, and in the middle of the write of the checkpoint of step 4."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, moment, *line(tmp_path / "a", workers="1")],
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    latest = checkpoints.existing(tmp_path / "a")[0].name[5:15]
    assert int(latest) == (4 if moment == "step" else 2)
    pretrain(tmp_path / "a")
    pretrain(tmp_path / "whole")
    one, other = (checkpoints.load(tmp_path / name, print) for name in ("a", "whole"))
    for state in (one, other):
        state.pop("seconds")
    assert flat(one).keys() == flat(other).keys()
    assert any("average" in key for key in flat(one))
    for key, value in flat(one).items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(flat(other)[key])), key
    for name in ("metrics.csv", "evaluation.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert record_of(tmp_path / "a") == record_of(tmp_path / "whole")


def flat(value, name=""):
    """Every leaf of a nested state."""
    if isinstance(value, dict | list | tuple):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in pairs for k, v in flat(part, f"{name}.{key}").items()}
    return {} if value is None or isinstance(value, str) else {name: value}


def test_weights_to_start_from_are_those_of_a_run(pretrain, tmp_path, monkeypatch):
    from workbench import models

    pretrain(tmp_path / "a", epochs="1")
    load, loaded = models.load, []
    monkeypatch.setattr(models, "load", lambda name: loaded.append(name) or load(name))
    pretrain(tmp_path / "b", epochs="0.1", init=f"run:{tmp_path / 'a'}", ema="0",
             learning_rate="1e-12", val=None)  # fmt: skip
    assert loaded == [f"run:{tmp_path / 'a'}"]
    recorded = json.loads((tmp_path / "b/run.json").read_text())["identity"]["init_sha256"]
    assert recorded == weights_sha256(load(loaded[0]).module.state_dict())
    one, other = (load_file(tmp_path / name / "checkpoint.safetensors") for name in "ab")
    for key in one:
        torch.testing.assert_close(one[key], other[key], atol=1e-6, rtol=0)
    pretrain(tmp_path / "c", epochs="0.1", seed="1", val=None)
    assert not torch.equal(load_file(tmp_path / "c/checkpoint.safetensors")[key], one[key])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss": "sigmoid"}, None),
        ({"parts": "2", "recompute": "", "scales": "1x 2x.raw"}, None),
        ({"dataset": "unlabelled"}, ["24 of 24", "no label"]),
        ({"val": "lacking"}, ["no image of red"]),
        ({"val": "same"}, ["--val", "the training images themselves"]),
        ({"scales": "1x 50"}, ["50", "multiple", "32"]),
        ({"batch": "7", "parts": "2"}, ["--batch is 7", "multiple of 2"]),
        ({"batch": "3"}, ["even number", "3 images"]),
        ({"model": "timm:no_such_vit"}, ["no_such_vit"]),
        ({"model": "bundled:efficientnet_lite0"}, ["timm:"]),
        ({"init": "random:timm:vit_tiny_patch16_224:32"}, ["another architecture"]),
        ({"epochs": "0"}, ["epochs", "0"]),
        ({"epochs": "nan"}, ["epochs", "nan"]),
        ({"learning_rate": "inf"}, ["learning_rate", "inf"]),
        ({"weight_decay": "-1"}, ["weight_decay", "-1"]),
        ({"seed": "-1"}, ["seed", "-1"]),
        ({"arithmetic": "fp16"}, ["fp16", "bf16"]),
        ({"momentum": "3"}, ["momentum", "3"]),
        ({"local_pixels": "-1"}, ["local_pixels", "-1"]),
        ({"dry_run": "", "devices": "0"}, ["--devices", "0"]),
        ({"dry_run": "", "classes": "0"}, ["classes", "0"]),
        ({"momentum": "0.9"}, ["--momentum is 0.9", "--objective supervised"]),
        ({"objective": "dinov2"}, ["--augment is light2", "--objective dinov2"]),
        ({"objective": "dinov2", "augment": "auto", "ema": "0", "dry_run": ""}, ["--ema is 0"]),
        ({"dry_run": "", "devices": "16"}, ["--batch is 8", "16 devices"]),
        ({"learning_rate": "1e38", "checkpoint_every": "1"}, ["step 1", "not finite"]),
        ({"dataset": "damaged"}, ["damaged", "nan"]),
    ],
)
def test_options_are_run_or_refused_in_one_line(options, words, line, coloured, tmp_path, capsys):
    if options.get("dataset") == "unlabelled":
        (tmp_path / "flat").mkdir()
        for number, path in enumerate(sorted(coloured.rglob("*.png"))):
            shutil.copy(path, tmp_path / "flat" / f"{number}.png")
        options = {"dataset": f"folder:{tmp_path / 'flat'}"}
    if options.get("dataset") == "damaged":
        shutil.copytree(coloured, tmp_path / "images")
        pixels = np.full((40, 48), np.nan, np.float32)
        Image.fromarray(pixels).save(tmp_path / "images" / "red" / "damaged.tiff")
        options = {"dataset": f"folder:{tmp_path / 'images'}"}
    if options.get("val") == "same":
        options = {"val": f"folder:{coloured}"}
    if options.get("val") == "lacking":
        shutil.copytree(coloured / "green", tmp_path / "val" / "green")
        options = {"val": f"folder:{tmp_path / 'val'}"}
    status = main(line(tmp_path / "run", **{"epochs": "1"} | options))
    said = capsys.readouterr()
    if words is None:
        assert status == 0, said.err
        return
    assert status == 2
    *bars, message = said.err.strip().splitlines()
    assert all(one.startswith("train:") for one in bars if one.strip()), bars
    assert all(word in message for word in words), message
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_a_run_whose_images_moved_ends_with_the_same_model(
    line, pretrain, coloured, held_out, tmp_path, monkeypatch
):  # fmt: skip
    def interrupted(*step):
        raise KeyboardInterrupt

    pretrain(tmp_path / "whole", epochs="0.5")
    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_one", interrupted)
        assert main(line(tmp_path / "a", epochs="0.5")) == 130
    for images, name in ((coloured, "staged"), (held_out, "val")):
        shutil.copytree(images, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    pretrain(tmp_path / "a", epochs="0.5", dataset="folder:staged", val="folder:val")
    assert record_of(tmp_path / "a") == record_of(tmp_path / "whole")


def test_another_configuration_and_an_unfinished_run_are_refused(
    line, pretrain, tmp_path, capsys, monkeypatch
):  # fmt: skip
    pretrain(tmp_path / "a", epochs="1")
    assert main(line(tmp_path / "a", epochs="1", scales="1x")) == 2
    assert "scales was ['1x', '2x'] there and is ['1x'] now" in capsys.readouterr().err
    assert main(line(tmp_path / "a", epochs="1", seed="3", learning_rate="0.1")) == 2
    said = capsys.readouterr().err
    assert "recipe.learning_rate was None there and is 0.1 now" in said
    assert "seed was 0 there and is 3 now" in said
    (tmp_path / "file").write_text("")
    for out, word in (("a", "scales was"), ("file", "--out is")):
        with monkeypatch.context() as patch:
            patch.setattr(run, "build_s2", lambda *more: pytest.fail("refused too late"))
            assert main(line(tmp_path / out, epochs="1", scales="1x")) == 2
        assert word in capsys.readouterr().err
    (tmp_path / "a" / "checkpoint.safetensors").unlink()
    assert main(["cost", "--model", f"run:{tmp_path / 'a'}"]) == 2
    assert "unfinished" in capsys.readouterr().err
    assert main(["cost", "--model", f"run:{tmp_path / 'none'}"]) == 2
    assert "checkpoint.safetensors" in capsys.readouterr().err


def test_weights_with_more_than_the_model_has_are_refused():
    config = PretrainConfig(
        model="timm:test_vit:32", dataset="bundled:specks", init="random:timm:test_vit:32"
    )
    with pytest.raises(InputError, match=r"architecture: blocks\.5\.\S+ is .* absent here"):
        build_s2(config, PretrainRecipe(), "cpu", {"depth": 5})


def test_weights_decay_where_they_are_matrices():
    config = PretrainConfig(model="timm:test_vit:32", dataset="bundled:specks")
    net = Classifier(build_s2(config, PretrainRecipe(), "cpu"), 2, "softmax")
    left = {name.rpartition(".")[2] for name in net.no_weight_decay()}
    assert left == {"pos_embed", "cls_token"}
    decayed, kept = sorted(
        create_optimizer_v2(net, opt="adamw", lr=1, weight_decay=0.1).param_groups,
        key=lambda group: -group["weight_decay"],
    )
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}


def test_the_first_process_alone_decodes_what_it_evaluates(
    line, coloured, tmp_path, capsys, monkeypatch
):  # fmt: skip
    monkeypatch.setattr(ranks, "rank", lambda: 1)
    monkeypatch.setattr(run, "held_out", lambda *more, **options: pytest.fail("decoded"))
    stopped = Outcome(step=0, finished=False, seconds=0.0)
    monkeypatch.setattr(run, "train", lambda *more, **options: stopped)
    assert main(line(tmp_path / "a")) == 0, "the first process tells how it ended"
    shutil.copytree(coloured / "green", tmp_path / "val" / "green")
    assert main(line(tmp_path / "a", val=f"folder:{tmp_path / 'val'}")) == 2
    assert "no image of red" in capsys.readouterr().err


def test_a_damaged_weight_file_is_refused(pretrain, tmp_path, capsys):
    pretrain(tmp_path / "a", epochs="0.5", seed="7")
    path = tmp_path / "a" / "checkpoint.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 64
    path.write_bytes(data)
    from workbench import models

    with pytest.raises(InputError, match="another hash|do not have the hash"):
        models.load(f"run:{tmp_path / 'a'}")


def test_a_full_disk_leaves_the_checkpoint_before(line, tmp_path, capsys, monkeypatch):
    save = torch.save

    def full(state, file):
        if state["step"] == 4:
            file.write(b"begun")
            raise OSError(28, "No space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", full)
    assert main(line(tmp_path / "a")) == 2
    (message,) = (line for line in capsys.readouterr().err.splitlines() if "No space left" in line)
    words = ("a checkpoint", str(tmp_path / "a"), "step 2", "free some space", "repeat the command")
    assert all(word in message for word in words), message
    assert [p.name[5:15] for p in checkpoints.existing(tmp_path / "a")] == ["0000000002"]
    assert not list((tmp_path / "a").glob("*.partial"))


def test_rows_go_to_tensorboard_where_it_is_installed(line, pretrain, tmp_path, monkeypatch):
    seen = []

    class Writer:
        def __init__(self, folder):
            seen.append(folder)

        def add_scalar(self, name, value, step):
            seen.append((name, step))

        def flush(self):
            pass

    stub = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stub)
    pretrain(tmp_path / "a", epochs="1", tensorboard="")
    assert seen[0] == str(tmp_path / "a")
    rows_before = len(seen)
    assert main(line(tmp_path / "a", epochs="2", tensorboard="")) == 2
    assert len(seen) == rows_before, "nothing is written into the folder of another run"
    assert oct((tmp_path / "a/checkpoint.safetensors").stat().st_mode) == oct(
        (tmp_path / "a/metrics.csv").stat().st_mode
    )
    assert {("loss", 1), ("learning_rate", 3), ("val_accuracy", 3)} <= set(seen[1:])
