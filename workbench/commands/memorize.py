"""``workbench memorize``: memorization capacity of each source (Table 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

import feature_store
from analyses.configs import MemorizationConfig, RandomLabelConfig
from analyses.reading.progress import watched
from analyses.reading.splits import image_notes
from feature_store import FeatureStore
from feature_store.errors import require_at_least
from workbench.commands.extract import view_store
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.results.table_files import write_table
from workbench.results.terminal import show_table


@dataclass(frozen=True, kw_only=True)
class Memorize:
    r"""How well each source tells every single image from all others, at a fixed budget.

    Labels are not used. After `workbench extract --views 3 --store s.zarr`, the example trains on
    s.zarr, s.view1.zarr and s.view2.zarr, and holds s.view3.zarr out.

    Examples
    --------
    workbench memorize --train s.zarr --views 3 --source bundled:efficientnet_lite0@1x \
        --source bundled:efficientnet_lite0@1x+2x --out runs/memorize
    """

    train: str
    """Store of the images to memorise."""
    source: tyro.conf.UseAppendAction[tuple[str, ...]]
    """MODEL[#TAP]@SCALE[+SCALE...]; repeat for each source."""
    view: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Further augmented views of the same images to train on; repeat for each store."""
    views: int = 0
    """Use this many views that `workbench extract --views` put beside --train (s.view1.zarr, ...);
    the last of them is held out unless --test is given."""
    test: str | None = None
    """A view of the same images that is not trained on; other images are ignored with a note."""
    budget: Annotated[
        MemorizationConfig,
        options_of(
            MemorizationConfig,
            *("head", "epochs", "batch", "learning_rate", "pooling", "merge", "seed", "device"),
        ),
    ] = field(default_factory=lambda: MemorizationConfig(progress=watched()))
    random_labels: bool = False
    """Also measure how many random labels a linear head fits to 99 %."""
    out: Path | None = None
    """Folder for memorize.csv, .md, .tex, the figures and, if asked for, random_labels.csv."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from analyses import memorization, random_labels

        require_at_least(self, views=0)
        beside = [view_store(self.train, k) for k in range(1, self.views + 1)]
        last = beside.pop() if beside and self.test is None else self.test
        views = [feature_store.open(path) for path in [self.train, *self.view, *beside]]
        held_out = self._held_out(views[0], last)
        table = memorization.compute(
            views, sources=self.source, held_out=held_out, config=self.budget
        )
        found = {"rows": table} | {name: table.attrs[name] for name in ("config", "shared_images")}
        note(*image_notes(table.attrs["shared_images"]))
        if self.random_labels:
            drawn = RandomLabelConfig(
                pooling=self.budget.pooling, merge=self.budget.merge, seed=self.budget.seed
            )
            fitted = random_labels.compute(views[0], sources=self.source, config=drawn)
            found["random_labels"] = fitted
        if self.out is not None:
            self._write(table, views[0], self.out)
            if self.random_labels:
                self._write_random(fitted, self.out)
        if self.json:
            show(strict_json.dumps(found))
        else:
            show_table(table[_SHOWN])
            if self.random_labels:
                show_table(fitted[_FITTED])
        return 0

    def _held_out(self, first: FeatureStore, path: str | None) -> FeatureStore | None:
        """The test store, if it holds the same images."""
        from analyses.memorization import same_images

        if path is None:
            return None
        store = feature_store.open(path)
        if same_images(store, first):
            return store
        note(
            f"note: {store.path} holds other images than {first.path}; memorization has no use "
            "for them"
        )
        return None

    def _write(self, table: pd.DataFrame, store: FeatureStore, out: Path) -> None:
        from workbench.figures import style
        from workbench.figures.curve import write_curve
        from workbench.figures.memorization import draw_loss

        label = "instance loss, nats\n(lower is better)"
        paths = [
            *write_table(table, out / "memorize", shown=table[_SHOWN]),
            *style.save(draw_loss(table), out / "memorize"),
            *write_curve(table, store, out / "memorize_curve", metric="loss", label=label),
        ]
        note(f"wrote {', '.join(p.name for p in paths)} in {out}")

    def _write_random(self, fitted: pd.DataFrame, out: Path) -> None:
        from workbench.figures import style
        from workbench.figures.memorization import draw_capacity

        write_table(fitted, out / "random_labels", shown=fitted[_FITTED])
        style.save(draw_capacity(fitted), out / "random_labels")


_SHOWN = [
    "source", "loss", "accuracy", "held_out_accuracy", "chance_loss", "instances", "views", "epochs"
]  # fmt: skip
_FITTED = ["source", "capacity", "censored", "cover", "channels", "images"]
