"""``workbench vlm train``: a projector and a language model on vision tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from feature_store import InputError
from feature_store.dataset_name import is_dataset_name
from feature_store.errors import require_at_least
from workbench.extraction.request import Fit
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.files import require_folder
from workbench.results.messages import note, show
from workbench.vlm.config import VlmConfig
from workbench.vlm.question import Question
from workbench.vlm.questions import QuestionOptions, read

if TYPE_CHECKING:  # they import torch
    from workbench.extraction.streaming import Running
    from workbench.vlm.vision import Images


@dataclass(frozen=True, kw_only=True)
class VlmTrain:
    r"""Train a vision-language model on the tokens of a frozen encoder, stored or computed.

    LLaVA-1.5 has two stages: --stage projector on captions, then --stage lora (or full) on
    questions, started --from the first run. Repeat the command to resume; the result is
    bit-identical, on one CPU.

    Examples
    --------
    workbench vlm train --store train.zarr --source bundled:efficientnet_lite0@1x+2x \
        --questions captions.csv --stage projector --init ridge --out runs/projector
    workbench vlm train --store train.zarr --source bundled:efficientnet_lite0@1x+2x \
        --questions train.csv --stage lora --from runs/projector --out runs/lora
    """

    store: str
    """Store of the images that the questions are about; or a dataset, such as csv:images.csv,
    whose tokens are computed in every step, in --arithmetic and on --device."""
    fit: Fit | None = None
    """For a dataset: pad, whole images padded to a square, as LLaVA does (the default), or model,
    as the model was evaluated. A store's images were fitted by `workbench extract`."""
    source: str
    """MODEL[#TAP]@SCALE[+SCALE...] whose tokens the projector takes."""
    asked: Annotated[QuestionOptions, tyro.conf.arg(name="")]
    vlm: Annotated[VlmConfig, options_of(VlmConfig)] = field(default_factory=VlmConfig)
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Run to start from: its projector, and its adapters if both runs have them."""
    val_store: str | None = None
    """Store or dataset of images that are not trained on, for --encoder-runs; a dataset's tokens
    are computed as those of --store were."""
    val_questions: tuple[Path, ...] = ()
    """Questions about these images, as --questions takes them, for --encoder-runs."""
    encoder_runs: Path | None = None
    """CSV file that a run of --stage projector is added to, with its loss on --val-questions;
    `workbench encoder-law --runs` reads it."""
    seed: int = 0
    """Seed of random weights, the order of conversations and, if blind, of the images."""
    checkpoint_every: int = 200
    """Steps between checkpoints; the last step always has one."""
    out: Path
    """Folder of the run."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.training import ranks
        from workbench.vlm.fit import fit
        from workbench.vlm.vision import open_images

        log = ranks.of_first(note)
        self._check()
        self._check_start(log)
        questions = self.asked.read()
        images = open_images(self.store, self._running(log))
        held_out = self._held_out(images, log)
        found = fit(
            images, self.source, questions, self.vlm, seed=self.seed, folder=self.out, log=log,
            start=self.start, asked_later=held_out[1] if held_out else (),
            checkpoint_every=self.checkpoint_every, progress=True,
        )  # fmt: skip
        outcome = found.outcome
        if ranks.rank() > 0:
            return 0  # the first process tells how the training ended
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
        if outcome.finished and held_out is not None:
            record["eval_loss"] = self._export(*held_out)
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

    def _running(self, log: Callable[[str], None]) -> Running:
        """How the encoder computes the tokens of a dataset: as the language model runs."""
        from workbench.extraction.request import StreamConfig
        from workbench.extraction.streaming import Running
        from workbench.training.ranks import own_device

        arithmetic = self.vlm.resolved().arithmetic
        assert arithmetic is not None
        device = own_device(self.vlm.device)
        fit = self.fit or "pad"
        return Running(StreamConfig(device=device, arithmetic=arithmetic, fit=fit), log)

    def _check(self) -> None:
        require_at_least(self, seed=0)
        require_folder(self.out, "--out")
        if self.fit is not None and not is_dataset_name(self.store):
            raise InputError(
                f"--fit is {self.fit}, but the images of {self.store} were fitted when it was "
                f"made; leave it out, or extract with --fit {self.fit}"
            )
        given = (self.val_store is not None, bool(self.val_questions))
        if self.encoder_runs is None and any(given):
            raise InputError("--val-store and --val-questions need --encoder-runs; add it")
        if self.encoder_runs is not None and not all(given):
            raise InputError("--encoder-runs needs --val-store and --val-questions")

    def _check_start(self, log: Callable[[str], None]) -> None:
        """Refuse a run to start from that the other options contradict."""
        from workbench.vlm.run import Run

        if self.start is None:
            return
        if self.vlm.init == "ridge":
            raise InputError(
                f"--init ridge solves the projector anew, and --from {self.start} takes that of a "
                f"run; leave one of them out"
            )
        before = Run.open(self.start)
        if before.config.blind and not self.vlm.blind:
            raise InputError(
                f"--from {self.start} is a --blind run, whose projector never saw the images of "
                f"its questions; start from another run, or add --blind"
            )
        before.note_unfinished(log, "--from ")

    def _held_out(
        self, train: Images, log: Callable[[str], None]
    ) -> tuple[Images, list[Question]] | None:
        """Images and questions of --encoder-runs, checked before the training."""
        from workbench.training.ranks import own_device
        from workbench.vlm import encoder_runs
        from workbench.vlm.vision import decoding_as, open_images, open_vision, running_as

        if self.encoder_runs is None:
            return None
        encoder_runs.require_fit(self.vlm, "--encoder-runs")
        assert self.val_store is not None
        made = open_vision(train, self.source).manifests()
        running = running_as(made, log, own_device(self.vlm.device))
        images = open_images(self.val_store, running, decoding_as(made))
        questions = read(self.val_questions)
        encoder_runs.check(self.encoder_runs, train, self.source, images, questions)
        return images, questions

    def _export(self, images: Images, questions: list[Question]) -> float:
        """Add the run to the table of the encoder law; returns its held-out loss."""
        from workbench.vlm import encoder_runs

        assert self.encoder_runs is not None
        line = encoder_runs.line(self.out, images, questions, self.vlm.device, note)
        encoder_runs.add(line, self.encoder_runs)
        return float(line["eval_loss"])
