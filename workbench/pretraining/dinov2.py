"""Self-distillation: DINOv2's losses on S2 tokens.

A student sees two large crops of an image with some patches blanked, and small crops. A teacher,
the moving average of the student, sees the large crops whole. The student's head predicts the
teacher's outputs for other crops of the image (DINO, on the class token) and for blanked patches
(iBOT). KoLeo spreads the features of a batch.

Under S2 every crop is the base image of its own S2 pass, and the heads take its tokens of all
scales side by side. ``docs/pretraining.md`` discusses the alternatives.

Source: Oquab et al. (2023), "DINOv2", and its ``ssl_default_config.yaml``; losses and heads come
from lightly. Deviations: blanked patches have the mean colour instead of a learned token, so that
they are blank at all scales; ``--drop-path`` rises from 0 to its value over the layers, as in timm,
where the published value holds for all of them. One head serves both losses, as in the published
default.
"""

from __future__ import annotations

import math
import random
import warnings
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import torch
from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss
from lightly.loss.swav_loss import sinkhorn
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import random_block_mask, update_momentum
from lightly.utils.scheduler import cosine_schedule, linear_warmup_schedule
from torch import nn

from workbench.models.info import Tokens
from workbench.multiscale import S2
from workbench.pretraining.backbone import Inputs, small_s2
from workbench.pretraining.config import Distillation, PretrainConfig, PretrainRecipe
from workbench.pretraining.evaluation import EvaluationImages, evaluated, low_rank
from workbench.pretraining.images import Views
from workbench.pretraining.multi_crop import MultiCrop, require_crops, small_side
from workbench.pretraining.rates import groups
from workbench.pretraining.supervised import split
from workbench.training import ranks
from workbench.training.batches import Batches
from workbench.training.trained import Trained

RATE, SMALLEST_RATE = 4e-3, 1e-6
"""Learning rates at the peak (for a batch of 1,024) and at the end."""
WARM_UP, TEMPERATURE_WARM_UP, FROZEN = 0.1, 0.3, 0.01
"""Shares of the steps in which the learning rate rises, the teacher's temperature rises, and the
last layer of the head is frozen: 10, 30 and 1 of 100 epochs."""
TEMPERATURES = (0.04, 0.07)
STUDENT_TEMPERATURE = 0.1
DECAY = 0.04
"""Weight decay at the first step."""
SETTLED = 0.01
"""Distance in nats from ln(prototypes) within which a loss counts as settled there."""


class HeadOutput(NamedTuple):
    """Outputs of a head, dims (image, prototype), and its input vectors."""

    scores: torch.Tensor
    vectors: torch.Tensor


class Student(nn.Module):
    """S2 with a head on its class and patch tokens."""

    def __init__(self, s2: S2, asked: Distillation) -> None:
        super().__init__()
        self.s2 = s2
        with (
            warnings.catch_warnings()
        ):  # lightly's head uses a form of weight norm that torch keeps
            warnings.filterwarnings("ignore", message=".*weight_norm", category=FutureWarning)
            self.head = DINOProjectionHead(
                len(s2.scales) * s2.info.channels, hidden_dim=asked.hidden,
                output_dim=asked.prototypes,
            )  # fmt: skip

    def forward(
        self, crops: Sequence[torch.Tensor], mask: torch.Tensor
    ) -> tuple[list[HeadOutput], torch.Tensor]:
        """Scores of each crop, and of the masked patches of the large ones.

        Parameters
        ----------
        crops : float32 tensors, dims (image, 3, row, col)
            Two large crops, then small crops.
        mask : bool tensor, dims (2 image, token row, token col)
            Patches of the large crops.
        """
        large = torch.cat(list(crops[:2]))
        tokens = self.s2(blanked(large, mask, self.s2.info.stride))
        vectors = class_vectors(tokens)
        if len(crops) > 2:
            small = small_s2(self.s2, crops[2].shape[-1])
            vectors = torch.cat([vectors, class_vectors(small(torch.cat(list(crops[2:]))))])
        scores = self.head(torch.cat([vectors, tokens.map[mask]]))
        seen, guessed = scores.split([len(vectors), len(scores) - len(vectors)])
        parts = zip(seen.chunk(len(crops)), vectors.chunk(len(crops)), strict=True)
        return [HeadOutput(*part) for part in parts], guessed


