"""Open the folder of a run: to start another run from it, to evaluate it, or to ask it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.training import checkpoints
from workbench.training.features import refuse_other_features
from workbench.training.files import IDENTITY
from workbench.training.run_folder import refuse_changed
from workbench.vlm.config import VlmConfig
from workbench.vlm.language import load
from workbench.vlm.layout import Writer
from workbench.vlm.model import VisionLanguageModel
from workbench.vlm.projector import Projector


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
        path = folder / IDENTITY
        if not path.is_file():
            raise InputError(
                f"{folder} holds no run; train one: workbench vlm train --out {folder}"
            )
        identity = strict_json.read(path).get("identity", {})
        if "vlm" not in identity:
            raise InputError(f"{folder} holds a run of another kind, not of workbench vlm train")
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
        done = int(checkpoints.existing(self.folder)[0].name[len("step_") :][:10])
        total = self.identity["training"]["iterations"]
        return "" if done == total else f"step {done} of {total}"

    def note_unfinished(self, log: Callable[[str], None], option: str = "") -> None:
        """Log, where it is so, that the training has not finished; `option` names the run."""
        if self.unfinished:
            log(f"note: {option}{self.folder} is not finished ({self.unfinished})")

    def state(self, log: Callable[[str], None]) -> dict[str, torch.Tensor]:
        """Trained tensors of the latest checkpoint."""
        found = checkpoints.load(self.folder, log)
        if found is None:
            raise InputError(f"every checkpoint of {self.folder} is damaged; train again")
        return found["model"]

    def weights_sha256(self) -> str:
        """The checksum in the latest checkpoint's name."""
        return checkpoints.existing(self.folder)[0].name

    def model(self, device: str, log: Callable[[str], None]) -> tuple[VisionLanguageModel, Writer]:
        """The trained model, ready to answer, and the writer of its texts.

        Raises
        ------
        InputError
            The language model or its tokenizer has changed since the training.
        """
        config = replace(self.config, device=device)
        language = load(config.llm, cache_of(self.folder), dtype_of(config), log)
        now = {"weights": language.weights, "tokenizer": language.words()}
        where = f"{config.llm} for {self.folder}"
        refuse_changed(where, "language", self.identity["language"], now)
        model = VisionLanguageModel(language, config, self.identity["channels"])
        model.load_state_dict(self.state(log))
        writer = Writer(language.tokenizer, model.projector.tokens(self.grid))
        return model.to(device).eval(), writer


def dtype_of(config: VlmConfig) -> torch.dtype:
    """Type of the language model's weights in memory: float32 if they are trained."""
    whole = config.stage == "full" or config.arithmetic == "fp32"
    return torch.float32 if whole else torch.bfloat16


def cache_of(folder: Path) -> Path:
    """Folder of unpacked language models, beside the runs."""
    return folder.parent / ".language_models"


def refuse_other(before: Run, identity: Mapping[str, Any], projector: Projector) -> None:
    """Refuse to start from a run with another source, language model, projector or vision model.

    Raises
    ------
    InputError
        The first difference.
    """
    where = f"--from {before.folder}"
    old, new = before.identity["source"], identity["source"]
    widths = before.identity["channels"], projector.channels
    if old != new or widths[0] != widths[1]:
        raise InputError(
            f"{where} was trained on {old} ({widths[0]} channels), and this run takes {new} "
            f"({widths[1]} channels); a projector fits the scales of one source in their order: "
            f"use --source {old}, or start from a run on {new}"
        )
    refuse_changed(where, "language", before.identity["language"], identity["language"])
    kinds = before.config.projector, projector.kind
    if kinds[0] != kinds[1]:
        raise InputError(
            f"{where}: its projector is {kinds[0]}, this run's is {kinds[1]}; use --projector "
            f"{kinds[0]}"
        )
    refuse_other_features(before.identity["vision"], identity["vision"], f"for {where}")
