"""A run that is killed, stopped or damaged ends with the bits of an uninterrupted one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from feature_store import InputError
from workbench.training import checkpoints
from workbench.training.config import TrainingConfig
from workbench.training.files import FINISHED
from workbench.training.loop import train
from workbench.training.randomness import rows_of_step, seed_step, step_generator
from workbench.training.run_folder import Metrics, check_identity
from workbench.training.status import status
from workbench.training.trained import Trained

CONFIG = TrainingConfig(iterations=40, checkpoint_every=10, log_every=4)
TRAINING = {"iterations": 40}
"""Part of the identity of a run of which nothing is trained."""


def run(
    folder, config=CONFIG, *, seed=0, before=None, bad=None, log=print, rate=0.05, code="a",
    progress=False, **more,
):  # fmt: skip
    """A small regression with dropout, momentum, a schedule and random batches."""
    seed_step(0, seed)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.iterations)
    x = torch.arange(30.0).reshape(10, 3) / 30

    def read(step):
        rows = rows_of_step(step, count=10, batch=4, seed=seed)
        noise = step_generator(step, seed).normal(size=(4, 1))
        return step, x[rows], torch.as_tensor(noise, dtype=torch.float32)

    def loss(batch):
        step, inputs, targets = batch
        if before is not None:
            before(step)
        error = (model(inputs) - targets).square().mean()
        return error * (float("nan") if step == bad else 1), {"error": float(error.detach())}

    trained = Trained(
        model=model, optimizer=optimizer, schedule=schedule, read=read, loss=loss, **more
    )
    identity = {"rate": rate, "code": code}
    outcome = train(
        trained, folder, config, identity=identity, seed=seed, log=log, progress=progress
    )
    return outcome, [p.detach().clone() for p in model.parameters()]


def assert_same(found, expected, folder, whole):
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    assert (folder / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_saves_the_step_and_the_run_resumes_with_the_same_bits(tmp_path, number):
    whole, expected = run(tmp_path / "whole")
    assert (whole.step, whole.finished) == (40, True)
    lines = []

    def send(step):
        if step == 17:
            os.kill(os.getpid(), number)

    outcome, _ = run(tmp_path / "a", before=send, log=lines.append)
    assert (outcome.step, outcome.finished) == (17, False)
    assert any("after this step" in line for line in lines)
    again, found = run(tmp_path / "a", log=lines.append)
    assert again.finished
    assert any("after step 17" in line for line in lines)
    assert_same(found, expected, tmp_path / "a", tmp_path / "whole")


def test_a_killed_run_resumes_with_the_same_bits(tmp_path):
    """SIGKILL in step 27, after the checkpoint of step 20 and the row of step 24."""
    kill = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_loop
def before(step):
    if step == 27:
        os.kill(os.getpid(), signal.SIGKILL)
test_loop.run(Path({str(tmp_path / "a")!r}), before=before)
"""
    done = subprocess.run([sys.executable, "-c", kill], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [p.name[:15] for p in checkpoints.existing(tmp_path / "a")] == [
        "step_0000000020", "step_0000000010",
    ]  # fmt: skip
    assert "\n24," in (tmp_path / "a" / "metrics.csv").read_text()
    _, expected = run(tmp_path / "whole")
    _, found = run(tmp_path / "a")
    assert_same(found, expected, tmp_path / "a", tmp_path / "whole")
    steps = [line.split(",")[0] for line in (tmp_path / "a/metrics.csv").read_text().splitlines()]
    assert steps == ["step", *map(str, range(4, 41, 4))]


def test_a_finished_run_is_only_loaded(tmp_path):
    _, expected = run(tmp_path)
    outcome, found = run(tmp_path, before=lambda step: pytest.fail("trained again"))
    assert (outcome.step, outcome.finished) == (40, True)
    assert_same(found, expected, tmp_path, tmp_path)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path):
    _, expected = run(tmp_path / "whole")
    run(tmp_path / "a")
    latest = checkpoints.existing(tmp_path / "a")[0]
    data = bytearray(latest.read_bytes())
    data[len(data) // 2] ^= 1
    latest.write_bytes(data)
    lines, complete = [], []
    _, found = run(
        tmp_path / "a", log=lines.append,
        before=lambda step: complete.append(status(tmp_path / "a")["complete"]),
    )  # fmt: skip
    assert any("damaged" in line and latest.name in line for line in lines)
    assert any("after step 30" in line for line in lines)
    assert (complete, status(tmp_path / "a")["complete"]) == ([False] * 10, True)
    assert_same(found, expected, tmp_path / "a", tmp_path / "whole")
    for path in checkpoints.existing(tmp_path / "a"):  # none is left: from the start
        path.write_bytes(b"")
    _, found = run(tmp_path / "a")
    assert_same(found, expected, tmp_path / "a", tmp_path / "whole")


def test_a_failed_write_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    def full(state, file):
        file.write(b"begun")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    run(tmp_path, TrainingConfig(iterations=10))
    before = checkpoints.existing(tmp_path)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="cannot write a checkpoint"):
        checkpoints.save({"step": 11}, tmp_path, keep=1)
    assert checkpoints.existing(tmp_path) == before
    assert not list(tmp_path.glob("*.partial"))


