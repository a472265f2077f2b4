"""Which colours can be read from one stored token? A linear classifier beside multimodal.py.

    python scripts/experiments/object_tokens.py --data DIR [--row Lite0] [--stores runs/multimodal]
    python scripts/experiments/object_tokens.py --summary

The pictures and tokens are those of multimodal.py, of its study of one shape named --study. One
classifier sees the token under the shape's centre, which a language model has to find by itself;
one sees 320 principal directions of it, as many as one scale of Lite0 has channels; and one sees
the mean token, from which a projector's start is solved. All learn the shape's colour, of all sizes
together, from the training pictures. It is a linear reading, not a ceiling: a language model sees
the neighbours of that token as well. Chance is one in six.

One JSON for each row in results/object_tokens/ beside this file; a row that is there is skipped.
Expected: half a minute for a row whose features are stored, see multimodal.py. --summary writes the
tables of docs/vlm_results.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import runner
import small_objects
from multimodal_results import TOKENS, write_summary
from multimodal_stores import stored
from multimodal_studies import ROWS, STUDIES
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analyses.experiments import multimodal as rules
from workbench.vlm.matching import rows_of
from workbench.vlm.vision import open_vision

PENALTIES = 10.0 ** np.arange(0, 6)
DIRECTIONS = 320
UNDER, MEAN = "under the shape", "mean"
FEWER = f"{UNDER}, {DIRECTIONS} directions"
SINGLE = [name for name, study in STUDIES.items() if study.pictures and study.shapes == 1]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The tokens of one row of one study."""

    study: str
    row: str

    @property
    def path(self) -> Path:
        return TOKENS / f"{self.study}-{self.row}.json".replace(" ", "_")


@dataclass(frozen=True)
class Side:
    """Training or test pictures."""

    sizes: np.ndarray
    """(image,) int: of the shape, in pixels."""
    colours: np.ndarray
    """(image,) str."""
    maps: np.ndarray
    """(image, row, col, channel) float32."""
    places: np.ndarray
    """(image, 2) int: row and column of the token under the shape's centre."""


def main() -> None:
    rows = [row for row in ROWS if not ROWS[row].blind]
    parser = runner.parser(__doc__, "write the tables of docs/vlm_results.md")
    parser.add_argument("--data", type=Path, help="folder of the datasets")
    parser.add_argument("--stores", type=Path, default=Path("runs/multimodal"))
    parser.add_argument("--study", choices=SINGLE, default=SINGLE[0])
    parser.add_argument("--row", nargs="+", choices=rows, help="by default those of the study")
    asked = runner.parsed(parser)
    if not asked.summary:
        wanted = asked.row or [row for row in STUDIES[asked.study].rows if row in rows]
        runs = (Run(study=asked.study, row=row) for row in wanted)
        runner.do(runs, lambda run: measured(run, asked.data, asked.stores))
    write_summary()


def measured(run: Run, data: Path, stores: Path) -> dict:
    train, test = (side(run, part, data, stores) for part in ("train", "test"))
    found = {name: read(train, test, name) for name in (UNDER, FEWER, MEAN)}
    return {
        "study": run.study,
        "row": run.row,
        "source": ROWS[run.row].source,
        "train_images": len(train.sizes),
        "channels": train.maps.shape[-1],
        "penalty": {name: penalty for name, (penalty, _) in found.items()},
        "sizes": test.sizes.tolist(),
        "hits": {name: hits for name, (_, hits) in found.items()},
        **runner.provenance("torch", "scikit-learn"),
    }


def read(train: Side, test: Side, name: str) -> tuple[float, list[int]]:
    """Penalty of a classifier of one kind of token, and 1 for each test picture it reads, or 0."""
    steps = [StandardScaler(), RidgeClassifierCV(PENALTIES)]
    if name == FEWER:
        steps.insert(1, PCA(DIRECTIONS, random_state=0))
    classifier = make_pipeline(*steps)
    classifier.fit(features(train, name), train.colours)
    hits = classifier.predict(features(test, name)) == test.colours
    return float(classifier[-1].alpha_), hits.astype(int).tolist()


def features(side: Side, name: str) -> np.ndarray:
    """One token of each picture: float32, dims (image, channel)."""
    if name == MEAN:
        return side.maps.mean((1, 2))
    return side.maps[np.arange(len(side.maps)), *side.places.T]


def side(run: Run, part: str, data: Path, stores: Path) -> Side:
    """The pictures of one part with their tokens."""
    study = STUDIES[run.study]
    store, questions = stored(run.study, run.row, part, data, stores)
    asked = [one for one in questions if one.type.startswith(small_objects.KINDS[0])]
    scenes = small_objects.scenes(part, len(asked), study.sizes, study.shapes)
    vision = open_vision(store, ROWS[run.row].source)
    rows = rows_of(asked, store.image_ids, part)
    maps = [vision(rows[start : start + 32]).numpy() for start in range(0, len(rows), 32)]
    centres = np.array([scene["places"][0][::-1] for scene in scenes])
    return Side(
        sizes=np.array([scene["size"] for scene in scenes]),
        colours=np.array([one.answer for one in asked]),
        maps=np.concatenate(maps),
        places=centres * vision.grid // rules.SIDE,
    )


if __name__ == "__main__":
    runner.run(main)
