"""One image's crops spread over worker processes, or over the devices of a machine.

Crops are independent, so every worker holds the whole model and takes a share of them. Shares
differ by one crop at most and are not filled up to equal sizes: no work is dropped again. Results
come back in the order of the crops, whichever process computed them.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from workbench import models
from workbench.cost.config import LatencyConfig
from workbench.models import Backbone, Tokens

_backbone: Backbone | None = None
"""The model of a worker process."""


class CropWorkers:
    """Processes that each hold a model and run a share of the crops.

    There are ``crop_processes`` of them, each with one thread on a CPU; on GPUs they take turns.

    Examples
    --------
    >>> with CropWorkers(name, None, LatencyConfig(crop_processes=2)) as workers:  # doctest: +SKIP
    ...     tokens = workers.run(crops)
    """

    def __init__(self, model: str, tap: str | None, config: LatencyConfig) -> None:
        context = multiprocessing.get_context("spawn")
        devices = [_device(config.device, k) for k in range(config.crop_processes)]
        self._pools = [
            ProcessPoolExecutor(
                1, mp_context=context, initializer=_load,
                initargs=(model, tap, device, config.arithmetic),
            )
            for device in devices
        ]  # fmt: skip
        for started in [pool.submit(_peak_mb) for pool in self._pools]:
            started.result()

    def __enter__(self) -> CropWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def run(self, crops: torch.Tensor) -> Tokens:
        """Tokens of (crop, 3, height, width), in the order of the crops, on the CPU."""
        shares = [s for s in torch.tensor_split(crops.cpu(), len(self._pools)) if len(s)]
        running = [
            pool.submit(_run, share.numpy())
            for pool, share in zip(self._pools, shares, strict=False)
        ]
        prefix, maps = zip(*(one.result() for one in running), strict=True)
        return Tokens(*(torch.cat([torch.from_numpy(p) for p in x]) for x in (prefix, maps)))

    def peak_mb(self) -> float:
        """Largest memory of all workers together, in MB."""
        return sum(one.result() for one in [pool.submit(_peak_mb) for pool in self._pools])


def peak_mb(device: torch.device) -> float:
    """Most memory that this process held, in MB: of the GPU if it uses one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:  # of this process alone: ru_maxrss would start at the peak of its parent
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        import resource  # deferred: not on every system

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def _device(name: str, worker: int) -> str:
    """``cuda`` becomes the GPUs in turn."""
    if name != "cuda":
        return name
    return f"cuda:{worker % torch.cuda.device_count()}"


def _load(model: str, tap: str | None, device: str, arithmetic: str) -> None:
    global _backbone
    torch.set_num_threads(1)
    _backbone = models.load(model, device=device, tap=tap, arithmetic=arithmetic)  # type: ignore[arg-type]


def _run(crops: object) -> tuple[object, object]:
    assert _backbone is not None
    tokens = _backbone(torch.from_numpy(crops).to(_backbone.device))  # type: ignore[arg-type]
    return tokens.prefix.cpu().numpy(), tokens.map.cpu().numpy()


def _peak_mb() -> float:
    assert _backbone is not None
    return peak_mb(_backbone.device)