def test_the_largest_gradient_is_named_as_it_was_before_it_was_clipped(tmp_path):
    found = []
    for clip in (None, 1e-3):
        config = TrainingConfig(iterations=4, checkpoint_every=4, clip=clip)
        with pytest.raises(InputError) as error:
            run(tmp_path / str(clip), config, bad=2)
        found.append(float(re.search(r"before it was ([0-9.e-]+),", str(error))[1]))
    assert found[0] == pytest.approx(found[1], rel=1e-2)


def test_the_largest_gradient_is_that_of_the_parts_before(tmp_path):
    """Weights stay, so that the first part of step 2 has one gradient, whatever follows it."""

    def split(*marks):
        """Copies of the first half of a batch under step numbers that are larger by the marks."""
        return lambda batch: [(batch[0] + mark, batch[1][:2], batch[2][:2]) for mark in marks]

    found = []
    for parts, bad, clip in ((split(0), 3, None), (split(0, 100), 102, 1e-3)):
        config = TrainingConfig(iterations=4, clip=clip)
        with pytest.raises(InputError, match=f"step {2 if clip else 3}:") as error:
            run(tmp_path / str(clip), config, bad=bad, rate=0.0, parts=parts)
        found.append(re.search(r"before it was ([0-9.e-]+), of (\S+)\)", str(error)).groups())
    assert found[0] == found[1]


def test_a_loss_that_is_not_finite_stops_the_run_before_it_reaches_the_weights(tmp_path):
    with pytest.raises(InputError, match="step 23: the loss is nan") as found:
        run(tmp_path, bad=23)
    assert re.search(
        r"largest gradient before it was [0-9.e-]+, of [02]\.(weight|bias)", str(found)
    )
    state = checkpoints.load(tmp_path, print)
    assert state["step"] == 20
    assert all(value.isfinite().all() for value in state["model"].values())


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(InputError, match="after step 1 0.weight is not finite"):
        run(tmp_path, TrainingConfig(iterations=1), rate=float("inf"))
    assert checkpoints.existing(tmp_path) == []


def test_another_run_is_refused_by_the_name_of_what_differs(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError, match="seed was 0 there and is 1 now"):
        run(tmp_path, seed=1)
    with pytest.raises(InputError, match="training.iterations was 40 there and is 50"):
        run(tmp_path, TrainingConfig(iterations=50, checkpoint_every=10, log_every=4))
    with pytest.raises(InputError, match="rate was 0.05 there and is 0.1"):
        run(tmp_path, rate=0.1)


def test_a_name_decides_only_where_its_content_differs(tmp_path):
    """A folder of images may have moved; without a hash of the content, its name decides."""
    then = {"dataset": "folder:a", "images": {"count": 1}, "init": None, "training": TRAINING}
    check_identity(tmp_path, then, "cpu", print, {})
    assert not check_identity(tmp_path, then | {"dataset": "folder:b"}, "cpu", print, {})
    moved = {"dataset": "folder:b", "images": {"count": 2}}
    with pytest.raises(InputError, match=r"dataset was folder:a .*images\.count was 1"):
        check_identity(tmp_path, then | moved, "cpu", print, {})
    with pytest.raises(InputError, match="init was None there and is run:b"):
        check_identity(tmp_path, then | {"init": "run:b"}, "cpu", print, {})


