"""Heads with one class per image, whose softmax is computed in chunks of classes."""

from __future__ import annotations

from collections.abc import Callable

import torch

TEMPERATURE = 0.07  # Wu et al. (2018)
DIMENSIONS = 128  # Wu et al. (2018)
MOMENTUM = 0.5  # of the memory bank; Wu et al. (2018)


def chunked_softmax(
    logits: Callable[[slice], torch.Tensor], classes: int, chunk: int, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-normaliser, target logit and hit of each row without holding all logits.

    Parameters
    ----------
    logits : callable
        Slice of classes -> dims (row, class in slice).
    classes, chunk : int
        Number of classes, and of those in memory at a time.
    target : int tensor, dims (row,)

    Returns
    -------
    log_normaliser, target_logit : tensor, dims (row,)
    hit : bool tensor, dims (row,)
        Whether the target's logit is the largest (ties go to the first class).
    """
    normalisers, tops, places = [], [], []
    own = torch.zeros(len(target), device=target.device)
    for start in range(0, classes, chunk):
        part = slice(start, min(start + chunk, classes))
        now = logits(part)
        top, place = now.max(1)
        normalisers.append(torch.logsumexp(now, 1))
        tops.append(top)
        places.append(place + start)
        inside = (target >= part.start) & (target < part.stop)
        own = own.to(now.dtype)
        own[inside] = now[inside, target[inside] - start]
    best = torch.stack(tops).argmax(0)
    at = torch.stack(places).gather(0, best[None])[0]
    return torch.logsumexp(torch.stack(normalisers), 0), own, at == target


class InstanceHead:
    """The common part of the heads: a softmax over all instances, in chunks."""

    parameters: list[torch.Tensor]

    def __init__(self, count: int, chunk: int) -> None:
        self.count, self.chunk = count, chunk

    def logits(self, x: torch.Tensor, part: slice) -> torch.Tensor:
        """Logits of embedded rows for a slice of the instances: dims (row, instance)."""
        raise NotImplementedError

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs of the logits: by default the features themselves."""
        return x

    def step(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Set the gradients of the mean loss; return that loss and the number of hits."""
        raise NotImplementedError

    def after_step(self, x: torch.Tensor, target: torch.Tensor) -> None:
        """Update whatever the optimiser does not, after its step."""

    @torch.no_grad()
    def evaluate(self, x: torch.Tensor, batch: int) -> tuple[float, float]:
        """Mean loss (nats) and accuracy, where row i of x is instance i."""
        x, loss, hits = self.embed(x), 0.0, 0.0
        for rows in torch.arange(len(x), device=x.device).split(batch):
            normaliser, own, hit = self.softmax(x[rows], rows)
            loss += float((normaliser - own).sum())
            hits += float(hit.sum())
        return loss / len(x), hits / len(x)

    def softmax(self, x: torch.Tensor, target: torch.Tensor):
        """:func:`chunked_softmax` of embedded rows."""
        return chunked_softmax(lambda part: self.logits(x, part), self.count, self.chunk, target)

    def parts(self) -> list[slice]:
        """Consecutive chunks of the instances."""
        return [slice(k, k + self.chunk) for k in range(0, self.count, self.chunk)]


class LinearHead(InstanceHead):
    """logits = x W^T + b with one row of W per instance; all start at zero."""

    def __init__(
        self, count: int, channels: int, chunk: int, generator: torch.Generator, device: str
    ) -> None:
        super().__init__(count, chunk)
        self.weight = torch.zeros(count, channels, device=device)
        self.bias = torch.zeros(count, device=device)
        self.parameters = [self.weight, self.bias]

    def logits(self, x: torch.Tensor, part: slice) -> torch.Tensor:
        return x @ self.weight[part].T + self.bias[part]

    def step(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        normaliser, own, hit = self.softmax(x, target)
        self.weight.grad = torch.empty_like(self.weight)
        self.bias.grad = torch.empty_like(self.bias)
        for part in self.parts():
            share = torch.exp(self.logits(x, part) - normaliser[:, None]) / len(x)
            rows = torch.nonzero((target >= part.start) & (target < part.stop))[:, 0]
            share[rows, target[rows] - part.start] -= 1 / len(x)
            self.weight.grad[part] = share.T @ x
            self.bias.grad[part] = share.sum(0)
        return (normaliser - own).mean(), hit.sum()


class BankHead(InstanceHead):
    """logits = normalise(x P) . v_j / T with a memory bank v, dims (instance, 128)."""

    def __init__(
        self, count: int, channels: int, chunk: int, generator: torch.Generator, device: str
    ) -> None:
        super().__init__(count, chunk)
        start = torch.randn(channels, DIMENSIONS, generator=generator) / channels**0.5
        self.projection = start.to(device).requires_grad_()
        self.parameters = [self.projection]
        bank = torch.randn(count, DIMENSIONS, generator=generator)
        self.bank = torch.nn.functional.normalize(bank, dim=1).to(device)

    def logits(self, x: torch.Tensor, part: slice) -> torch.Tensor:
        return x @ self.bank[part].T / TEMPERATURE

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Unit vectors, dims (row, 128)."""
        return torch.nn.functional.normalize(x @ self.projection, dim=1)

    def step(self, x: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedded = self.embed(x)
        normaliser, own, hit = self.softmax(embedded.detach(), target)
        to_embedded = -self.bank[target]
        for part in self.parts():
            logits = self.logits(embedded.detach(), part)
            to_embedded = to_embedded + torch.exp(logits - normaliser[:, None]) @ self.bank[part]
        self.projection.grad = None
        embedded.backward(to_embedded / TEMPERATURE / len(x))
        return (normaliser - own).mean(), hit.sum()

    @torch.no_grad()
    def after_step(self, x: torch.Tensor, target: torch.Tensor) -> None:
        """Move the bank's entries towards the new embeddings."""
        moved = MOMENTUM * self.bank[target] + (1 - MOMENTUM) * self.embed(x)
        self.bank[target] = torch.nn.functional.normalize(moved, dim=1)
