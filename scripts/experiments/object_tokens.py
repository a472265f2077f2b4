"""What could a language model read about a single shape? A linear classifier of stored tokens.

    python scripts/experiments/object_tokens.py --data DIR [--row Lite0] [--stores runs/multimodal]
    python scripts/experiments/object_tokens.py --summary

The same pictures and tokens as in multimodal.py, in its study of one shape named --study. A
classifier is told which token lies under the shape's centre, which a language model has to find
out; another one sees the mean token, from which a projector's start is solved. Both learn the
shape's colour, and in which half of the picture it is, from the training pictures. A model that
answers better than the first has found more than its tokens tell linearly; where the first is no
better than chance, the tower has lost the shape.

One JSON for each row in results/object_tokens/ beside this file; a row that is there is skipped.
Expected: half a minute for a row whose features are stored, see multimodal.py. --summary writes the
table of docs/vlm.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import runner
import small_objects
from multimodal_results import TOKENS, write_summary
from multimodal_stores import stored
from multimodal_studies import ROWS, STUDIES
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analyses.experiments import multimodal as rules
from workbench.vlm.matching import rows_of
from workbench.vlm.vision import open_vision

PENALTIES = 10.0 ** np.arange(0, 6)
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

    size: np.ndarray
    """(image,) int: of the shape, in pixels."""
    answers: dict[str, np.ndarray]
    """Kind of question to its answers, str, dims (image,)."""
    tokens: dict[str, np.ndarray]
    """Name of a token to its features, float32, dims (image, channel)."""


def main() -> None:
    parser = runner.parser(__doc__, "write the tables of docs/vlm.md and print what is there")
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--stores", type=Path, default=Path("runs/multimodal"))
    parser.add_argument("--study", choices=SINGLE, default=SINGLE[0])
    parser.add_argument("--row", nargs="+", choices=ROWS, default=list(STUDIES[SINGLE[0]].rows))
    asked = runner.parsed(parser)
    if not asked.summary:
        runs = (Run(study=asked.study, row=row) for row in asked.row if not ROWS[row].blind)
        runner.do(runs, lambda run: measured(run, asked.data, asked.stores))
    write_summary()
    if asked.summary:
        print(json.dumps([json.loads(path.read_text()) for path in sorted(TOKENS.glob("*.json"))]))


def measured(run: Run, data: Path, stores: Path) -> dict:
    train, test = (side(run, part, data, stores) for part in ("train", "test"))
    return {
        "study": run.study,
        "row": run.row,
        "source": ROWS[run.row].source,
        "images": len(train.size),
        "sizes": test.size.tolist(),
        "hits": {
            name: {kind: hits(train, test, name, kind) for kind in test.answers}
            for name in test.tokens
        },
        **runner.provenance("torch", "scikit-learn"),
    }


def hits(train: Side, test: Side, token: str, kind: str) -> list[int]:
    """1 for each test picture that a classifier of one kind of token answers right, else 0."""
    classifier = make_pipeline(StandardScaler(), RidgeClassifierCV(PENALTIES))
    classifier.fit(train.tokens[token], train.answers[kind])
    said = classifier.predict(test.tokens[token])
    return (said == test.answers[kind]).astype(int).tolist()


def side(run: Run, part: str, data: Path, stores: Path) -> Side:
    """The tokens of one part's pictures under the shape and on average, with the answers."""
    study = STUDIES[run.study]
    store, questions = stored(run.study, run.row, part, data, stores)
    kinds = {
        kind: [question for question in questions if question.type.startswith(kind)]
        for kind in small_objects.KINDS
    }
    one_each = kinds[small_objects.KINDS[0]]
    turns = study.sizes if part == "train" else tuple(dict.fromkeys(study.sizes))
    scenes = [small_objects.scene(part, n, turns, study.shapes) for n in range(len(one_each))]
    vision = open_vision(store, ROWS[run.row].source)
    rows = rows_of(one_each, store.image_ids, part)
    maps = np.concatenate([vision(some).numpy() for some in np.array_split(rows, len(rows) // 32)])
    places = np.array([scene["places"][0] for scene in scenes]) * vision.grid[::-1] // rules.SIDE
    return Side(
        size=np.array([scene["size"] for scene in scenes]),
        answers={kind: np.array([q.answer for q in asked]) for kind, asked in kinds.items()},
        tokens={
            "under the shape": maps[np.arange(len(maps)), places[:, 1], places[:, 0]],
            "mean": maps.mean((1, 2)),
        },
    )


if __name__ == "__main__":
    main()