@pytest.mark.parametrize("name", ["step_0000000040", "metrics.csv", "evaluation.csv"])
def test_files_of_a_run_without_its_record_are_neither_adopted_nor_emptied(tmp_path, name):
    run(tmp_path, evaluate=lambda step: {"accuracy": 0.5})
    for path in tmp_path.iterdir():
        if not path.name.startswith((name, ".lock")):
            path.unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match=rf"{name}\S* but no run\.json.*another folder"):
        run(tmp_path, seed=1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_largest_learning_rate_is_logged(tmp_path):
    slow, fast = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    groups = [{"params": [slow], "lr": 0.1}, {"params": [fast], "lr": 0.4}]
    trained = Trained(
        model=torch.nn.ParameterList([slow, fast]), optimizer=torch.optim.SGD(groups),
        read=lambda step: None, loss=lambda batch: ((slow + fast).sum(), {}),
    )  # fmt: skip
    config = TrainingConfig(iterations=1, log_every=1)
    train(trained, tmp_path, config, identity={}, seed=0, log=print)
    assert (tmp_path / "metrics.csv").read_text() == "step,loss,learning_rate\n1,2.0,0.4\n"


def test_other_code_reports_a_finished_run_and_refuses_the_rest(tmp_path):
    """The remedy is one that can be followed."""
    stopped, lines = TrainingConfig(iterations=40, checkpoint_every=10, patience=9), []

    def send(step):
        if step == 17:
            os.kill(os.getpid(), signal.SIGTERM)

    def refuse(step):
        pytest.fail("trained again")

    run(tmp_path, before=send)
    with pytest.raises(InputError, match="code was a there and is b now.*version of the code"):
        run(tmp_path, code="b")
    with pytest.raises(InputError, match="recorded options with the version of the code"):
        run(tmp_path, stopped, code="b")
    _, expected = run(tmp_path)
    outcome, found = run(tmp_path, code="b", log=lines.append, before=refuse)
    assert (outcome.step, outcome.finished) == (40, True)
    assert all(map(torch.equal, found, expected))
    assert "another version of the code" in lines[0]
    with pytest.raises(InputError, match="seed was 0"):
        run(tmp_path, code="b", seed=1)
    checkpoints.existing(tmp_path)[0].write_bytes(b"")
    with pytest.raises(InputError, match="last checkpoint is gone or damaged"):
        run(tmp_path, code="b")


def test_how_much_is_kept_and_logged_may_change(tmp_path):
    run(tmp_path, replace(CONFIG, keep=4))
    path = tmp_path / "run.json"
    record = json.loads(path.read_text())
    assert set(record["identity"]["training"]) == {
        "iterations", "checkpoint_every", "clip", "patience",
    }  # fmt: skip
    record["identity"]["training"] |= {"keep": 7, "log_every": 3}  # as older runs recorded
    path.write_text(json.dumps(record))
    assert len(checkpoints.existing(tmp_path)) == 4
    assert run(tmp_path, replace(CONFIG, keep=1, log_every=1))[0].finished
    assert [p.name[5:15] for p in checkpoints.existing(tmp_path)] == ["0000000040"]


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run(tmp_path)
    state = checkpoints.load(tmp_path, print)
    state["model"] = {"other": torch.ones(1)}
    for path in checkpoints.existing(tmp_path):
        path.unlink()
    checkpoints.save(state, tmp_path, keep=1)
    with pytest.raises(InputError, match=r"step 40 in .* does not fit the model .*0\.weight"):
        run(tmp_path)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c",
         "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); "
         "print('held', flush=True); time.sleep(60)", str(tmp_path / ".lock")],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another process"):
            run(tmp_path)
    finally:
        holder.kill()
        holder.wait()
    assert run(tmp_path)[0].finished  # the lock ends with its process


def test_only_the_latest_checkpoints_stay(tmp_path):
    run(tmp_path, TrainingConfig(iterations=40, checkpoint_every=5, keep=3))
    assert [int(p.name[5:15]) for p in checkpoints.existing(tmp_path)] == [40, 35, 30]


def test_clipping_bounds_the_gradient(tmp_path, monkeypatch):
    norms, step = [], torch.optim.AdamW.step

    def measured(optimizer, *more):
        found = [p.grad.norm() for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.stack(found).norm()))
        return step(optimizer, *more)

    monkeypatch.setattr(torch.optim.AdamW, "step", measured)
    for clip in (None, 1e-3):
        run(tmp_path / str(clip), TrainingConfig(iterations=3, clip=clip))
    assert min(norms[:3]) > 1e-2
    assert max(norms[3:]) <= 1e-3 * (1 + 1e-4)


