"""``workbench similarity``: CKA, CCA, Procrustes and shared neighbours between sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro
import xarray as xr

import feature_store
from analyses import similarity
from analyses.reading.progress import watched
from analyses.similarity import SimilarityConfig
from workbench.cluster import EngineOptions
from workbench.cluster.engine import connect
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.files import write_csv, write_text
from workbench.results.messages import note, show
from workbench.results.table_files import to_latex, to_markdown
from workbench.results.terminal import show_table


@dataclass(frozen=True, kw_only=True)
class Similarity:
    r"""Compare all pairs of sources, and describe the geometry of each, in one pass over a store.

    Examples
    --------
    workbench similarity --store runs/demo/test.zarr --source bundled:efficientnet_lite0@1x \
        --source bundled:efficientnet_lite0@1x+2x --source bundled:efficientnet_lite2@1x \
        --out runs/similarity
    """

    store: str
    """Store that holds the sources."""
    source: tyro.conf.UseAppendAction[tuple[str, ...]]
    """MODEL[#TAP]@SCALE[+SCALE...]; repeat for each source."""
    out: Path | None = None
    """Folder for similarity.md, .csv, .tex, geometry.csv and the figure."""
    comparison: Annotated[
        SimilarityConfig,
        options_of(SimilarityConfig, "unit", "k", "images", "permutations", "seed", "device"),
    ] = field(default_factory=lambda: SimilarityConfig(progress=watched()))
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        store = feature_store.open(self.store)
        with connect(self.cluster) as engine:
            result = similarity.compute(
                store, sources=self.source, config=self.comparison, engine=engine
            )
        pairs, shapes = tables(result)
        report = note if self.json else show
        note(*result.attrs["notes"])
        report(caption(result) + "\n")
        for table in (pairs.drop(columns=[*similarity.NULLS]), shapes):
            show_table(table, ".3f", aside=self.json)
            report("")
        note(*(f"warning: {line}" for line in result.attrs["warnings"]))
        if self.out is not None:
            written = write(result, self.out)
            note(f"wrote {', '.join(p.name for p in written)} in {self.out}")
        if self.json:
            about = {k: result.attrs[k] for k in ("samples", "neighbour_images", "warnings")}
            show(strict_json.dumps({"pairs": pairs, "geometry": shapes} | about))
        return 0


def tables(result: xr.Dataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pairs (each once) and geometry as tables; ``pwcca`` is the mean of its two directions."""
    fields = [*similarity.MEASURES, *similarity.CALIBRATED, *similarity.NULLS]
    names = [str(name) for name in result["source"].values]
    rows = []
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            both = result[fields].isel(source=i, source_2=j)
            back = result[fields].isel(source=j, source_2=i)
            values = {m: float(both[m] + back[m]) / 2 for m in fields}
            rows.append({"source": first, "source_2": names[j], **values})
    pairs = pd.DataFrame(rows, columns=["source", "source_2", *fields])
    shapes = pd.DataFrame({"source": names, **{g: result[g].values for g in similarity.GEOMETRY}})
    return pairs, shapes


def caption(result: xr.Dataset) -> str:
    """Caption of the figures: numbers of samples."""
    attrs = result.attrs
    return (
        f"n = {attrs['samples']} {attrs['config']['unit']}s; mutual_knn, intrinsic_dimension and "
        f"calibrated scores: mean tokens of {attrs['neighbour_images']} images"
    )


def write(result: xr.Dataset, out: Path) -> list[Path]:
    """Write the tables (Markdown, CSV, LaTeX) and the figure; their paths."""
    from workbench.figures import style
    from workbench.figures.similarity import draw_matrices

    pairs, shapes = tables(result)
    names = ("similarity.md", "similarity.csv", "similarity.tex", "geometry.csv")
    paths = [out / name for name in names]
    shown = pairs.drop(columns=[*similarity.NULLS])
    notes = "".join(f"\n> {line}\n" for line in result.attrs["warnings"])
    both = f"{caption(result)}\n\n{to_markdown(shown)}\n\n{to_markdown(shapes)}\n{notes}"
    write_text(both, paths[0])
    write_csv(pairs, paths[1])
    write_text(to_latex(shown, ".3f", caption(result)), paths[2])
    write_csv(shapes, paths[3])
    return [*paths, *style.save(draw_matrices(result), out / "similarity")]
