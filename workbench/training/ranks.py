"""Processes that train one model together, as ``torchrun`` starts them; without it there is one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

PATIENCE = timedelta(hours=1)
"""How long processes wait for each other, such as for the first one to evaluate or to download a
model."""


def rank() -> int:
    """Number of this process; the first, 0, alone writes files and messages."""
    return int(os.environ.get("RANK", "0")) if _started() > 1 else 0


def count() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def _started() -> int:
    """Number of processes that ``torchrun`` started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def own_device(device: str) -> str:
    """The device of this process: each of several takes one GPU, whose number its threads need."""
    if _started() > 1 and torch.device(device).type == "cuda":
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started, if it did, and leave them at the end.

    Yields the device of this process: each takes one GPU.
    """
    if _started() == 1:
        yield device
        return
    device = own_device(device)
    gpu = torch.device(device).type == "cuda"
    if gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def parallel(model: nn.Module) -> nn.Module:
    """The model with gradients averaged over all processes; unchanged for a single process.

    All processes take the first one's weights. Each holds the whole model; gradients lie in the
    buffers that are sent, so that they take memory once. Parts of a batch are averaged one by one,
    which gives the same sum as averaging once.

    Parameters that the loss does not reach, such as a norm after the tap, get no gradient, as in a
    single process. They are found in the first backward pass, which therefore averages only at its
    end; later steps cost nothing more. They have to be the same in every step.
    """
    if count() == 1:
        return model
    return DistributedDataParallel(model, gradient_as_bucket_view=True, static_graph=True)


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if count() == 1:
        return flag
    found = torch.tensor(int(flag), device=_device())
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


def means(values: Mapping[str, float]) -> dict[str, float]:
    """Mean of each value over all processes, which give the same names in the same order."""
    if count() == 1:
        return dict(values)
    found = torch.tensor(list(values.values()), dtype=torch.float64, device=_device())
    dist.all_reduce(found)
    return dict(zip(values, (found / count()).tolist(), strict=True))


def _device() -> str:
    """Where values lie that processes exchange."""
    return "cuda" if dist.get_backend() == "nccl" else "cpu"


def wait() -> None:
    """Wait for all processes."""
    if count() > 1:
        dist.barrier()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process runs the block, for example to write a shared file; then all others do."""
    if rank() > 0:
        wait()
    try:
        yield
    finally:  # even if it fails: then the others fail with the same message instead of waiting
        if rank() == 0:
            wait()


def of_first(log: Callable[[str], None]) -> Callable[[str], None]:
    """The function that logs in the first process, and one that is silent in the others."""
    return log if rank() == 0 else _silent


def _silent(line: str) -> None:
    pass
