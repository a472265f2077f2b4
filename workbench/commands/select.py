"""``workbench select``: which crops of the larger scales are needed, and who can tell before."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pandas as pd
import tyro

import feature_store
from analyses.reading.progress import watched
from analyses.reading.splits import image_notes
from analyses.scale_selection.config import SelectionConfig
from feature_store import FeatureStore, InputError
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.results.terminal import show_table

if TYPE_CHECKING:
    from analyses.scale_selection.layout import Layout
    from analyses.scale_selection.task import Task

Policy = Literal["oracle", "random", "centre", "bottom-up", "norm", "variance", "top-down"]


@dataclass(frozen=True, kw_only=True)
class Select:
    r"""How much of S2's gain is kept if only some crops of the larger scales are run.

    Examples
    --------
    workbench select --train train.zarr --test test.zarr --model bundled:efficientnet_lite0 \
        --scales 1x 2x --target bundled:efficientnet_lite2@1x --policy random \
        --policy bottom-up --budgets 0 0.25 0.5 1 --out runs/select
    """

    train: str
    """Store of the training images, on which predictors and policies are fitted."""
    test: str
    """Store of the test images; must not share images with --train."""
    model: str
    """MODEL or MODEL#TAP whose crops are chosen."""
    scales: tuple[str, ...]
    """The base scale and larger ones, in pixels (224 448) or multiples of the native size (1x 2x).
    Stored merged maps (2x.unpooled) are preferred, since only they separate all crops exactly."""
    target: str | None = None
    """Source to reconstruct from the maps; instead of --task."""
    task: Literal["probe", "segmentation", "depth"] | None = None
    """What a linear head predicts: classes of images, masks or depth."""
    policy: tyro.conf.UseAppendAction[tuple[Policy, ...]] = ()
    """Policy that chooses the crops; repeat for several. By default oracle (knows the true loss of
    every crop), random, centre, bottom-up (fitted on base tokens) and norm."""
    source: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Other stored sources, such as larger models, on the same task: the figure's grey curve."""
    embeddings: Path | None = None
    """For --policy top-down: .npy file of class or text embeddings (text, channel)."""
    depth_unit: Literal["m", "mm"] = "m"
    """Unit of the dataset's depth maps, with --task depth."""
    config: Annotated[
        SelectionConfig,
        options_of(
            SelectionConfig,
            *("budgets", "l2", "ridge", "folds", "resamples", "seed", "keep_shared"),
        ),
    ] = field(default_factory=lambda: SelectionConfig(progress=watched()))
    pictures: int = 4
    """Test images drawn with their chosen crops, with --out."""
    out: Path | None = None
    """Folder for the table, the figures, and policy.json of a fitted policy."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        if (self.target is None) == (self.task is None):
            raise InputError("name either a --target to reconstruct, or a --task")
        config = replace(self.config, policies=self.policy or self.config.policies)
        from analyses.scale_selection import Layout, compute
        from workbench.cost.selection import others, with_gmacs

        stores = feature_store.open(self.train), feature_store.open(self.test)
        layout = Layout.stored(stores[0], self.model, self.scales)
        if Layout.stored(stores[1], self.model, self.scales).describe() != layout.describe():
            raise InputError(f"{self.train} and {self.test} were extracted in different ways")
        others_of = [str(stores[1].resolve(name)) for name in self.source]
        if self.target is not None and str(stores[1].resolve(self.target)) in others_of:
            raise InputError(f"--source {self.target} is the target; it predicts itself")
        for name in layout.inexact:
            note(f"{name} is pooled across the borders of crops; {name}.unpooled would be exact")
        task = self._task(stores, layout, config)
        table = compute(
            *stores, layout=layout, task=task, config=config, queries=self._embeddings()
        )
        table = with_gmacs(table, layout, stores[0])
        larger = pd.DataFrame()
        if self.source:
            larger = others(stores, self.source, task, config, self.depth_unit)
        note(*image_notes(table.attrs["shared_images"]))
        if self.out is not None:
            self._write(table, larger, layout, stores[1], self.out)
        if self.json:
            names = ("kept", "config", "shared_images")
            found = {"rows": table, **{name: table.attrs[name] for name in names}}
            show(strict_json.dumps(found | {"sources": larger, "scales": layout.describe()}))
        else:
            show_table(table[SHOWN])
            show_table(larger)
            show_table(kept_table(table))
        return 0

    def _task(
        self, stores: tuple[FeatureStore, FeatureStore], layout: Layout, config: SelectionConfig
    ) -> Task:
        from analyses.scale_selection import DenseTask, ProbeTask, ReconstructTask
        from workbench.datasets.target_maps import targets_for

        if self.target is not None:
            return ReconstructTask(stores, self.target, layout.grid)
        if self.task == "probe":
            return ProbeTask(stores, config)
        assert self.task is not None
        train, test = (targets_for(s, layout.base, self.task, self.depth_unit) for s in stores)
        return DenseTask(stores, (train, test), layout.grid, self.task, config)

    def _embeddings(self) -> Any:
        if self.embeddings is None:
            return None
        import numpy as np

        try:
            return np.load(self.embeddings, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.embeddings} is not an array in a .npy file ({error}); save embeddings of "
                "dims (text, channel) with numpy.save"
            ) from error

    def _write(
        self, table: pd.DataFrame, others: pd.DataFrame, layout: Layout, test: FeatureStore,
        out: Path,
    ) -> None:  # fmt: skip
        from workbench.figures import selection, style
        from workbench.results.table_files import write_table

        paths = [
            *write_table(table, out / "selection", shown=table[SHOWN]),
            *write_table(kept_table(table), out / "selection_kept"),
        ]
        if (fitted := table.attrs["fitted"]) is not None:
            strict_json.write(fitted.as_json(), out / "policy.json")
            paths.append(out / "policy.json")
        if len(others):
            paths += write_table(others, out / "selection_sources")
        if table["gmacs"].notna().all():
            paths += style.save(selection.draw_curve(table, others), out / "selection")
        if self.pictures:
            drawn = selection.draw_chosen(test, layout, table, count=self.pictures)
            paths += style.save(drawn, out / "selection_crops", ["png"])
        note(f"wrote {', '.join(path.name for path in paths)} in {out}")


def kept_table(table: pd.DataFrame) -> pd.DataFrame:
    """Policy to the smallest budget that keeps 95 % of the gain of all crops; NaN if none does."""
    kept = table.attrs["kept"]
    return pd.DataFrame({"policy": list(kept), "budget_for_95_percent": list(kept.values())})


SHOWN = [
    "policy", "budget", "crops_per_image", "gmacs", "metric", "metric_name", "low", "high",
    "share_of_full_gain",
]  # fmt: skip