@pytest.mark.parametrize("option", ["iterations", "checkpoint_every", "keep", "log_every"])
def test_refused_options(option):
    with pytest.raises(InputError, match=f"{option} is 0; expected at least 1"):
        TrainingConfig(**{option: 0})
    with pytest.raises(InputError, match="clip is -1; expected a positive"):
        TrainingConfig(clip=-1)


def test_hooks_surround_every_step_and_evaluations_are_rows(tmp_path, monkeypatch):
    seen, synced = [], []
    monkeypatch.setattr(Metrics, "sync", lambda table: synced.append(table._name))
    hooks = {
        "before": lambda step: seen.append(("before", step)),
        "after": lambda step: seen.append(("after", step)),
        "evaluate": lambda step: {"accuracy": step / 100},
    }
    run(tmp_path, TrainingConfig(iterations=5, checkpoint_every=2), **hooks)
    assert seen == [(name, step) for step in range(1, 6) for name in ("before", "after")]
    lines = (tmp_path / "evaluation.csv").read_text().splitlines()
    assert lines == ["step,accuracy", "2,0.02", "4,0.04", "5,0.05"]
    assert synced == ["metrics.csv", "evaluation.csv"] * 3


def test_the_bar_of_a_short_run_names_its_speed(tmp_path, capsys):
    run(tmp_path, TrainingConfig(iterations=3), progress=True, images=32)
    last = capsys.readouterr().err.rpartition("images/s=")[2]
    assert float(last.partition("]")[0]) > 0


def test_parts_of_a_batch_give_the_gradients_of_the_whole(tmp_path):
    """Dropout aside: the loss is a mean over equal parts."""

    def split(batch):
        step, inputs, targets = batch
        return [(step, inputs[k : k + 2], targets[k : k + 2]) for k in (0, 2)]

    config = TrainingConfig(iterations=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn, "Dropout", lambda p: torch.nn.Identity())
        (_, whole), (_, parts) = (
            run(tmp_path / "a", config),
            run(tmp_path / "b", config, parts=split),
        )
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def lowest_at(best, done):
    """A loss on unseen data that is lowest at one evaluation, and disturbs the random state."""

    def evaluate(step):
        torch.rand(3)
        done.append(step)
        return {"loss": abs(len(done) - best) + 1.0}

    return evaluate


def test_a_run_ends_early_with_its_best_weights(tmp_path):
    config, done = replace(CONFIG, checkpoint_every=5, patience=3, keep=9), []
    outcome, found = run(tmp_path / "a", config, evaluate=lowest_at(2, done))
    assert (outcome.step, outcome.finished) == (25, True)
    assert (outcome.best_step, outcome.best_loss) == (10, 1.0)
    assert (tmp_path / "a" / FINISHED).exists()
    (saved,) = (p for p in (tmp_path / "a").glob("step_*10.*.pt"))
    assert all(map(torch.equal, found, torch.load(saved)["model"].values()))
    rows = (tmp_path / "a" / "evaluation.csv").read_text().split()
    assert rows == ["step,loss", "5,2.0", "10,1.0", "15,2.0", "20,3.0", "25,4.0"]
    again, same = run(tmp_path / "a", config, evaluate=lowest_at(2, done))
    assert done == [5, 10, 15, 20, 25], "a run that ended early is finished"
    assert (again.best_step, again.step) == (10, 25)
    assert all(map(torch.equal, same, found))


def test_patience_changes_no_step_and_survives_a_stop(tmp_path):
    _, plain = run(tmp_path / "plain")
    config, done = replace(CONFIG, checkpoint_every=5, patience=9), []

    def send(step):
        if step == 17:
            os.kill(os.getpid(), signal.SIGTERM)

    evaluate = lowest_at(99, done)  # the last evaluation is the best
    assert not run(tmp_path / "a", config, before=send, evaluate=evaluate)[0].finished
    assert not (tmp_path / "a" / FINISHED).exists()
    outcome, found = run(tmp_path / "a", config, evaluate=evaluate)
    assert outcome.best_step == 40
    assert all(map(torch.equal, found, plain))


def test_another_version_of_a_library_is_noted_where_a_run_resumes(tmp_path):
    lines = []
    for version in ("1.0", "1.0", "1.1"):
        check_identity(tmp_path, {"training": TRAINING}, "cpu", lines.append, {"timm": version})
    (line,) = lines
    assert "timm was 1.0 and is 1.1" in line
