"""Train a vision-language model on the tokens of one source."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.optim.lr_scheduler import LambdaLR

from workbench.code_hash import parts_sha256
from workbench.results import strict_json
from workbench.training import checkpoints, ranks
from workbench.training.config import TrainingConfig
from workbench.training.files import METRICS
from workbench.training.loop import train
from workbench.training.randomness import seed_step
from workbench.training.run_folder import held, refuse_other_run
from workbench.training.trained import Outcome, Trained
from workbench.vlm import questions as asked
from workbench.vlm.batches import Conversations, split
from workbench.vlm.config import WARM_UP, VlmConfig, check_batch
from workbench.vlm.language import Language, load
from workbench.vlm.layout import VICUNA, Writer, conversations
from workbench.vlm.matching import other_images, rows_of
from workbench.vlm.model import VisionLanguageModel
from workbench.vlm.questions import Question
from workbench.vlm.ridge_start import solve_projector
from workbench.vlm.run import Run, cache_of, dtype_of, recorded
from workbench.vlm.vision import Images, Vision, open_vision

CODE = ("workbench/vlm", "workbench/training")
LIBRARIES = ("transformers", "peft", "tokenizers")
"""Libraries of the language model; a run that resumes with another version logs a note."""
LOG_EVERY = 10
SOLVED = "solved.json"
"""File of a run whose projector was solved: R^2 of the solution."""


@dataclass(frozen=True)
class Fitted:
    """Result of a run."""

    model: VisionLanguageModel
    outcome: Outcome
    conversations: int
    """Number of conversations trained on."""
    questions: int
    """Number of questions trained on."""
    parameters: int
    """Number of parameters trained."""
    loss: float
    """The latest loss logged."""
    tokens_per_s: float
    """Image and text tokens per second over the whole run."""
    r2: float | None
    """R^2 of the closed-form start on the training images."""


def fit(
    images: Images,
    source: str,
    questions: Sequence[Question],
    config: VlmConfig,
    *,
    seed: int,
    folder: Path,
    log: Callable[[str], None],
    start: Path | None = None,
    asked_later: Sequence[Question] = (),
    checkpoint_every: int = 200,
    progress: bool = False,
) -> Fitted:
    """Train to the end, or to the first request to stop. A repeated call resumes exactly.

    The tokens of a step are read from a store, or computed, during the step before it. `folder` is
    of this run alone; `start` is that of a run to start from: its projector, and its adapters if
    both runs have them. `asked_later` are questions for the trained model, one at a time; those
    that are too long are refused before it is trained. Under ``torchrun`` each process trains on
    its share of every step, and the first alone writes and logs.

    Raises
    ------
    InputError
        As :func:`~workbench.vlm.matching.rows_of`, :func:`~workbench.vlm.layout.conversations`,
        :func:`~workbench.vlm.config.check_batch`, :func:`~workbench.training.loop.train`; a start
        that does not fit. What needs no language model is compared before one is loaded.
    KeyboardInterrupt
        Asked to stop while the projector's start is solved.
    """
    log = ranks.of_first(log)
    with ranks.joined(config.device) as device:
        config = replace(config, device=device).resolved()
        check_batch(config, ranks.count())
        vision = open_vision(images, source)
        rows = _rows(vision, questions, log)
        if config.blind:
            rows = other_images(rows, seed)
        identity = _identity(vision, questions, config, seed)
        before = None if start is None else Run.open(start)
        if before is not None:
            before.refuse_other(identity)
            identity["start"] = before.checkpoint.name
        recorded(folder)  # refuses a run of another kind
        refuse_other_run(folder, identity)
        with ranks.first_alone():  # it may unpack the language model, or download it
            language = load(config.llm, cache_of(folder), dtype_of(config), log)
        if before is not None:
            before.refuse_other_language(language, f"--from {start}")
        seed_step(0, seed)
        model = VisionLanguageModel(language, config, vision.channels).to(config.device)
        if before is not None:
            model.load_part(before.weights())
        writer = _writer(language, model.projector.tokens(vision.grid), log)
        groups = conversations(questions, writer, length=config.length, turns=config.turns)
        conversations(asked_later, writer, length=config.length, turns=1)
        asked_about = rows[[group[0] for group in groups]]
        data = Conversations(vision, writer, questions, groups, asked_about)
        assert config.batch is not None
        steps = max(1, math.ceil(config.epochs * len(groups) / config.batch))
        training = TrainingConfig(
            iterations=steps, checkpoint_every=checkpoint_every, log_every=LOG_EVERY, clip=1.0
        )
        identity |= {"language": language.identity(), "template": asdict(writer.template)}
        with held(folder):
            solving = config.init == "ridge" and before is None
            if solving and checkpoints.latest(folder, log) is None:
                refuse_other_run(folder, {**identity, "training": asdict(training)})
                solved = {"r2": solve_projector(model, data, log=log, progress=progress)}
                if ranks.rank() == 0:
                    strict_json.write(solved, folder / SOLVED)
            outcome = train(
                _trained(model, data, config, steps, seed), folder, training,
                identity=identity, seed=seed, log=log, progress=progress,
                libraries={name: version(name) for name in LIBRARIES},
            )  # fmt: skip
    count = sum(p.numel() for _, p in model.trained())
    loss, tokens = _logged(folder / METRICS)
    speed = tokens * outcome.step / max(outcome.seconds, 1e-9)
    path = folder / SOLVED
    r2 = strict_json.read(path)["r2"] if path.exists() else None
    return Fitted(model, outcome, len(groups), len(questions), count, loss, speed, r2)


def _rows(vision: Vision, questions: Sequence[Question], log: Callable[[str], None]) -> np.ndarray:
    """Row of each question's image: int64, dims (question,)."""
    images = vision.images
    rows = rows_of(questions, images.image_ids, images.path)
    vision.refuse_unreadable(rows)
    if vision.cropped:
        log(
            f"note: the images of {images.path} are cropped at the centre, which may cut off what "
            f"is asked about; --fit pad, here with a dataset or of workbench extract, keeps whole "
            f"images, as LLaVA does"
        )
    return rows


