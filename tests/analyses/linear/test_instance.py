"""Instance heads: the chunked softmax and its gradients equal torch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from analyses.linear.instance import TEMPERATURE, BankHead, LinearHead, chunked_softmax

RNG = np.random.default_rng(0)


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("chunk", [3, 7, 100])
def test_chunked_softmax_equals_torch(chunk):
    logits = torch.randn(5, 20, generator=generator(), dtype=torch.float64)
    target = torch.tensor([0, 7, 19, 3, int(logits[4].argmax())])
    normaliser, own, hit = chunked_softmax(lambda part: logits[:, part], 20, chunk, target)
    torch.testing.assert_close(normaliser, logits.logsumexp(1))
    torch.testing.assert_close(own, logits[torch.arange(5), target])
    assert hit.tolist() == (logits.argmax(1) == target).tolist()


@pytest.mark.parametrize("chunk", [4, 50])
def test_linear_gradient_equals_autograd(chunk):
    x, target = torch.randn(6, 3, generator=generator()), torch.tensor([0, 1, 9, 9, 4, 2])
    head = LinearHead(10, 3, chunk, generator(), "cpu")
    head.weight += torch.randn(10, 3, generator=generator())
    loss, _ = head.step(x, target)
    weight, bias = (p.clone().requires_grad_() for p in (head.weight, head.bias))
    oracle = torch.nn.functional.cross_entropy(x @ weight.T + bias, target)
    oracle.backward()
    torch.testing.assert_close(loss, oracle.detach())
    torch.testing.assert_close(head.weight.grad, weight.grad)
    torch.testing.assert_close(head.bias.grad, bias.grad)


@pytest.mark.parametrize("chunk", [4, 50])
def test_bank_gradient_equals_autograd(chunk):
    x, target = torch.randn(6, 5, generator=generator()), torch.tensor([0, 1, 9, 8, 4, 2])
    head = BankHead(10, 5, chunk, generator(), "cpu")
    loss, _ = head.step(x, target)
    projection = head.projection.detach().clone().requires_grad_()
    embedded = torch.nn.functional.normalize(x @ projection, dim=1)
    oracle = torch.nn.functional.cross_entropy(embedded @ head.bank.T / TEMPERATURE, target)
    oracle.backward()
    torch.testing.assert_close(loss, oracle.detach())
    torch.testing.assert_close(head.projection.grad, projection.grad)
