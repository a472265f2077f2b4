"""Arguments of a command: taken apart, refused by name, shown as help, completed by a shell."""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import io
import operator
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Annotated, Any, cast

import tyro

from feature_store.errors import InputError
from workbench.cluster.options import EngineOptions, SlurmOptions
from workbench.options import options_of
from workbench.results.messages import note, show

HELP = ("-h", "--help")
HELP_SLURM = "--help-slurm"
SLURM = "slurm"
"""The part of a command's options that concerns Slurm jobs."""
SHELLS = ("bash", "zsh", "fish")
CONFIG = (tyro.conf.FlagCreatePairsOff,)
"""Conversion of a form into options: ``--flag``, and no ``--no-flag``."""
_EXAMPLES = re.compile(r"\n\s*Examples\n\s*-+\n(.*)\Z", re.DOTALL)
_OPTION = re.compile(r"^.{0,3}(--[a-z][a-z0-9.-]*)", re.MULTILINE)


def parse(form: Any, command: str, arguments: Sequence[str]) -> Any:
    """The command, an instance of its dataclass `form`, that the arguments after its name describe.

    Raises
    ------
    InputError
        An option that the command does not have; the nearest is named.
    SystemExit
        0 after help, 2 if the arguments do not describe a command.
    """
    if any(argument in HELP for argument in arguments):
        show_help(form, command)
        raise SystemExit(0)
    if HELP_SLURM in arguments and _runs_elsewhere(form):
        _tyro(_Slurm, command, ["--help"])
    problem = io.StringIO()
    try:  # tyro prints arguments as they are, and fails without a standard error
        with contextlib.redirect_stderr(problem):
            return _tyro(form, command, list(arguments))
    except SystemExit:
        _refuse_unknown(form, command, arguments)
        note(problem.getvalue().rstrip("\n"))
        raise


def show_help(form: Any, command: str) -> None:
    """Print the options, except those of Slurm jobs, and examples."""
    with contextlib.suppress(SystemExit):
        _tyro(_without_slurm(form), command, ["--help"])
    if found := examples(form):
        show(f"examples:\n{textwrap.indent(found, '  ')}")
    if _runs_elsewhere(form):
        show(f"\nworkbench {command} {HELP_SLURM} shows what Slurm jobs can ask for.")


def examples(form: Any) -> str:
    """The command lines in the section ``Examples`` of the docstring."""
    found = _EXAMPLES.search(inspect.getdoc(form) or "")
    return found[1].strip() if found else ""


def description(form: Any) -> str:
    """The docstring without its examples."""
    return _EXAMPLES.sub("", inspect.getdoc(form) or "").strip()


def complete(shell: str, forms: Mapping[str, Any]) -> None:
    """Print a script that completes commands and options; `forms` maps commands to dataclasses.

    Raises
    ------
    InputError
        A shell other than bash, zsh and fish.
    """
    if shell not in SHELLS:
        raise InputError(f"no completion for {shell!r}; choose from {', '.join(SHELLS)}")
    with contextlib.suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(
            _nested(forms),
            prog="workbench",
            args=["--tyro-print-completion", shell],
            config=CONFIG,
        )


def _nested(forms: Mapping[str, Any]) -> dict[str, Any]:
    """Forms by their first words; commands of two words are the choices of their first one."""
    annotated, nested = cast(Any, Annotated), dict[str, Any]()
    groups: dict[str, list[Any]] = {}
    for name, form in forms.items():
        first, _, second = name.partition(" ")
        if second:
            choice = annotated[form, tyro.conf.subcommand(second, prefix_name=False)]
            groups.setdefault(first, []).append(choice)
        else:
            nested[name] = form
    for first, choices in groups.items():
        union = functools.reduce(operator.or_, choices)
        action = annotated[union, tyro.conf.arg(name="")]
        nested[first] = make_dataclass(first.title(), [("action", action)])
    return nested


@dataclass(frozen=True, kw_only=True)
class _Slurm:
    """Requests of worker jobs to Slurm, with --engine slurm; --cluster-file reads a file."""

    slurm: SlurmOptions = field(default_factory=SlurmOptions)


def _tyro(form: Any, command: str, arguments: list[str]) -> Any:
    return tyro.cli(form, prog=f"workbench {command}", args=arguments, config=CONFIG)


def _runs_elsewhere(form: Any) -> bool:
    return any(one.name == "cluster" for one in fields(form))


def _without_slurm(form: Any) -> Any:
    """The form without the options of Slurm jobs."""
    if not _runs_elsewhere(form):
        return form
    kept = (one.name for one in fields(EngineOptions) if one.name != SLURM)
    engine = Annotated[EngineOptions, options_of(EngineOptions, *kept)]
    return make_dataclass(
        form.__name__,
        [("cluster", engine, field(default_factory=EngineOptions))],
        bases=(form,),
        namespace={"__doc__": form.__doc__},
        frozen=True,
        kw_only=True,
    )


def _refuse_unknown(form: Any, command: str, arguments: Sequence[str]) -> None:
    known = _options(form, command)
    for argument in arguments:
        option = argument.partition("=")[0].replace("_", "-")
        if option.startswith("--") and option != "--" and option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "--help lists them"
            raise InputError(f"no option {option!r}; {hint}")


@functools.cache
def _options(form: Any, command: str) -> list[str]:
    """All options that the command's help lists."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        _tyro(form, command, ["--help"])
    return _OPTION.findall(shown.getvalue()) + [HELP_SLURM] * _runs_elsewhere(form)