def _logged(path: Path) -> tuple[float, float]:
    """The latest loss, and the mean number of tokens in a step; NaN if nothing is logged."""
    if not path.stat().st_size:
        return math.nan, math.nan
    table = pd.read_csv(path)
    return float(table["loss"].iloc[-1]), float(table["tokens"].mean())


def _writer(language: Language, image_tokens: int, log: Callable[[str], None]) -> Writer:
    """The writer of the language model's conversations; logs a chat template that is not used."""
    writer = Writer(language.tokenizer, image_tokens)
    if writer.template is VICUNA and language.tokenizer.chat_template:
        log(
            f"note: conversations are written as LLaVA-1.5's ({VICUNA.name}); the language model's "
            f"own chat template is not used"
        )
    return writer


def _trained(
    model: VisionLanguageModel, data: Conversations, config: VlmConfig, steps: int, seed: int
) -> Trained:
    """AdamW without weight decay; warm-up, then a cosine to 0."""
    projector = [p for n, p in model.trained() if n.startswith("projector.")]
    others = [p for n, p in model.trained() if not n.startswith("projector.")]
    rate = config.projector_rate if others else config.learning_rate
    groups = [{"params": projector, "lr": rate}]
    if others:
        groups.append({"params": others, "lr": config.learning_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
    warm_up = max(1, math.ceil(WARM_UP * steps))

    def factor(done: int) -> float:
        rest = max(done - warm_up, 0) / max(steps - warm_up, 1)
        return min((done + 1) / warm_up, 1) * 0.5 * (1 + math.cos(math.pi * min(rest, 1)))

    assert config.batch is not None
    size = config.batch
    run = ranks.parallel(model)

    def parts(batch: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        return split(batch, config.together or size)

    def loss(part: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        there = {name: value.to(config.device) for name, value in part.items()}
        return run(there), {"tokens": float(part["tokens_of_step"])}

    return Trained(
        model=model,
        optimizer=optimizer,
        read=lambda step: data.batch(step, size, seed),
        parts=parts,
        loss=loss,
        schedule=LambdaLR(optimizer, factor),
    )


def _identity(
    vision: Vision, questions: Sequence[Question], config: VlmConfig, seed: int
) -> dict[str, Any]:
    """What decides the weights, as far as no language model and no run to start from is needed."""
    options = asdict(config)
    options.pop("device")
    return {
        "vlm": options,
        "source": vision.source,
        "channels": vision.channels,
        "grid": vision.grid,
        "vision": vision.manifests(),
        "questions": {"count": len(questions), "sha256": asked.sha256(questions)},
        **vision.identity(),
        "start": None,
        "seed": seed,
        "code": parts_sha256(CODE),
    }
