"""The papers' figures from table contents: scaling curves, which size, convolutional, gallery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import feature_store
from analyses.published.checkpoints import PAPER_MODELS
from feature_store import Source
from workbench.figures import style
from workbench.figures.answers import looks_of
from workbench.figures.curve import ASIDE, side_by_side
from workbench.models.names import ModelName
from workbench.tables.records import provenance
from workbench.tables.render import case_studies, dense_tables, robot_tables
from workbench.tables.specs.schema import TableSpec

TASKS = {
    "5": ("top1", "top-1 (%)"),
    "6": ("miou", "mIoU (%)"),
    "7": ("rmse", "RMSE (m), lower is better"),
}
"""Table → metric and its axis label."""
KINDS = {
    "visual detail: V*": ("8", {"vstar_att": 115, "vstar_spa": 76}),
    "visual questions: mean of 3": ("8", dict.fromkeys(("vqav2", "textvqa", "vizwiz"), 1)),
    "multimodal: mean of 5": (
        "9", dict.fromkeys(("mmmu", "mathvista", "mmbench", "seed", "mmvet"), 1)
    ),
}  # fmt: skip
"""Figure 3's kinds of benchmarks → table, and benchmarks with their weights (V*: questions)."""
FAMILIES = ("ViT", "DINOv2", "OpenCLIP")
SMALLEST = "Base"

Tables = Mapping[str, dict]


def draw(spec: TableSpec, tables: Tables, stem: Path) -> list[Path]:
    """Draw a table's figure, if it has one; the written files."""
    if spec.figure == GALLERY:
        return write_gallery(tables[spec.key], stem)
    drawn = FIGURES[spec.figure](spec, tables) if spec.figure else None
    return [] if drawn is None else list(style.save(drawn, stem))


@style.styled
def scaling(spec: TableSpec, tables: Tables) -> Figure:
    """Figure 2: three tasks by three families as printed, and a row for each family that ran.

    What ran has a third curve, of the smallest model at larger input sizes.
    """
    here = {
        key: _points([tables[key], tables[spec.key]], metric, "value")
        for key, (metric, _) in TASKS.items()
    }
    ran = [
        family for family in FAMILIES if any((p["family"] == family).any() for p in here.values())
    ]
    rows = len(FAMILIES) + max(1, len(ran))
    drawn, axes = style.figure(10.0, 2.5 * rows, rows=rows, columns=len(TASKS))
    for n, family in enumerate(FAMILIES):
        for ax, (key, (metric, label)) in zip(axes[3 * n :], TASKS.items(), strict=False):
            points = _points([tables[key]], metric, "published")
            _curves(ax, points[points["family"] == family], label)
            ax.set_title(f"{family}, paper (Table {key})", fontsize=9)
    for n, family in enumerate(ran or FAMILIES[:1], len(FAMILIES)):
        for ax, (key, (_, label)) in zip(axes[3 * n :], TASKS.items(), strict=False):
            _curves(ax, here[key][here[key]["family"] == family], label)
            ax.set_title("here: " + _who(tables[key], family), fontsize=9)
    for ax in axes[-len(TASKS) :]:
        _name_costs(ax)
    _legend(drawn, axes)
    return drawn


@style.styled
def which_size(spec: TableSpec, tables: Tables) -> Figure:
    """Figure 6: S2 from base and from large beside model size, segmentation, one family."""
    drawn, (left, right) = style.figure(9.0, 3.8, columns=2)
    family = _family(tables[spec.key])
    published = _points([tables["6"]], "miou", "published")
    _curves(left, published[published["family"] == family], "mIoU (%)")
    left.set_title(f"{family}, paper (Table 6)", fontsize=9)
    _curves(right, _points([tables[spec.key]], "miou", "value"), "mIoU (%)")
    right.set_title("here: " + _who(tables[spec.key], family), fontsize=9)
    for ax in (left, right):
        _name_costs(ax)
    _legend(drawn, [right, left])
    return drawn


