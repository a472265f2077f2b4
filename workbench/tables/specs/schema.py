"""Parts of a declared table: rows, metrics, the origin of each number, footnotes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from analyses import published
from feature_store.errors import InputError

Label = tuple[str, ...]
"""A row's name: its cells in the label columns, such as ``("ViT", "Base", "224+448")``."""

PROFILES = ("bundled", "paper")
NAMES = {"s2": "S2", "sovit": "SoViT", "vlm": "VLM encoders"}
"""Short name of a paper → what headings call it."""
PAPERS = {
    "s2": "Shi et al. 2024, When Do We Not Need Larger Vision Models?, arXiv 2403.13043",
    "sovit": "Alabdulmohsin et al. 2023, Getting ViT in Shape, arXiv 2305.13035",
    "vlm": "Are Bigger Encoders Always Better in Vision Large Models?, arXiv 2408.00620",
}
"""Short name of a paper → how it is cited."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One column of figures."""

    column: str
    """Column of the published data, and name in every output."""
    name: str
    """Heading, with the unit."""
    better: Literal["higher", "lower"] = "higher"
    """Which direction is an improvement."""
    digits: int = 1
    """Decimals shown; CSV and JSON keep all."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One number of a table: a field of an analysis of a source on some images."""

    analysis: str
    """Name in :data:`workbench.tables.pipeline.analyses.ANALYSES`."""
    field: str
    """Field of that analysis's record."""
    data: str = ""
    """Images, by their key in the profile; empty if none are needed."""
    source: str = ""
    """MODEL[#TAP]@SCALE[+SCALE...], or what the analysis calls its rows."""
    options: tuple[tuple[str, Any], ...] = ()
    """Further settings of the analysis, as pairs."""


