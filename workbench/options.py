"""Fields of configs as options of a command, so that each option is described once."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass
from typing import Any, cast, get_type_hints

import tyro


def options_of(config: type, *shown: str, **annotated: Any) -> Any:
    """An annotation that offers a config's fields as options of the command that embeds it.

    Parameters
    ----------
    config : type
        A frozen dataclass, the type that is annotated. The command receives a plain instance.
    *shown : str
        Fields that are options, all by default; the others keep their defaults.
    **annotated : Any
        Another annotation of a field, for example with the name of its option.

    Examples
    --------
    ``fit: Annotated[FitOptions, options_of(FitOptions, "seed")] = FitOptions()`` gives ``--seed``.
    """
    hints, suppressed = get_type_hints(config), cast(Any, tyro.conf.Suppress)
    again = [
        (
            f.name,
            annotated.get(f.name, suppressed[hints[f.name]]),
            field(default=f.default, default_factory=f.default_factory),  # one of them is missing
        )
        for f in fields(config)
        if f.name in annotated or (shown and f.name not in shown)
    ]

    def become_plain(self: Any) -> None:
        object.__setattr__(self, "__class__", config)
        if hasattr(config, "__post_init__"):
            self.__post_init__()

    form = make_dataclass(
        config.__name__,
        again,
        bases=(config,),
        namespace={"__post_init__": become_plain},
        frozen=True,
        kw_only=True,
    )
    return tyro.conf.arg(name="", constructor=form)
