"""A vision-language model: projected image tokens among the embeddings of a language model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from feature_store.errors import InputError
from workbench.vlm.config import VlmConfig
from workbench.vlm.language import Language
from workbench.vlm.layout import IGNORED, IMAGE
from workbench.vlm.projector import Projector

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
"""Layers with adapters in the small recipe; LLaVA-1.5 adapts every linear layer."""


class VisionLanguageModel(nn.Module):
    """Trains its projector and, by stage, adapters or all weights of the language model.

    Its ``state_dict`` holds the trained tensors alone.

    `language` is changed in place, `config` is resolved, and a vision token has `channels`.
    """

    def __init__(self, language: Language, config: VlmConfig, channels: int) -> None:
        super().__init__()
        model = language.model.requires_grad_(config.stage == "full")
        if config.stage == "lora":
            model = _with_adapters(model, config)
        self.language = model
        self.projector = Projector(str(config.projector), channels, language.width)
        self._bf16 = config.arithmetic == "bf16"

    def embeddings(self, tokens: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings of texts with image tokens in their places: dims (text, token, width).

        `tokens`, float32, dims (text, row, col, channel), are those of each text's image; `ids`,
        int64, dims (text, token), are :data:`~workbench.vlm.layout.IMAGE` at their places.
        """
        image = ids == IMAGE
        words = self.language.get_input_embeddings()(ids.masked_fill(image, 0))
        projected = self.projector(tokens).to(words.dtype)
        return words.masked_scatter(image[..., None], projected)

    def losses(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Loss of each labelled place in nats, 0 elsewhere: float32, dims (text, token - 1).

        Words are scored at these places only, which saves a fifth of a small model's work. `batch`
        is the result of :func:`~workbench.vlm.layout.padded`, with ``tokens`` as for
        :meth:`embeddings`.
        """
        following = batch["labels"][:, 1:]
        asked = following != IGNORED
        model = self.causal
        with self.casting(following.device.type):
            embedded = self.embeddings(batch["tokens"], batch["ids"])
            mask = batch["mask"].long()
            states = model.base_model(inputs_embeds=embedded, attention_mask=mask)[0]
            scores = model.get_output_embeddings()(states[:, :-1][asked])
        found = torch.zeros(asked.shape, device=scores.device)
        each = cross_entropy(scores.float(), following[asked], reduction="none")
        return found.masked_scatter(asked, each)

    @property
    def causal(self) -> Any:
        """The language model itself; adapters, if any, are in its layers."""
        own = getattr(self.language, "get_base_model", None)
        return self.language if own is None else own()

    def casting(self, device: str) -> Any:
        """A context in which products are taken in the config's arithmetic."""
        return torch.autocast(device, torch.bfloat16, enabled=self._bf16)

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss over the labelled places; with ``share``, the sum divided by it."""
        count = (batch["labels"][:, 1:] != IGNORED).sum()
        return self.losses(batch).sum() / batch.get("share", count)

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and values of the trained parameters."""
        return ((n, p) for n, p in self.named_parameters() if p.requires_grad)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The trained tensors by name."""
        names = {name for name, _ in self.trained()}
        whole = super().state_dict(*args, **kwargs)
        return {name: value for name, value in whole.items() if name in names}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Inverse of :meth:`state_dict`; every trained tensor must be present."""
        if missing := {name for name, _ in self.trained()} - set(state_dict):
            raise KeyError(f"the state lacks {sorted(missing)[0]}")
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def load_part(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load the trained tensors of another run, such as its projector; all must fit.

        Raises
        ------
        InputError
            The other run trained tensors that this stage does not train, or of other shapes.
        """
        own = {name: value.shape for name, value in self.trained()}
        if lost := [name for name, value in state.items() if own.get(name) != value.shape]:
            raise InputError(
                f"the run to start from trained {len(lost)} tensors that this stage does not train "
                f"in that shape, such as {lost[0]}; start from a run of --stage projector, or of "
                f"this stage with the same recipe"
            )
        super().load_state_dict(dict(state), strict=False)


def _with_adapters(model: Any, config: VlmConfig) -> Any:
    from peft import LoraConfig, get_peft_model

    small = config.recipe == "small"
    assert config.rank is not None
    adapters = LoraConfig(
        r=config.rank, lora_alpha=2 * config.rank, lora_dropout=0.0 if small else 0.05,
        target_modules=ATTENTION if small else "all-linear", task_type="CAUSAL_LM",
    )  # fmt: skip
    with warnings.catch_warnings():  # peft asks transformers by a name that is being replaced
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(model, adapters)
