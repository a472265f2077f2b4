"""``workbench vlm answer``: the answer of a trained model to a question about an image file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from feature_store.source import Source
from workbench.results import strict_json
from workbench.results.messages import note, show


@dataclass(frozen=True, kw_only=True)
class VlmAnswer:
    """Ask a trained model about an image file, whose tokens are computed on the spot.

    Examples
    --------
    workbench vlm answer --run runs/lora --image photo.jpg --question "What is on the table?"
    """

    trained: Annotated[Path, tyro.conf.arg(name="run")]
    """Folder of a run of `workbench vlm train`."""
    image: Path
    """Image file."""
    question: str
    """Question to ask."""
    encoder: str | None = None
    """run:FOLDER of the frozen model, if `workbench pretrain` trained it."""
    device: str = "cpu"
    """Torch device of the language model."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.models.run_names import find_run
        from workbench.vlm.evaluate import answer, require_text
        from workbench.vlm.run import Run
        from workbench.vlm.vision import Encoder

        require_text(self.question)
        run = Run.open(self.trained)
        run.note_unfinished(note)
        if run.config.blind:
            note(f"note: {self.trained} was trained blind, on other images than those asked about")
        find_run(Source.parse(run.identity["source"]).model, self.encoder)
        tokens = Encoder(run.identity["vision"], run.identity["source"], note, self.device)(
            [str(self.image)]
        )
        model, writer = run.model(self.device, note)
        found = answer(run, model, writer, tokens, self.question)
        show(strict_json.dumps({"answer": found}) if self.json else found)
        return 0
