"""Does a larger frozen encoder lower a multimodal model's loss? A sweep of sizes and pairs.

    python scripts/experiments/encoder_sweep.py --data DIR [--pairs 250 500] [--seed 0]
    python scripts/experiments/encoder_sweep.py --summary
    workbench tables --only vlm2
    workbench encoder-law --runs analyses/experiments/encoder_sweep.csv --allow-unidentified

A list of runs, each an encoder, a number of image-text pairs and a seed; a run whose JSON is in
results/encoder_sweep/ beside this file is skipped. Trained is a linear projector alone, from a
random start, one pass over captions of small_objects.py (shapes of 64 and 32 pixels over
photographs; DIR holds imagenet_sample_500); the loss is that of captions of other pictures over
other photographs. The language model is SmolLM2-135M. Every encoder has 7 x 7 image tokens of
224 pixels.

`tables` fits a plane over log size and log pairs, which docs/vlm.md reports. `encoder-law` without
its option refuses the committed runs: they do not determine how the loss depends on size (alpha
runs to the end of its range, 10). With it, each law says what is not determined; the only law
without such a parameter leaves out size. Encoders of further sizes would be needed.

Expected on two idle cores: pictures 5 minutes, stores 8, a run 1 to 6.
Products are taken in bf16; a processor without them takes many times as long.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import runner
import small_objects

import feature_store
from analyses import experiments
from feature_store.errors import InputError
from workbench.extraction import ExtractRequest, extract
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.tables.render import extra_tables
from workbench.vlm import encoder_runs, questions
from workbench.vlm.config import VlmConfig
from workbench.vlm.fit import fit

RESULTS = Path(__file__).parent / "results" / "encoder_sweep"
TABLE = Path(experiments.__file__).parent / "encoder_sweep.csv"
ENCODERS = {
    "mobilenetv2": "bundled:mobilenetv2@224",
    "Lite0": "bundled:efficientnet_lite0@224",
    "Lite1": "bundled:efficientnet_lite1@224.unpooled",
    "Lite2": "bundled:efficientnet_lite2@224.unpooled",
}
PICTURES = {"train": 2000, "test": 400}
PAIRS = (250, 500, 1000, 2000)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One projector."""

    encoder: str
    pairs: int
    seed: int

    @property
    def path(self) -> Path:
        return RESULTS / f"{self.encoder}-{self.pairs}-seed{self.seed}.json"


def main() -> None:
    parser = runner.parser(__doc__, "write the table of what is there")
    parser.add_argument("--data", type=Path, help="folder of the datasets")
    parser.add_argument("--stores", type=Path, default=Path("runs/encoder_sweep"))
    parser.add_argument("--encoder", nargs="+", choices=ENCODERS, default=list(ENCODERS))
    parser.add_argument("--pairs", nargs="+", type=int, default=PAIRS)
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    asked = runner.parsed(parser)
    if asked.summary:
        write_summary()
        return
    runs = [
        Run(encoder=encoder, pairs=pairs, seed=seed)
        for seed in asked.seed
        for pairs in asked.pairs
        for encoder in asked.encoder
    ]
    runner.do(runs, lambda run: measured(run, asked))
    write_summary()


def write_summary() -> None:
    """The table of all runs, and the slopes that follow from it."""
    found = [strict_json.read(path)["line"] for path in sorted(RESULTS.glob("*.json"))]
    if not found:
        print("no run is done yet")
        return
    write_csv(pd.DataFrame(found), TABLE)
    try:
        print(pd.DataFrame(extra_tables.block("encoder sweep")["records"]).to_string())
    except InputError as error:  # too few runs for a law
        print(error)


def measured(run: Run, asked: argparse.Namespace) -> dict:
    watch, folder = runner.Stopwatch(), asked.stores / "runs" / run.path.stem
    train, test = (stored(run, asked, side) for side in PICTURES)
    pictures = asked.stores / "pictures"
    found = fit(
        train, ENCODERS[run.encoder], questions.read([pictures / "captions.csv"], run.pairs),
        VlmConfig(stage="projector", arithmetic="bf16"), seed=run.seed, folder=folder, log=print,
    )  # fmt: skip
    if not found.outcome.finished:
        raise KeyboardInterrupt  # stopped between two steps
    held_out = questions.read([pictures / "test_captions.csv"])
    line = encoder_runs.line(folder, test, held_out, "cpu", print)
    dataset = "small_objects"  # not the path of this machine
    return {
        **asdict(run),
        "line": line | {"dataset": dataset},
        "last_loss": found.loss,
        "steps": found.outcome.step,
        **watch.record(),
        **runner.provenance("torch", "transformers"),
    }


def stored(run: Run, asked: argparse.Namespace, side: str) -> feature_store.FeatureStore:
    """The store of one side's pictures, with the encoder's features."""
    folder, (model, _, scale) = asked.stores / "pictures", ENCODERS[run.encoder].partition("@")
    small_objects.render(asked.data / "imagenet_sample_500", folder, PICTURES, (64, 32))
    path = str(asked.stores / f"{side}.zarr")
    extract(
        ExtractRequest(
            dataset=f"csv:{folder / side}.csv", models=[model], scales=[scale], store=path,
            fit="pad",
        )
    )  # fmt: skip
    return feature_store.open(path)


if __name__ == "__main__":
    runner.run(main)
