"""Processes that train one model together, as ``torchrun`` starts them; without it there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def rank() -> int:
    """Number of this process; the first, 0, alone writes files and messages."""
    return int(os.environ.get("RANK", "0")) if _started() > 1 else 0


def count() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def _started() -> int:
    """Number of processes that ``torchrun`` started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that ``torchrun`` started, if it did, and leave them at the end.

    Yields the device of this process: each takes one GPU.
    """
    if _started() == 1:
        yield device
        return
    gpu = torch.device(device).type == "cuda"
    if gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


def parallel(model: nn.Module) -> nn.Module:
    """The model with gradients averaged over all processes; unchanged for a single process."""
    return DistributedDataParallel(model) if count() > 1 else model


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if count() == 1:
        return flag
    kind = "cuda" if dist.get_backend() == "nccl" else "cpu"
    found = torch.tensor(int(flag), device=kind)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found)


def wait() -> None:
    """Wait for all processes."""
    if count() > 1:
        dist.barrier()