class SelfDistillation(nn.Module):
    """Student, teacher, and the centres of the losses: the content of a checkpoint."""

    def __init__(
        self,
        s2: S2,
        teacher: S2,
        config: PretrainConfig,
        recipe: PretrainRecipe,
        asked: Distillation,
    ) -> None:
        super().__init__()
        require_crops(s2, asked)
        self.config, self.recipe, self.asked = config, recipe, asked
        self.student, self.teacher = Student(s2, asked), Student(teacher, asked)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.inputs = Inputs(s2)
        self.dino, self.ibot = DINOLoss(asked.prototypes), IBOTPatchLoss(asked.prototypes)
        self.koleo = KoLeoLoss()
        self.step = self.steps = 1
        self.recent: deque[float] = deque(maxlen=50)
        """DINO losses of the latest steps."""

    @property
    def kept(self) -> S2:
        """The model to evaluate and save: the teacher."""
        return self.teacher.s2

    def train(self, mode: bool = True) -> SelfDistillation:
        """Set the training mode of the student; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def views(self) -> Views:
        """The augmentation: large and small crops of an image."""
        small = small_side(self.kept.info, self.asked)
        return MultiCrop(self.inputs.side, small, self.asked.local_crops)

    def evaluate(self, images: EvaluationImages, batch: int) -> dict[str, float]:
        """Values of evaluation.csv, for the teacher."""
        return evaluated(self.kept, self.inputs, images, batch, None)

    remedy = "a larger batch, a lower learning rate or --centring sinkhorn"
    """What helps against a collapse."""

    def collapse(self, found: dict[str, float]) -> str:
        """Signs that the features have collapsed; empty if there are none."""
        if signs := low_rank(found["effective_rank"]):
            return signs
        untrained = math.log(self.asked.prototypes)
        far = max((abs(loss - untrained) for loss in self.recent), default=math.inf)
        if far < SETTLED and self.step > 0.2 * self.steps:
            return f"the DINO loss has settled at ln {self.asked.prototypes} = {untrained:.4f}"
        return ""

    def trained(self, batches: Batches, config: PretrainConfig, steps: int) -> Trained:
        """Everything that the training loop needs."""
        from timm.scheduler import CosineLRScheduler

        self.steps = steps
        rate = self.recipe.learning_rate or RATE * math.sqrt(config.batch / 1024)
        optimizer = torch.optim.AdamW(
            list(groups(self.student, rate, self.asked.layer_decay)), lr=rate
        )
        schedule = CosineLRScheduler(
            optimizer, t_initial=steps, warmup_t=max(1, round(WARM_UP * steps)),
            lr_min=min(SMALLEST_RATE, rate), t_in_epochs=False,
        )  # fmt: skip
        run = ranks.parallel(self.student)

        def before(step: int) -> None:
            self.step = step
            schedule.step_update(step)  # from 1: at step 0 the learning rate is 0
            decay = cosine_schedule(step - 1, steps, DECAY, self.asked.weight_decay_end)
            for group in optimizer.param_groups:
                group["weight_decay"] = decay if group["decays"] else 0.0
                if group["last"] and step <= FROZEN * steps:
                    group["lr"] = 0.0

        def after(step: int) -> None:
            momentum = cosine_schedule(step - 1, steps, self.asked.momentum, 1.0)
            update_momentum(self.student, self.teacher, momentum)

        return Trained(
            model=self, optimizer=optimizer, read=batches.read,
            loss=lambda part: self._loss(run, part[0]), before=before, after=after,
            parts=lambda batch: split(*batches.ready(batch), self.recipe.parts),
            images=config.batch,
        )  # fmt: skip

    def _loss(
        self, run: nn.Module, views: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        device = next(self.student.parameters()).device
        large = [self.inputs(view, device)[0] for view in views[:2]]
        small = [self.inputs.plain(view, device) for view in views[2:]]
        mask = patch_mask(2 * len(large[0]), self.kept.info.grid).to(device)
        temperature = linear_warmup_schedule(
            self.step, max(1, round(TEMPERATURE_WARM_UP * self.steps)), *TEMPERATURES
        )
        with torch.no_grad():
            tokens = self.teacher.s2(torch.cat(large))
            taught = list(self.teacher.head(class_vectors(tokens)).chunk(2))
            patches = self.teacher.head(tokens.map[mask])
        seen, guessed = run([*large, *small], mask)
        if self.asked.centring == "sinkhorn":
            dino, ibot = self._balanced(taught, patches, seen, guessed, temperature)
        else:
            dino = self.dino(taught, [one.scores for one in seen], teacher_temp=temperature)
            ibot = self.ibot(patches, guessed, mask, teacher_temp=temperature)
        koleo = sum(self.koleo(one.vectors) for one in seen[:2])
        self.recent.append(float(dino.detach()))
        row = {"dino": dino, "ibot": ibot, "koleo": koleo}
        return dino + ibot + self.asked.koleo * koleo, {
            k: float(v.detach()) for k, v in row.items()
        }

    def _balanced(
        self, taught: list[torch.Tensor], patches: torch.Tensor, seen: list[HeadOutput],
        guessed: torch.Tensor, temperature: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Both losses, with the teacher's outputs of a batch balanced over the prototypes."""
        targets = [balanced(scores, temperature) for scores in taught]
        pairs = [
            entropy(target, one.scores)
            for k, target in enumerate(targets)
            for number, one in enumerate(seen)
            if number != k
        ]
        return torch.stack(pairs).mean(), entropy(balanced(patches, temperature), guessed)


def patch_mask(images: int, grid: tuple[int, int]) -> torch.Tensor:
    """Patches to blank, in half of the images and one at least: bool, dims (image, row, col)."""
    mask = random_block_mask((images, *grid), min_num_masks_per_block=1)
    if not mask.any():  # no block fitted; the means over blanked patches would be 0 / 0
        mask.view(-1)[random.randrange(mask.numel())] = True
    return mask


def class_vectors(tokens: Tokens) -> torch.Tensor:
    """The class token of each image, or its mean token if it has none: (image, channel)."""
    return tokens.prefix[:, 0] if tokens.prefix.shape[1] else tokens.map.mean((1, 2))


def blanked(images: torch.Tensor, mask: torch.Tensor, stride: int) -> torch.Tensor:
    """Normalised images whose masked patches have the mean colour, 0."""
    pixels = mask.repeat_interleave(stride, 1).repeat_interleave(stride, 2)
    return images.masked_fill(pixels[:, None], 0.0)


def balanced(scores: torch.Tensor, temperature: float) -> torch.Tensor:
    """Probabilities of each row, dims as given, whose sums over the batch are equal."""
    return sinkhorn(scores.float() - scores.max(), epsilon=temperature, gather_distributed=True)


def entropy(target: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats of scores at the student's temperature."""
    return -(target * (scores / STUDENT_TEMPERATURE).log_softmax(-1)).sum(-1).mean()
