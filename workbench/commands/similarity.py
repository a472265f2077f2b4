"""``workbench similarity``: CKA, CCA, Procrustes and shared neighbours between sources."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from workbench.cluster import EngineOptions

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Compare all pairs of sources, and describe the geometry of each, in one pass over a store.

    Example: workbench similarity --store runs/demo/test.zarr
    --source bundled:efficientnet_lite0@224 --source bundled:efficientnet_lite0@224+448
    --source bundled:efficientnet_lite2@224 --out runs/similarity
    """

    store: str
    """Store that holds the sources."""
    source: tyro.conf.UseAppendAction[tuple[str, ...]]
    """MODEL[#TAP]@SCALE[+SCALE...]; repeat for each source."""
    out: Path | None = None
    """Folder for similarity.md, .csv, .tex, geometry.csv and the figure."""
    unit: Literal["token", "image"] = "token"
    """token: every token is a sample; image: the mean token of each image is."""
    k: int = 10
    """Neighbours for mutual kNN."""
    images: int = 5000
    """Images, chosen by a hash, for mutual kNN and intrinsic dimension."""
    device: str = "cpu"
    """Torch device of the products: cpu, cuda, cuda:1, ..."""
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: bool = False
    """Print one JSON object on standard output; the tables go to standard error."""

    def run(self) -> int:
        """Compare, report; the exit status."""
        import feature_store
        from analyses import similarity
        from workbench.cluster.engine import connect

        config = similarity.SimilarityConfig(
            unit=self.unit,
            k=self.k,
            images=self.images,
            device=self.device,
            progress=sys.stderr.isatty(),
        )
        store = feature_store.open(self.store)
        with connect(self.cluster) as engine:
            result = similarity.compute(store, sources=self.source, config=config, engine=engine)
        pairs, shapes = tables(result)
        stream = sys.stderr if self.json else sys.stdout
        for table in (pairs, shapes):
            print(table.to_markdown(index=False, floatfmt=".3f"), file=stream, end="\n\n")
        if self.out is not None:
            written = write(result, self.out)
            print(f"wrote {', '.join(p.name for p in written)} in {self.out}", file=sys.stderr)
        if self.json:
            parts = {"pairs": pairs, "geometry": shapes}
            records = {k: json.loads(t.to_json(orient="records")) for k, t in parts.items()}
            print(json.dumps({**records, "samples": result.attrs["samples"]}))
        return 0


def tables(result: xr.Dataset):
    """Pairs (each once) and geometry as tables; ``pwcca`` is the mean of its two directions."""
    import pandas as pd

    from analyses.similarity import GEOMETRY, MEASURES

    names = [str(name) for name in result["source"].values]
    rows = []
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            both = result[list(MEASURES)].isel(source=i, source_2=j)
            back = result[list(MEASURES)].isel(source=j, source_2=i)
            values = {m: float(both[m] + back[m]) / 2 for m in MEASURES}
            rows.append({"source": first, "source_2": names[j], **values})
    pairs = pd.DataFrame(rows, columns=["source", "source_2", *MEASURES])
    shapes = pd.DataFrame({"source": names, **{g: result[g].values for g in GEOMETRY}})
    return pairs, shapes


def write(result: xr.Dataset, out: Path) -> list[Path]:
    """Write the tables (Markdown, CSV, LaTeX) and the figure; their paths."""
    from workbench.figures.similarity import draw_matrices

    out.mkdir(parents=True, exist_ok=True)
    pairs, shapes = tables(result)
    paths = [out / f"similarity.{suffix}" for suffix in ("md", "csv", "tex")] + [
        out / "geometry.csv"
    ]
    both = (table.to_markdown(index=False, floatfmt=".4f") for table in (pairs, shapes))
    paths[0].write_text("\n\n".join(both) + "\n", encoding="utf-8")
    pairs.to_csv(paths[1], index=False)
    style = pairs.style.hide(axis="index").format(precision=3, escape="latex")
    style = style.format_index(escape="latex", axis=1)
    paths[2].write_text(
        style.to_latex(hrules=True, column_format="ll" + "r" * (pairs.shape[1] - 2)),
        encoding="utf-8",
    )
    shapes.to_csv(paths[3], index=False)
    return [*paths, *draw_matrices(result, out / "similarity")]
