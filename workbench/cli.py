"""The ``workbench`` command: one subcommand per module of ``workbench.commands``."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.metadata
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from feature_store.errors import InputError, NotStoredError
from feature_store.source import split_tap
from workbench.results.messages import OutputClosed, note, show

COMMANDS: dict[str, str] = {
    "demo": "extract, reconstruct and probe on bundled models and images",
    "models": "list models and where their weights come from",
    "extract": "run frozen models and store their features",
    "status": "what of a store or a training run is done and what is missing",
    "explore": "look at tokens and images in the browser",
    "look": "draw what a source sees in an image",
    "verify": "re-read a store and name damaged shards",
    "export": "features as npz, safetensors, parquet or a Hugging Face dataset",
    "upgrade": "bring a store of an older protocol version to the present one",
    "cost": "parameters, GMACs, bytes, images per second",
    "reconstruct": "how much of one model is a linear function of another (Table 2)",
    "similarity": "CKA, CCA, Procrustes, kNN",
    "probe": "linear probe accuracy for each source",
    "memorize": "memorization capacity (Table 3)",
    "select": "which crops of the larger scales are needed, by policy and budget",
    "hard-examples": "test images whose loss a larger model lowers and S2 does not (Figure 7)",
    "vlm train": "train a vision-language model on frozen tokens (Tables 1, 8, 9)",
    "vlm eval": "accuracy of a vision-language model on questions",
    "vlm answer": "ask a vision-language model about an image",
    "vlm show": "answers of vision-language models in figures (Figures 4 and 9)",
    "shape-law": "SoViT shape scaling laws",
    "encoder-law": "VLM encoder-size laws",
    "tables": "the papers' tables, regenerated",
    "pretrain": "train a vision transformer, at one scale or with S2",
    "robot demos": "record demonstrations of simulated experts",
    "robot train": "clone demonstrations from stored features",
    "robot rollout": "success of a cloned policy at many positions (Table 10)",
}
"""Command, of one or two words, to its summary. :func:`form_of` loads its module when it is called:
help stays quick."""

RESUMING = (
    "demo",
    "extract",
    "pretrain",
    "robot demos",
    "robot rollout",
    "robot train",
    "tables",
    "vlm train",
)
"""Commands that store their work in parts; repeated after an interruption, they do the rest."""

RENAMED: dict[str, dict[str, str]] = {
    "cost": {"--precision": "--arithmetic"},
    "encoder-law": {"--bootstraps": "--resamples", "--level": "--confidence"},
    "extract": {"--precision": "--arithmetic"},
    "hard-examples": {"--tokens": "--pooling"},
    "memorize": {"--tokens": "--pooling"},
    "probe": {"--draws": "--repeats", "--tokens": "--pooling"},
    "reconstruct": {"--draws": "--resamples", "--forward": "--arithmetic"},
    "shape-law": {"--bootstraps": "--resamples", "--level": "--confidence"},
}
"""Command to {old option name: present name}; the old names are accepted in this release only."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 (ok), 1 (found a problem), 2 (misuse) or 130 (interrupted)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        show(_overview())
        return 0 if given else 2
    name, rest = _command(given)
    if name not in COMMANDS:
        return _program_option(name, rest)
    try:  # a config checks its values as it is built, so that options may raise InputError too
        from workbench import arguments as of_command  # deferred: tyro, and forms import much
        from workbench.short_names import with_full_names

        if any("\0" in argument for argument in rest):
            raise InputError("an argument holds a null byte, which no path or name may")
        given = [word for argument in rest for word in _from_file(argument)]
        command = of_command.parse(form_of(name), name, _with_present_names(name, given))
        _check_devices(command)
        return with_full_names(command).run()
    except OutputClosed:
        sys.stdout = None  # type: ignore[assignment]  # or the interpreter fails to flush it at exit
        return 0
    except (InputError, OSError) as error:
        note(f"workbench {name}: {' '.join(_message(error).split())}")
        for remedy in getattr(error, "__notes__", ()):
            note(remedy)
        return 2
    except KeyboardInterrupt:
        then = (
            "repeat the command to resume"
            if name in RESUMING
            else "stored results remain; repeat the command to compute the rest"
        )
        note(f"workbench {name}: interrupted; {then}")
        return 130


