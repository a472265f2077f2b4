"""``workbench vlm show``: answers of evaluated runs in figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

import feature_store
from feature_store import InputError
from feature_store.errors import require_at_least
from workbench.results import strict_json
from workbench.results.files import require_folder
from workbench.results.messages import note, show
from workbench.vlm.questions import QuestionOptions


@dataclass(frozen=True, kw_only=True)
class VlmShow:
    r"""Draw answers of evaluated runs: a gallery of questions, and accuracy by object size.

    The gallery (Figures 4 and 9) alternates questions that only the first run answers, only the
    second, both, and neither. Object sizes are read from types of questions that end in pixels,
    such as 'attribute 64'.

    Examples
    --------
    workbench vlm show --store test.zarr --questions test.csv --answers S2=runs/s2/answers.csv \
        single=runs/single/answers.csv blind=runs/blind/answers.csv --out runs/figures
    """

    store: str
    """Store of the images that the questions are about."""
    asked: Annotated[QuestionOptions, tyro.conf.arg(name="")]
    answers: tuple[str, ...]
    """NAME=FILE for each run, all scored alike: the --out file of `workbench vlm eval`, or a JSON
    result of scripts/experiments/multimodal.py."""
    examples: int = 12
    """Questions in the gallery, each about another image."""
    out: Path
    """Folder for gallery.png and sizes.png, both also as SVG."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.datasets.pictures import reader
        from workbench.figures import answers as figures
        from workbench.figures import style
        from workbench.vlm import answers
        from workbench.vlm.matching import rows_of

        self._check()
        questions = self.asked.read()
        found: dict[str, answers.Answers] = {}
        for name, file in _by_name(self.answers).items():
            like = next((one.scored for one in found.values()), "")
            found[name] = answers.read(file, questions, "--answers", like)
        store = feature_store.open(self.store)
        rows, read = rows_of(questions, store.image_ids, store.path), reader(store)
        chosen = answers.examples(found, rows, self.examples)
        pictures = [read(int(rows[n])) for n in chosen]
        drawn = {
            "gallery": figures.draw_gallery(
                pictures,
                [(questions[n].question, questions[n].answer) for n in chosen],
                {k: [(v.answers[n], float(v.scores[n])) for n in chosen] for k, v in found.items()},
            )
        }
        sized = answers.object_sizes(questions) > 0
        shapes = np.full((len(questions), 2), np.nan)
        shapes[sized] = answers.picture_shapes(read, rows[sized])
        sources = {one.source for one in found.values()}
        sides = {source: answers.base_sides(store, source, shapes) for source in sources}
        sizes = answers.by_size(questions, found, sides)
        if len(sizes):
            drawn["sizes"] = figures.draw_sizes(sizes)
        files = [p for name, one in drawn.items() for p in style.save(one, self.out / name)]
        if self.json:
            record = {"questions": len(questions), "files": list(map(str, files)), "sizes": sizes}
            show(strict_json.dumps(record))
        else:
            note(f"wrote {', '.join(path.name for path in files)} in {self.out}")
        return 0

    def _check(self) -> None:
        require_at_least(self, examples=1)
        require_folder(self.out, "--out")


def _by_name(answers: Sequence[str]) -> dict[str, Path]:
    """The file of each NAME=FILE."""
    found: dict[str, Path] = {}
    for text in answers:
        name, _, file = text.partition("=")
        if not (name and file):
            raise InputError(f"--answers {text}; expected NAME=FILE")
        if name in found:
            raise InputError(
                f"--answers names {found[name]} and {file} both {name}; give each run another name"
            )
        found[name] = Path(file)
    return found
