"""The policy: from observations and actions of the last steps to actions of the next steps.

    loss = mean |predicted - demonstrated| over the known actions of each look, standardised

Source: appendix A of the S2 paper (a transformer over visual features, proprioception and actions
of the last 16 steps predicts the next 16 actions); the MLP follows Xiao et al. (2022), "Masked
Visual Pre-training for Motor Control" (MVP). The S2 paper does not publish sizes and loss; the
absolute error follows Zhao et al. (2023), who predict chunks of actions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from feature_store.errors import InputError
from workbench.robot.config import PolicyConfig
from workbench.robot.eyes import Eyes
from workbench.robot.windows import WindowBatch, looks

HEADS = 4
MVP_WIDTH, MVP_LAYERS = 128, (256, 128, 64)
"""Channels of each input, and of the layers after them, in MVP's cloned policy."""


@dataclass(frozen=True)
class Scales:
    """Mean and spread of training frames: float64 arrays, dims (value,) each."""

    state: tuple[np.ndarray, np.ndarray]
    action: tuple[np.ndarray, np.ndarray]


class Standardised(nn.Module):
    """Standardises values by mean and spread; constant values become 0."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, mean: np.ndarray, spread: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        kept = np.where(spread > 0, spread, 1.0)
        self.register_buffer("spread", torch.as_tensor(kept, dtype=torch.float32))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Standardised values, along the last axis."""
        return (values - self.mean) / self.spread

    def inverse(self, values: torch.Tensor) -> torch.Tensor:
        """Values in their own units."""
        return values * self.spread + self.mean


class Policy(nn.Module):
    """Predicts actions from windows.

    Parameters
    ----------
    eyes : Eyes or None
        None for a blind policy.
    scales : Scales
        Mean and spread of the training episodes.
    """

    def __init__(self, config: PolicyConfig, eyes: Eyes | None, scales: Scales) -> None:
        super().__init__()
        self.config, self.eyes = config, eyes
        self.state, self.action = Standardised(*scales.state), Standardised(*scales.action)
        sizes = len(scales.state[0]), len(scales.action[0])
        kind = _Transformer if config.policy == "transformer" else _Mlp
        self.body = kind(config, *sizes, sighted=eyes is not None)
        self.places = looks(config).tolist()

    def forward(self, batch: WindowBatch) -> torch.Tensor:
        """Standardised actions, dims (window, look, horizon, value)."""
        visual = None
        if self.eyes is not None:
            if batch.visual is None:
                raise InputError("the batch has no visual features, which this policy needs")
            visual = self.eyes(batch.visual)
        state, past = self.state(batch.state), self.action(batch.past)
        found = self.body(visual, state, past, batch, self.places)
        return found.unflatten(-1, (self.config.horizon, -1))

    def loss(self, batch: WindowBatch) -> torch.Tensor:
        """Mean absolute error over known actions, in units of their spread in training."""
        assert batch.future is not None
        assert batch.future_known is not None
        error = (self(batch) - self.action(batch.future)).abs().mean(-1)
        return (error * batch.future_known).sum() / batch.future_known.sum().clamp(min=1)

    @torch.inference_mode()
    def act(self, batch: WindowBatch) -> torch.Tensor:
        """Actions from the last step on, in original units: dims (window, horizon, value)."""
        return self.action.inverse(self(batch)[:, -1])


class _Transformer(nn.Module):
    """A transformer with a token for each look, state and past action; attention is causal."""

    def __init__(self, config: PolicyConfig, state: int, action: int, *, sighted: bool) -> None:
        super().__init__()
        width = config.width
        self.sighted, self.past_actions = sighted, config.past_actions
        self.state, self.past = nn.Linear(state, width), nn.Linear(action, width)
        self.when = nn.Parameter(torch.randn(config.context, width) * 0.02)
        self.what = nn.Parameter(torch.randn(3, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, HEADS, 4 * width, config.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, config.layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.out = nn.Linear(width, config.horizon * action)

    def forward(
        self,
        visual: torch.Tensor | None,
        state: torch.Tensor,
        past: torch.Tensor,
        batch: WindowBatch,
        places: list[int],
    ) -> torch.Tensor:
        """Dims (window, look, horizon x value)."""
        steps = torch.arange(state.shape[1], device=state.device)
        tokens, when, known = [self.state(state) + self.what[0]], [steps], [batch.known]
        if self.past_actions:
            tokens.append(self.past(past) + self.what[1])
            when.append(steps)
            known.append(batch.past_known)
        if visual is not None:
            tokens.append(visual + self.what[2])
            when.append(steps[places])
            known.append(batch.known[:, places])
        at = torch.cat(when)
        whole = torch.cat(tokens, 1) + self.when[at]
        hidden = self.layers(whole, mask=_hidden_from(at, torch.cat(known, 1)))
        return self.out(hidden[:, places])


def _hidden_from(at: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Attention mask: hides later and unknown steps from each token, but never the token itself.

    Steps of tokens, dims (token,), and known, dims (window, token), to bool, dims (window x head,
    token, token).
    """
    later = at[None, :] > at[:, None]
    itself = torch.eye(len(at), dtype=torch.bool, device=at.device)
    hidden = (later | ~known[:, None, :]) & ~itself
    return hidden.repeat_interleave(HEADS, 0)


class _Mlp(nn.Module):
    """MVP's policy: features and state of the present step through three layers."""

    def __init__(self, config: PolicyConfig, state: int, action: int, *, sighted: bool) -> None:
        super().__init__()
        self.state = nn.Linear(state, MVP_WIDTH)
        self.visual = nn.Linear(config.width, MVP_WIDTH) if sighted else None
        sizes = [MVP_WIDTH * (2 if sighted else 1), *MVP_LAYERS]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.SELU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], config.horizon * action))

    def forward(
        self,
        visual: torch.Tensor | None,
        state: torch.Tensor,
        past: torch.Tensor,
        batch: WindowBatch,
        places: list[int],
    ) -> torch.Tensor:
        """Dims (window, look, horizon x value)."""
        parts = [self.state(state[:, places])]
        if self.visual is not None:
            parts.append(self.visual(visual))
        return self.layers(torch.cat(parts, -1))
