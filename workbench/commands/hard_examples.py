"""``workbench hard-examples``: where only the larger model loses less (Figure 7)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

import feature_store
from analyses.configs import HardConfig, ProbeConfig
from analyses.linear.config import HeadConfig
from analyses.reading.labels import unseen_counts, unseen_lines
from analyses.reading.progress import watched
from analyses.reading.splits import image_notes
from feature_store import FeatureStore
from workbench.cluster import EngineOptions
from workbench.cluster.engine import connect
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.files import write_csv
from workbench.results.messages import note, show
from workbench.results.table_files import write_table
from workbench.results.terminal import show_table

DEVICE = Annotated[
    str, tyro.conf.arg(help="Torch device of the heads and of the neighbour search.")
]


@dataclass(frozen=True, kw_only=True)
class HardExamples:
    r"""Test images on which a larger model loses less and S2 does not, and why they are hard.

    Examples
    --------
    workbench hard-examples --train train.zarr --test test.zarr \
        --source bundled:efficientnet_lite0@1x --source bundled:efficientnet_lite0@1x+2x \
        --source bundled:efficientnet_lite2@1x --out runs/hard
    """

    train: str
    """Store of the training images; must have labels."""
    test: str
    """Store of the test images; classes are matched by name."""
    source: tyro.conf.UseAppendAction[tuple[str, ...]]
    """At least a small model at one scale, the same at several, and a larger model at one; of
    several larger models the one named last is compared with, the others are shown."""
    config: Annotated[HardConfig, options_of(HardConfig, "count", "neighbours", device=DEVICE)] = (
        field(default_factory=HardConfig)
    )
    probe: Annotated[ProbeConfig, options_of(ProbeConfig, "pooling", "l2", "keep_shared")] = field(
        default_factory=lambda: ProbeConfig(progress=watched())
    )
    duplicates: float = 0.98
    """Cosine from which a test image counts as a near-duplicate of a training image."""
    out: Path | None = None
    """Folder for hard.json, hard.csv, hard.html, hard.png, duplicates.csv, label_errors.csv and
    the accuracy of every source as table and figure."""
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from analyses import hard_examples

        head = HeadConfig(device=self.config.device)
        config = replace(self.config, probe=replace(self.probe, head=head))
        stores = feature_store.open(self.train), feature_store.open(self.test)
        with connect(self.cluster) as engine:
            table = hard_examples.compute(
                *stores, sources=self.source, config=config, engine=engine
            )
        note(*image_notes(table.attrs["shared_images"]))
        if self.out is not None:
            strict_json.write({"rows": table}, self.out / "hard.json")
            write_csv(table, self.out / "hard.csv")
            self._galleries(table, *stores, self.out)
            self._label_errors(*stores, table.attrs["sources"]["large"], self.out)
            self._accuracy(table.attrs["accuracy"], stores[1], self.out)
        if self.json:
            named = ("eligible", "sources", "accuracy", "unseen_classes", "shared_images")
            found = {name: table.attrs[name] for name in named}
            show(strict_json.dumps({"rows": table, **found}))
        else:
            shown = ["image_id", "label", "drop", "s2_drop", "rare", "ambiguous"]
            show_table(table[shown], ".3f")
            show(
                f"{table.attrs['eligible']} test images on which only the larger model loses less; "
                f"of the {len(table)} shown {table['rare'].sum()} are rare and "
                f"{table['ambiguous'].sum()} ambiguous"
            )
        note(*unseen_lines(table.attrs["unseen_classes"]))
        return 0

    def _galleries(
        self, table: pd.DataFrame, train: FeatureStore, test: FeatureStore, out: Path
    ) -> None:
        from workbench.datasets.pictures import reader
        from workbench.figures import style
        from workbench.figures.gallery import Pictures, sheet
        from workbench.figures.gallery_page import write_html

        pictures = Pictures(reader(train), reader(test), train.image_ids, test.image_ids)
        title = f"Hard examples: {', '.join(table.attrs['sources'].values())}"
        write_html(table, pictures, out / "hard.html", title)
        written = ["hard.html"]
        if len(table):  # photographs inside an SVG would only make it large
            paths = style.save(sheet(table.head(6), pictures), out / "hard", ["png"])
            written += [path.name for path in paths]
        note(f"wrote {' and '.join(written)} in {out}")

    def _label_errors(
        self, train: FeatureStore, test: FeatureStore, source: str, out: Path
    ) -> None:
        from analyses import label_errors

        found = label_errors.find(
            train, test, source=source, pooling=self.probe.pooling, threshold=self.duplicates,
            device=self.config.device,
        )  # fmt: skip
        write_csv(found.duplicates, out / "duplicates.csv")
        write_csv(found.label_errors, out / "label_errors.csv")
        note(
            f"{len(found.duplicates)} near-duplicates across train and test, "
            f"{len(found.label_errors)} label-error candidates"
        )
        if found.unseen_classes:
            note(f"labels not looked at: those of {unseen_counts(found.unseen_classes)}")

    def _accuracy(self, rows: list[dict], store: FeatureStore, out: Path) -> None:
        from workbench.figures.curve import write_curve

        table = pd.DataFrame(rows)
        write_table(table, out / "accuracy")
        label = "test accuracy"
        write_curve(table, store, out / "accuracy", metric="test_accuracy", label=label)