@dataclass(frozen=True, kw_only=True)
class DataNote:
    """A footnote that holds for a profile's own images, not for images that a config names."""

    data: str
    """Data key of the profile."""
    text: str
    """Note for the profile's own images."""
    otherwise: str = ""
    """Note for other images, with ``{datasets}`` for their names; empty for none."""

    def plus(self, text: str) -> DataNote:
        """With a further sentence about the profile's own images."""
        return replace(self, text=f"{self.text} {text}")


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a profile fills a table."""

    quantities: Mapping[str, Mapping[Label, Quantity]] = field(default_factory=dict)
    """Metric column → row → where its number comes from; rows that are absent stay empty."""
    comparable: bool = False
    """Whether a number here may be subtracted from the published one: same models and data."""
    deviations: tuple[str | DataNote, ...] = ()
    """Footnotes: every difference in setting from the paper (model, data, head)."""
    row_notes: Mapping[Label, str] = field(default_factory=dict)
    """Footnotes of single rows."""
    expected: str = ""
    """Time and cost to expect, in words."""
    recipes: str = ""
    """Beginning of the names of its multimodal trainings' recipes, see :mod:`workbench.vlm.paper`;
    empty without any."""

    def footnotes(self, named: Mapping[str, str] | None = None) -> list[str]:
        """The deviations in words.

        Parameters
        ----------
        named : mapping, optional
            Data key → names of the datasets that a config gives in place of the profile's own.
        """
        found = []
        for note in self.deviations:
            if isinstance(note, DataNote):
                datasets = (named or {}).get(note.data, "")
                note = note.otherwise.format(datasets=datasets) if datasets else note.text
            found.append(note)
        return [note for note in found if note]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A difference between two rows, asked of the paper and of the run alike."""

    question: str
    """The comparison in words, such as "Base-S2 (1x, 2x) against Large"."""
    metric: str
    """Metric column."""
    a: Label
    """First row."""
    b: Label
    """Second row."""
    kind: Literal["difference", "ratio"] = "difference"
    """First minus second, or first over second."""


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """One table or figure of a paper."""

    key: str
    """Its name for ``--only``: 5, sovit2, vlm3, figure2."""
    title: str
    """Title."""
    question: str
    """Its question, in one sentence."""
    paper: Literal["s2", "sovit", "vlm"]
    """Paper."""
    reference: str
    """Table, section or figure of that paper."""
    published: str = ""
    """Name of the published figures in ``analyses.published``; empty if none are printed."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Part of the published data: column → value."""
    label: tuple[str, ...] = ()
    """Label columns."""
    rows: tuple[Label, ...] = ()
    """Rows, if published data do not give them."""
    metrics: tuple[Metric, ...] = ()
    """Columns of figures, in order."""
    setups: Mapping[str, Setup] = field(default_factory=dict)
    """Profile → how it is filled."""
    comparisons: tuple[Comparison, ...] = ()
    """Differences to report beside the paper's."""
    extra_tables: tuple[str, ...] = ()
    """Further tables, by name in :data:`workbench.tables.render.extra_tables.BLOCKS`."""
    missing: str = ""
    """Requirements, if it cannot be run here."""
    uses: tuple[str, ...] = ()
    """Other tables that its figure draws."""
    figure: str = ""
    """Name in :data:`workbench.tables.render.figures.FIGURES`, or ``gallery``."""

    def __post_init__(self) -> None:
        if self.published:
            wanted = {*self.label, *self.where, *(metric.column for metric in self.metrics)}
            self._refuse(wanted, set(published.load(self.published)), "published column")
        known = set(self.labels())
        columns = {metric.column for metric in self.metrics}
        for name, setup in self.setups.items():
            if name not in PROFILES:
                raise InputError(f"table {self.key}: profile {name!r}; there are {PROFILES}")
            asked = {label for rows in setup.quantities.values() for label in rows}
            self._refuse(asked | set(setup.row_notes), known, "row")
            self._refuse(set(setup.quantities), columns, "metric")
        for comparison in self.comparisons:
            self._refuse({comparison.a, comparison.b}, known, "row")
            self._refuse({comparison.metric}, columns, "metric")

    def _refuse(self, found: set, known: set, what: str) -> None:
        wrong = sorted(map(str, found - known))
        if wrong:
            there = ", ".join(sorted(map(str, known)))
            raise InputError(f"table {self.key} has no {what} {wrong[0]}; there are: {there}")

    def printed(self, *, text: bool = False) -> pd.DataFrame:
        """Label and metric columns as published, and ``flops_g`` (NaN where not printed).

        With `text` figures keep the zeros that they are printed with.
        """
        names = [*self.label, *(metric.column for metric in self.metrics), "flops_g"]
        if not self.published:
            return pd.DataFrame(self.rows, columns=list(self.label)).reindex(columns=names)
        table = _part(self.published, self.where, text=text)
        return table.reindex(columns=names).reset_index(drop=True)

    def labels(self) -> list[Label]:
        """Row names in order."""
        if not self.published:
            return list(self.rows)
        return labels_of(self.published, self.label, self.where)

    def quantities(self, profile: str) -> list[Quantity]:
        """Every number that a profile has to measure."""
        rows = self.setups[profile].quantities.values() if profile in self.setups else ()
        return [quantity for row in rows for quantity in row.values()]


def labels_of(
    name: str, columns: Sequence[str], where: Mapping[str, str] | None = None
) -> list[Label]:
    """Row names of a published table, or of the part of it where columns have these values."""
    return [tuple(map(_text, row)) for row in _part(name, where or {})[list(columns)].to_numpy()]


def _part(name: str, where: Mapping[str, str], *, text: bool = False) -> pd.DataFrame:
    table = published.load(name, text=text)
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def _text(value: object) -> str:
    """A label cell as text; an empty cell is empty."""
    if value is None or value != value:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def each(
    sources: Mapping[Label, str], *, analysis: str, field: str, data: str, **options: Any
) -> dict[Label, Quantity]:
    """One quantity per row: the same field of the same analysis, of each row's own source."""
    pairs = tuple(sorted(options.items()))
    return {
        label: Quantity(analysis=analysis, field=field, data=data, source=source, options=pairs)
        for label, source in sources.items()
    }