@style.styled
def convnet(spec: TableSpec, tables: Tables) -> Figure:
    """Figure 8: three tasks on a convolutional network."""
    table = tables[spec.key]
    drawn, axes = style.figure(10.0, 3.4, columns=3)
    for ax, metric in zip(axes, table["metrics"], strict=True):
        _curves(ax, _points([table], metric["column"], "value"), metric["name"])
        _name_costs(ax)
    _legend(drawn, axes)
    return drawn


@style.styled
def language_models(spec: TableSpec, tables: Tables) -> Figure:
    """Figure 3: three kinds of benchmarks as printed, and below them the studies that ran here."""
    runs = case_studies.by_cost()
    studies = list(dict.fromkeys(runs["study"]))
    lines = 1 + -(-len(studies) // len(KINDS))
    drawn, axes = style.figure(10.0, 3.0 * lines, rows=lines, columns=len(KINDS))
    for ax, (name, (key, weights)) in zip(axes, KINDS.items(), strict=False):
        columns = {m: _points([tables[key]], m, "published") for m in weights}
        points = next(iter(columns.values())).drop(columns=["value", "low", "high"])
        summed = sum(weight * columns[m]["value"] for m, weight in weights.items())
        points = points.assign(value=summed / sum(weights.values()), low=None, high=None)
        _curves(ax, points, "accuracy (%)")
        ax.set_title(f"paper, {name}", fontsize=9)
    here, looks = axes[len(KINDS) :], looks_of(list(dict.fromkeys(runs["row"])))
    for ax, study in zip(here, studies, strict=False):
        case_studies.draw_costs(ax, runs[runs["study"] == study], looks)
        ax.set_title(f"here: {study}", fontsize=9)
    for ax in here[len(studies) :]:
        ax.set_axis_off()
    for ax in axes[: len(KINDS) + len(studies)]:
        _name_costs(ax)
    _legend(drawn, axes[: len(KINDS)])
    if studies:
        _legend(drawn, here, "outside lower left", columns=4)
    return drawn


def write_gallery(table: dict, stem: Path) -> list[Path]:
    """Figure 7: the hardest examples with easy ones and nearest training images."""
    from workbench.datasets.pictures import reader
    from workbench.figures.gallery import Pictures, sheet
    from workbench.figures.gallery_page import write_html

    examples = pd.DataFrame(table["detail"])
    if examples.empty:
        return []
    (made,) = table["measurements"].values()
    paths = (made["stores"][role]["path"] for role in ("train", "test"))
    train, test = (feature_store.open(provenance.found_path(p, stem.parent)) for p in paths)
    shown = Pictures(reader(train), reader(test), train.image_ids, test.image_ids)
    page = stem.with_name(f"{stem.name}_gallery.html")
    page.parent.mkdir(parents=True, exist_ok=True)
    write_html(examples, shown, page, "Hard examples", provenance.line(table))
    return [*style.save(sheet(examples.head(6), shown), stem), page]


def _points(tables: Sequence[dict], metric: str, which: str) -> pd.DataFrame:
    """Family, size, number of scales, input size, cost, value and interval of the rows with one."""
    cost = {"published": "published_gmacs", "value": "gmacs"}[which]
    records = []
    named = [(table["label"], row) for table in tables for row in table["rows"]]
    for names, row in named:
        label = dict(zip(names, row["label"], strict=True))
        cell = row["cells"][metric]
        value = cell.get(which)
        if isinstance(value, float | int) and row.get(cost):
            records.append(
                {
                    "family": label.get("family", ""),
                    "size": label["size"],
                    "scales": label.get("scales", "").count("+") + 1,
                    "input": label.get("input size", ""),
                    "gmacs": row[cost],
                    "value": value,
                    "low": cell.get("low") if which == "value" else None,
                    "high": cell.get("high") if which == "value" else None,
                }
            )
    columns = ["family", "size", "scales", "input", "gmacs", "value", "low", "high"]
    return pd.DataFrame(records, columns=columns)


def _curves(ax: Axes, points: pd.DataFrame, label: str) -> None:
    """Model size in grey with squares and a dashed line; S2 of each size in green with circles.

    Larger inputs of the smallest model are purple, with triangles. Equal costs stand side by side,
    and the axis of the metric names the intervals.
    """
    held = points.dropna(subset=["low", "high"])
    ax.set_ylabel(label + ("" if held.empty else "\n(bars: 95 % intervals)"))
    if points.empty:
        ax.text(0.5, 0.5, "nothing measured", ha="center", transform=ax.transAxes, fontsize=9)
        return
    points = points.sort_values(["gmacs", "scales"]).reset_index(drop=True)
    points["at"] = side_by_side(points["gmacs"])
    if (points["at"] != points["gmacs"]).any():
        ax.set_xlabel(ASIDE)
    several, larger = points["scales"] > 1, points["input"] != ""
    single = ~several & ~larger
    sets = [("model size", style.MODEL_SIZE, single, single)]
    for size, look in zip((SMALLEST, "Large"), style.S2_CURVES, strict=False):
        sets.append((f"S2 of {size}", look, (points["size"] == size) & ~larger, several))
    start = single & (points["size"] == SMALLEST)
    sets.append((f"input size of {SMALLEST}", style.INPUT_SIZES[0], start | larger, larger))
    for name, look, of_curve, drawn in sets:
        part, own = points[of_curve], drawn[of_curve]  # it starts at a marker of model size
        if not own.any():
            continue
        style.curve(ax, part["at"], part["value"], look, name, markevery=list(own))
        held = part[own].dropna(subset=["low", "high"])
        ax.vlines(held["at"], held["low"], held["high"], color=look[0], lw=1, alpha=0.8)
    ax.set_xscale("log")
    style.log_axis(ax.xaxis)
    ax.tick_params(labelsize=8)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_fontsize(9)
    ax.margins(0.08)


def _name_costs(ax: Axes) -> None:
    """Name the axis of costs, above what :func:`_curves` says of it."""
    ax.set_xlabel("GMACs per image, log scale\n" + ax.get_xlabel(), fontsize=9)


def _legend(drawn, axes, place: str = "outside upper left", columns: int | None = None) -> None:
    """One legend above all panels, or at another place, every name once."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    drawn.legend(
        list(found.values()), list(found), loc=place, ncols=columns or len(found), fontsize=9,
        handlelength=3.5,
    )  # fmt: skip


def _models(table: dict) -> list[str]:
    """Models of the rows that ran, in order."""
    sources = (row["source"] for row in table["rows"] if row["source"])
    return list(dict.fromkeys(Source.parse(source).model for source in sources))


def _family(table: dict) -> str:
    """The paper's family of a table's models; stand-ins take the place of its ViTs."""
    known = {model.name: model.family for model in PAPER_MODELS}
    return next((known[name] for name in _models(table) if name in known), FAMILIES[0])


def _who(table: dict, family: str) -> str:
    """Short name of the model that ran in place of a family."""
    models = _models(table)
    if not models:
        return "nothing"
    if any(model.name in models for model in PAPER_MODELS):
        return family
    names = [ModelName.parse(model).arch for model in models]
    if all(name.startswith("efficientnet_lite") for name in names):
        return "EfficientNet-" + ", ".join(n.removeprefix("efficientnet_").title() for n in names)
    return ", ".join(names)


GALLERY = "gallery"
FIGURES: dict[str, Callable[[TableSpec, Tables], Figure | None]] = {
    "scaling": scaling,
    "which_size": which_size,
    "convnet": convnet,
    "robot": robot_tables.figure,
    "dense": dense_tables.figure,
    "language models": language_models,
    "object sizes": case_studies.sizes_figure,
}
"""Name in a declaration → what draws it; :data:`GALLERY` has a page beside its figure."""
