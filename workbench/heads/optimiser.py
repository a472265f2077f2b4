"""AdamW and its learning rates, for decoders in the shared training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from feature_store.errors import InputError
from workbench.heads.base import DenseHead
from workbench.heads.config import DecoderConfig
from workbench.multiscale.memory import is_out_of_memory
from workbench.training.trained import Trained

Tokens = Callable[[Any], tuple[torch.Tensor, torch.Tensor]]
"""Turns a step's batch into token maps, dims (image, channel, row, col), and target maps."""
SMALLER = "give a smaller --batch, or a --device with more memory"
"""Remedy for too little memory, in options of the command line."""


def trained(
    head: DenseHead, decoder: DecoderConfig, steps: int, read: Callable[[int], Any], tokens: Tokens
) -> Trained:
    """Wrap a decoder for the training loop, for a run of so many steps.

    `read` reads the batch of a step, in a thread; `tokens` turns it into tensors on the head's
    device.
    """
    optimizer = torch.optim.AdamW(
        _groups(head, decoder), lr=decoder.learning_rate, weight_decay=decoder.weight_decay
    )

    def loss(batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        return head.loss(*tokens(batch)), {}

    return Trained(
        model=head,
        optimizer=optimizer,
        read=read,
        loss=loss,
        schedule=LambdaLR(optimizer, lambda done: decoder.schedule.share(done, steps)),
        images=decoder.batch,
    )


@contextmanager
def enough_memory(decoder: DecoderConfig, remedy: str = SMALLER) -> Iterator[None]:
    """Turn an out-of-memory failure in the block into a one-line error.

    Raises
    ------
    InputError
        Names the device, the decoder, the batch and the remedy.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"{decoder.device} has too little memory for {decoder.head} with batches of "
            f"{decoder.batch} images; {remedy}"
        ) from error


def _groups(head: DenseHead, decoder: DecoderConfig) -> list[dict[str, Any]]:
    """All parameters in one group, or those without weight decay in a second one."""
    if decoder.decay_all:
        return [{"params": list(head.parameters())}]
    tables = [part for part in head.modules() if isinstance(part, nn.Embedding)]
    embedded = {id(parameter) for part in tables for parameter in part.parameters()}
    kept: list[nn.Parameter] = []
    decaying: list[nn.Parameter] = []
    for parameter in head.parameters():
        plain = parameter.ndim <= 1 or id(parameter) in embedded
        (kept if plain else decaying).append(parameter)
    return [{"params": decaying}, {"params": kept, "weight_decay": 0.0}]