def form_of(command: str) -> Any:
    """A command's dataclass, such as ``HardExamples`` of ``workbench.commands.hard_examples``.

    A command of two words, such as ``robot train``, is ``RobotTrain`` of ``robot_train``.
    """
    module = re.sub("[- ]", "_", command)
    found = importlib.import_module(f"workbench.commands.{module}")
    return getattr(found, re.sub("[- ]", "", command.title()))


def _command(given: list[str]) -> tuple[str, list[str]]:
    """The command, of one word or of two, and what follows it."""
    words = 2 if " ".join(given[:2]) in COMMANDS else 1
    return " ".join(given[:words]), given[words:]


def _program_option(name: str, rest: list[str]) -> int:
    """Run an option of the program itself; returns the exit status."""
    if group := [one for one in COMMANDS if one.startswith(f"{name} ")]:
        asked = bool(rest) and rest[0] in ("-h", "--help")
        lines = [f"  workbench {one}  {COMMANDS[one]}" for one in group]
        (show if asked else note)("\n".join([f"usage: workbench {name} ACTION [OPTIONS]", *lines]))
        return 0 if asked else 2
    if name == "--version":
        show(f"workbench {importlib.metadata.version('s2-workbench')}")
        return 0
    if name == "--completion":
        from workbench import arguments as of_command  # deferred: tyro, and forms import much

        try:
            of_command.complete(" ".join(rest), {one: form_of(one) for one in COMMANDS})
        except InputError as error:
            note(f"workbench: {error}")
            return 2
        return 0
    options = ("--help", "--version", "--completion")
    near = difflib.get_close_matches(name, (*COMMANDS, *options), n=1)
    hint = f"did you mean {near[0]}?" if near else f"commands: {', '.join(COMMANDS)}"
    what = "option" if name.startswith("-") else "command"
    note(f"workbench: no {what} {name!r}; {hint}")
    return 2


def _check_devices(config: Any) -> None:
    """Refuse a device that torch does not know or cannot reach here, in any part of a config."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            _check_devices(value)
        elif field.name == "device" and value not in (None, "cpu", "auto"):
            # Deferred: torch takes 2 s to import.
            from workbench.extraction.local import pick_device

            pick_device(value)


def _message(error: Exception) -> str:
    """The error's text; extracting does not help if a model is stored or does not exist."""
    if not isinstance(error, NotStoredError):
        return str(error)
    from workbench.models.aliases import full_name
    from workbench.models.registry import build

    stored = {split_tap(s)[0] for s in error.found.partition("it holds ")[2].split(", ")}
    try:
        build(error.model)
    except InputError as unknown:
        near = difflib.get_close_matches(error.model, stored, n=1)
        hint = f"; did you mean the stored {near[0]}?" if near else ""
        return f"{error.found}. {unknown}{hint}"
    full = full_name(error.model)
    return f"{error.found}. Did you mean {full}?" if full in stored else str(error)


def _from_file(argument: str) -> list[str]:
    """The options that ``@FILE`` stands for; any other argument as it is."""
    if not argument.startswith("@"):
        return [argument]
    path = Path(argument[1:]).expanduser()
    if not path.is_file():
        raise InputError(f"{argument} stands for the options in a file, and there is no {path}")
    return shlex.split(path.read_text(encoding="utf-8"))


def _with_present_names(command: str, arguments: Sequence[str]) -> list[str]:
    """Replace old option names, as ``--old VALUE`` or ``--old=VALUE``, and print a notice."""
    renamed, present = RENAMED.get(command, {}), []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if option in renamed:
            note(
                f"workbench {command}: {option} is now {renamed[option]}; the old name will be "
                f"removed in the next release"
            )
        present.append(renamed.get(option, option) + equals + value)
    return present


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: workbench COMMAND [OPTIONS]",
            "",
            "When do we not need larger vision models? Frozen models turn images into per-token",
            "features once; every analysis then reads the stored arrays.",
            "",
            "commands:",
            *lines,
            "",
            "workbench COMMAND --help shows options and examples; @FILE stands for the options",
            "in a file.",
            "workbench --completion bash, zsh or fish prints a script that completes them.",
            "workbench --version shows the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
