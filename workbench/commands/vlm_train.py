"""``workbench vlm train``: a projector and a language model on stored vision tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

import feature_store
from analyses.reading.progress import watched
from feature_store import InputError
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.vlm import questions as asked
from workbench.vlm.config import VlmConfig


@dataclass(frozen=True, kw_only=True)
class VlmTrain:
    r"""Train a vision-language model on the stored tokens of a frozen tower.

    LLaVA-1.5 has two stages: --stage projector on captions, then --stage lora (or full) on
    questions, started --from the first run. Repeat the command to resume; the result is
    bit-identical.

    Examples
    --------
    workbench vlm train --store train.zarr --source bundled:efficientnet_lite0@1x+2x \
        --questions captions.csv --stage projector --init ridge --out runs/projector
    workbench vlm train --store train.zarr --source bundled:efficientnet_lite0@1x+2x \
        --questions train.csv --stage lora --from runs/projector --out runs/lora
    """

    store: str
    """Store of the images that the questions are about."""
    source: str
    """MODEL[#TAP]@SCALE[+SCALE...] whose tokens the projector takes."""
    questions: tuple[Path, ...]
    """LLaVA's or easy-VQA's JSON; CSV or TSV with image, question, answer and perhaps choices
    (a|b|c) and type; VQAv2's two JSON files; or V*'s folder."""
    vlm: Annotated[VlmConfig, options_of(VlmConfig)] = field(default_factory=VlmConfig)
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Run to start from: its projector, and its adapters if both runs have them."""
    val_store: str | None = None
    """Store of images that are not trained on, with the same source, for --encoder-runs."""
    val_questions: tuple[Path, ...] = ()
    """Questions about these images, as --questions takes them, for --encoder-runs."""
    encoder_runs: Path | None = None
    """CSV file that a run of --stage projector is added to, with its loss on --val-questions;
    `workbench encoder-law --runs` reads it."""
    limit: int | None = None
    """Use only the first N questions."""
    seed: int = 0
    """Seed of random weights, the order of conversations and, if blind, of the images."""
    checkpoint_every: int = 200
    """Steps between checkpoints; the last step always has one."""
    out: Path
    """Folder of the run."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.vlm.fit import fit

        self._check()
        found = fit(
            feature_store.open(self.store), self.source, asked.read(self.questions, self.limit),
            self.vlm, seed=self.seed, folder=self.out, log=note, start=self.start,
            checkpoint_every=self.checkpoint_every, progress=watched(),
        )  # fmt: skip
        outcome = found.outcome
        record: dict[str, Any] = {
            "run": str(self.out),
            "steps": outcome.step,
            "finished": outcome.finished,
            "questions": found.questions,
            "conversations": found.conversations,
            "parameters": found.parameters,
            "loss": found.loss,
            "seconds": outcome.seconds,
            "tokens_per_s": found.tokens_per_s,
        }
        if outcome.finished and self.encoder_runs is not None:
            record["eval_loss"] = self._export(self.encoder_runs)
        if self.json:
            show(strict_json.dumps(record))
        else:
            show(
                f"{self.out}: step {outcome.step}, loss {found.loss:.3f}, "
                f"{found.tokens_per_s:.0f} tokens/s"
            )
        if not outcome.finished:
            note("workbench vlm train: stopped before the end; repeat the command to resume")
        return 0 if outcome.finished else 1

    def _check(self) -> None:
        given = (self.val_store is not None, bool(self.val_questions))
        if self.encoder_runs is None and any(given):
            raise InputError("--val-store and --val-questions need --encoder-runs; add it")
        if self.encoder_runs is not None and not all(given):
            raise InputError("--encoder-runs needs --val-store and --val-questions")
        if self.encoder_runs is not None and self.vlm.stage != "projector":
            raise InputError(
                f"--encoder-runs is for --stage projector; --stage is {self.vlm.stage}"
            )

    def _export(self, path: Path) -> float:
        """Add the run to the table of the encoder law; returns its held-out loss."""
        from workbench.vlm import encoder_runs

        assert self.val_store is not None
        line = encoder_runs.line(
            self.out, feature_store.open(self.val_store), asked.read(self.val_questions),
            self.vlm.device, note,
        )  # fmt: skip
        encoder_runs.add(line, path)
        return float(line["eval_loss"])
