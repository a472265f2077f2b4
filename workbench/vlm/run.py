"""Open the folder of a run: to start another run from it, to evaluate it, or to ask it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.results.messages import note
from workbench.training import checkpoints, ranks
from workbench.training.features import refuse_other_features
from workbench.training.run_folder import refuse_changed
from workbench.training.status import is_run, read_record
from workbench.vlm.config import VlmConfig
from workbench.vlm.language import Language, load
from workbench.vlm.layout import Writer
from workbench.vlm.model import VisionLanguageModel


@dataclass(frozen=True)
class Run:
    """A run that was trained in a folder."""

    folder: Path
    identity: dict[str, Any]
    """The record in ``run.json``."""

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open a run that has at least one checkpoint.

        Raises
        ------
        InputError
            The folder holds no run of a vision-language model, or no checkpoint.
        """
        identity = recorded(folder)
        if identity is None:
            raise InputError(
                f"{folder} holds no run; train one: workbench vlm train --out {folder}"
            )
        if not checkpoints.existing(folder):
            raise InputError(f"{folder} has no checkpoint yet; repeat its training command")
        return cls(folder, identity)

    @property
    def config(self) -> VlmConfig:
        """The config that the training resolved."""
        known = {field.name for field in fields(VlmConfig)}
        return VlmConfig(**{k: v for k, v in self.identity["vlm"].items() if k in known})

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the vision tokens."""
        rows, cols = self.identity["grid"]
        return rows, cols

    @property
    def unfinished(self) -> str:
        """Progress of a training that has not finished; otherwise empty."""
        done = checkpoints.step(self.checkpoint)
        total = self.identity["training"]["iterations"]
        return "" if done == total else f"step {done} of {total}"

    def note_unfinished(self, log: Callable[[str], None], option: str = "") -> None:
        """Log, where it is so, that the training has not finished; `option` names the run."""
        if self.unfinished:
            log(f"note: {option}{self.folder} is not finished ({self.unfinished})")

    @cached_property
    def checkpoint(self) -> Path:
        """The undamaged checkpoint that was the latest when first asked for; nothing is removed.

        Raises
        ------
        InputError
            Every checkpoint is damaged.
        """
        path = checkpoints.latest(self.folder, ranks.of_first(note))
        if path is None:
            raise InputError(f"every checkpoint of {self.folder} is damaged; train again")
        return path

    def weights(self) -> dict[str, torch.Tensor]:
        """Trained tensors of the :attr:`checkpoint`; each is read from disk when it is used."""
        whole = torch.load(self.checkpoint, map_location="cpu", weights_only=True, mmap=True)
        return whole["model"]

    def refuse_other(self, identity: Mapping[str, Any]) -> None:
        """Refuse to start a run from this one whose source, projector or vision model differs.

        Raises
        ------
        InputError
            The first difference.
        """
        where = f"--from {self.folder}"
        old, new = self.identity["source"], identity["source"]
        widths = self.identity["channels"], identity["channels"]
        if old != new or widths[0] != widths[1]:
            raise InputError(
                f"{where} was trained on {old} ({widths[0]} channels), and this run takes {new} "
                f"({widths[1]} channels); a projector fits the scales of one source in their "
                f"order: use --source {old}, or start from a run on {new}"
            )
        kinds = self.config.projector, identity["vlm"]["projector"]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"{where}: its projector is {kinds[0]}, this run's is {kinds[1]}; use --projector "
                f"{kinds[0]}"
            )
        refuse_other_features(self.identity["vision"], identity["vision"], f"for {where}")

    def refuse_other_language(self, language: Language, where: str) -> None:
        """Refuse (InputError) another language model or tokenizer; `where` begins the message."""
        refuse_changed(where, "language", self.identity["language"], language.identity())

    def model(self, device: str, log: Callable[[str], None]) -> tuple[VisionLanguageModel, Writer]:
        """The trained model, ready to answer, and the writer of its texts.

        Raises
        ------
        InputError
            The language model or its tokenizer has changed since the training; every checkpoint is
            damaged.
        """
        config = replace(self.config, device=device)
        language = load(config.llm, cache_of(self.folder), dtype_of(config), log)
        self.refuse_other_language(language, f"{config.llm} for {self.folder}")
        model = VisionLanguageModel(language, config, self.identity["channels"])
        model.load_state_dict(self.weights())
        writer = Writer(language.tokenizer, model.projector.tokens(self.grid))
        return model.to(device).eval(), writer


def recorded(folder: Path) -> dict[str, Any] | None:
    """Identity of the run in a folder; None if it holds no run.

    Raises
    ------
    InputError
        A run of another kind, or its record is damaged.
    """
    if not is_run(folder):
        return None
    identity = read_record(folder)["identity"]
    if "vlm" not in identity:
        raise InputError(
            f"{folder} holds a run of another kind, not of workbench vlm train; name another folder"
        )
    return identity


def dtype_of(config: VlmConfig) -> torch.dtype:
    """Type of the language model's weights in memory: float32 if they are trained."""
    whole = config.stage == "full" or config.arithmetic == "fp32"
    return torch.float32 if whole else torch.bfloat16


def cache_of(folder: Path) -> Path:
    """Folder of unpacked language models, beside the runs."""
    return folder.parent / ".language_models"
