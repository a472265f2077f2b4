"""Rows, studies and runs of multimodal.py."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from analyses.experiments import multimodal as rules
from workbench.cost import cost

RESULTS = Path(__file__).parent / "results" / "multimodal"
LITE = "bundled:efficientnet_lite{}@{}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one model sees, and how its projector starts."""

    source: str
    init: Literal["random", "ridge"] = "ridge"
    blind: bool = False

    @property
    def gmacs(self) -> float:
        """Multiply-accumulates of the encoder for one image, in units of 1e9."""
        model, _, scales = self.source.partition("@")
        return float(cost(model, scales.split("+")).gmacs)


ROWS = {
    "Lite0": Row(source=LITE.format(0, "224")),
    "Lite0-S2": Row(source=LITE.format(0, "224+448")),
    "Lite0-S2 raw": Row(source=LITE.format(0, "224+448.raw")),
    "Lite0-S2 3 scales": Row(source=LITE.format(0, "224+448+672")),
    "Lite0-S2 3 scales raw": Row(source=LITE.format(0, "224+448.raw+672.raw")),
    "Lite1": Row(source=LITE.format(1, "224.unpooled")),
    "Lite2": Row(source=LITE.format(2, "224.unpooled")),
    "Lite2 native size": Row(source=LITE.format(2, "260")),
    "Lite0, random start": Row(source=LITE.format(0, "224"), init="random"),
    rules.BLIND: Row(source=LITE.format(0, "224"), blind=True),
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """Questions, and how a run trains on them once and is scored."""

    rows: tuple[str, ...]
    score: str
    batch: int = 8
    """Conversations per step; few photographs need small batches for enough steps."""
    questions: dict[str, int] | None = None
    """Numbers of questions; by default all."""
    pictures: dict[str, int] | None = None
    """Numbers of rendered pictures; they have captions, which come first."""
    shapes: int = 2
    """In each rendered picture."""
    sizes: tuple[int, ...] = (64, 32, 64, 16, 64, 32, 64, 8)
    """Of the shapes in training pictures, in turn; test pictures have each size equally often."""
    after: str | None = None
    """Study whose model this one trains further, instead of one that captions have prepared."""
    stage: Literal["projector", "lora"] = "lora"
    seeds: tuple[int, ...] = (0,)


OBJECTS = Study(
    rows=("Lite0", "Lite2", "Lite0-S2", "Lite0-S2 3 scales", rules.FINEST, rules.BLIND),
    score="exact", batch=4,
    pictures={"train": 1600, "test": 480}, seeds=(0, 1, 2),
)  # fmt: skip
EASY_VQA = "easy-vqa"
STUDIES = {
    "daquar": Study(
        rows=("Lite0", "Lite0-S2", "Lite2", rules.BLIND), score="exact", batch=2,
    ),
    EASY_VQA: Study(
        rows=("Lite0", "Lite0-S2", rules.BLIND, "Lite0, random start"), score="likelihood", batch=2,
        questions={"train": 4000, "test": 600},
    ),
    "objects-large": replace(
        OBJECTS, rows=(*OBJECTS.rows, "Lite0-S2 raw", "Lite1", "Lite2 native size"), shapes=1,
        sizes=(512, 256, 512, 128, 512, 256, 512, 64),
    ),
    "objects-one-shape": replace(
        OBJECTS, rows=(*OBJECTS.rows, "Lite0-S2 raw"), shapes=1,
        pictures={"train": 2240, "test": 480}, after="objects-large",
    ),
    "objects-lora": replace(OBJECTS, after="objects-one-shape"),
    "objects-projector": replace(OBJECTS, stage="projector"),
}  # fmt: skip
ASKED = ("daquar", EASY_VQA, "objects")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of one study."""

    study: str
    row: str
    seed: int

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.study}-{self.row}-seed{self.seed}.json".replace(" ", "_")

    def folder(self, stores: Path) -> Path:
        """Where its model is trained."""
        return stores / "runs" / self.path.stem
