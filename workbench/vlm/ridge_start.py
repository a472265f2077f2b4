"""A projector's last layer in closed form: from an image's mean token to the words of its answers.

    minimise  sum over images |W mean(h) + b - sum of the embeddings of the answers' words|^2

h are the inputs of the last layer. Ridge regression solves it from second moments, with a penalty
chosen on held-out images, as for Table 2. A random start leaves a small model at chance for
thousands of examples; this start lies near the embeddings of the right words.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from analyses.linear.from_moments import cross_validate, solve
from analyses.moments.accumulate import Accumulator
from analyses.moments.second_moments import MomentsConfig
from analyses.reading.progress import shown
from feature_store.errors import InputError
from workbench.interrupts import stop_requests
from workbench.training import ranks
from workbench.vlm.batches import Conversations
from workbench.vlm.model import VisionLanguageModel
from workbench.vlm.projector import Projector
from workbench.vlm.vision import Vision

BATCH = 32
_AFTER_BATCH = (
    "stopping after these images; the projector is solved anew when the command is repeated"
)


def solve_projector(
    model: VisionLanguageModel,
    data: Conversations,
    *,
    log: Callable[[str], None],
    progress: bool = False,
) -> float:
    """Solve the projector of a model in place, on the CPU; R^2 on the training images.

    Every process solves it: the others would wait for the first one as long, and would give up
    after :data:`~workbench.training.ranks.PATIENCE`.

    Raises
    ------
    InputError, KeyboardInterrupt
        As :func:`solve_last_layer`.
    """
    words: dict[int, set[int]] = {}
    for image, group in zip(data.images.tolist(), data.groups, strict=True):
        for number in group:
            answer = data.questions[number].answer
            words.setdefault(image, set()).update(data.writer.words(answer))
    embedding = model.causal.get_input_embeddings().weight.detach()
    projector = model.projector.cpu()
    listed = {row: sorted(numbers) for row, numbers in words.items()}
    wanted = progress and ranks.rank() == 0
    r2 = solve_last_layer(projector, data.vision, listed, embedding.cpu(), log=log, progress=wanted)
    projector.to(embedding.device)
    log(f"projector solved from {len(words)} images: R^2 {r2:.2f} of their words' embeddings")
    return r2


@torch.inference_mode()
def solve_last_layer(
    projector: Projector,
    vision: Vision,
    words: Mapping[int, Sequence[int]],
    embedding: torch.Tensor,
    *,
    log: Callable[[str], None],
    progress: bool = False,
) -> float:
    """Solve the last layer in place; R^2 on the training images.

    `words` maps the row of an image to the numbers of the words in its answers, each once;
    `embedding`, float, dims (word, width), holds the word embeddings of the language model.

    Raises
    ------
    InputError
        Fewer than ten images.
    KeyboardInterrupt
        After the current images, on the first Ctrl-C, SIGTERM, SIGHUP or SIGUSR1.
    """
    if len(words) < 10:
        raise InputError(
            f"--init ridge needs at least 10 images, found {len(words)}; give questions about more "
            f"images, or leave --init out"
        )
    features, width = projector.last.in_features, projector.width
    config = MomentsConfig(targets=("words",), precision="float64")
    sums = Accumulator({"image": features, "words": width}, config)
    rows = np.array(sorted(words))
    with (
        stop_requests(log, _AFTER_BATCH, also=[signal.SIGUSR1]) as stopping,
        shown("solve", total=len(rows), unit="image", wanted=progress) as bar,
    ):
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            pooled = projector.features(vision(part).cpu()).mean(1)
            sought = torch.stack(
                [embedding[list(words[row])].float().sum(0) for row in part.tolist()]
            )
            found = {"image": pooled[:, None, None], "words": sought[:, None, None]}
            sums.update({name: value.numpy() for name, value in found.items()}, part)
            bar.update(len(part))
            if ranks.any_of(stopping()):
                raise KeyboardInterrupt
    moments = sums.result()
    ridge = cross_validate(moments, ["image"], ["words"]).best
    solution = solve(moments, ["image"], ["words"], ridge)
    weights = torch.from_numpy(solution.weights.T)
    bias = torch.from_numpy(solution.mean_y) - weights @ torch.from_numpy(solution.mean_x)
    projector.last.weight.copy_(weights)
    projector.last.bias.copy_(bias)
    return float(1 - solution.residual.sum() / solution.variance.sum())
