"""The ``workbench`` command: one subcommand per module of ``workbench.commands``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import tyro

from feature_store.errors import InputError

COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("workbench.commands.demo", "Demo", "the whole path on bundled models and images"),
    "models": ("workbench.commands.models", "Models", "what models there are, and their weights"),
    "extract": ("workbench.commands.extract", "Extract", "run frozen models, store the features"),
    "status": ("workbench.commands.status", "Status", "what a store holds and what is missing"),
    "verify": ("workbench.commands.verify", "Verify", "re-read a store and name bad shards"),
    "cost": ("workbench.commands.cost", "Cost", "parameters, GMACs, bytes, images per second"),
    "reconstruct": (
        "workbench.commands.reconstruct",
        "Reconstruct",
        "how much of a model is a linear function of another (Table 2)",
    ),
    "similarity": ("workbench.commands.similarity", "Similarity", "CKA, CCA, Procrustes, kNN"),
    "probe": ("workbench.commands.probe", "Probe", "linear probe accuracy for each source"),
    "memorize": ("workbench.commands.memorize", "Memorize", "memorization capacity (Table 3)"),
    "hard-examples": (
        "workbench.commands.hard_examples",
        "HardExamples",
        "what only the large model gets right (Figure 7)",
    ),
    "shape-law": ("workbench.commands.shape_law", "ShapeLaw", "SoViT shape scaling laws"),
    "encoder-law": ("workbench.commands.encoder_law", "EncoderLaw", "VLM encoder-size laws"),
    "tables": ("workbench.commands.tables", "Tables", "the papers' tables, regenerated"),
}
"""Command name to (module, dataclass, summary). Modules load when called: help stays quick."""

RESUMING = ("demo", "extract", "tables")
"""Commands whose work is kept in parts as it is done; after an interruption they go on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 ok, 1 found a problem, 2 misuse, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_overview())
        return 0 if given else 2
    name, rest = given[0], given[1:]
    if name not in COMMANDS:
        print(f"workbench: no command {name!r}; commands: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module, form, _ = COMMANDS[name]
    try:  # options, too, may refuse what they are given
        command = tyro.cli(
            getattr(importlib.import_module(module), form),
            prog=f"workbench {name}",
            args=rest,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        return command.run()
    except BrokenPipeError:  # the reader of a pipe has seen enough, as `head` does
        sys.stdout = None  # type: ignore[assignment]  # or the interpreter complains at its exit
        return 0
    except (InputError, OSError) as error:
        print(f"workbench {name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        then = (
            "the same command goes on from here"
            if name in RESUMING
            else "what is stored stays, the same command does all else again"
        )
        print(f"workbench {name}: interrupted; {then}", file=sys.stderr)
        return 130


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, _, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: workbench COMMAND [OPTIONS]",
            "",
            "When do we not need larger vision models? Frozen models turn images into per-token",
            "features once; every question afterwards is asked of the stored arrays.",
            "",
            "commands:",
            *lines,
            "",
            "workbench COMMAND --help shows options and an example.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
