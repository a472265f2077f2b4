"""``workbench probe``: linear probe accuracy for each source."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from workbench.cluster import EngineOptions
from workbench.results import strict_json
from workbench.results.messages import note, show


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How well a linear head on each source's pooled features tells the classes apart.

    Example: workbench probe --train runs/demo/textiles_train.zarr
    --test runs/demo/textiles_test.zarr --source bundled:efficientnet_lite0@1x
    --source bundled:efficientnet_lite0@1x+2x --out runs/probe
    """

    train: str
    """Store of the training images; must have labels."""
    test: str
    """Store of the test images; classes are matched by name."""
    source: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """MODEL[#TAP]@SCALE[+SCALE...]; repeat for each source."""
    recipe: Literal["converged", "paper"] = "converged"
    """Regularised head trained to convergence, or the paper's 30 epochs of minibatches."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Optimiser of the paper's recipe (the paper names none)."""
    pooling: Literal["mean", "prefix"] = "mean"
    """What stands for an image: the mean over its tokens, or its first prefix token (CLS)."""
    merge: Literal["concat", "add"] = "concat"
    """How the scales of an S2 source combine."""
    dense: Literal["segmentation", "depth"] | None = None
    """Instead: a linear head on every token, for datasets with masks or depth."""
    train_tokens: int = 2**17
    """Tokens that a dense head is trained on at most, equally many of each image."""
    l2: float | None = None
    """Penalty of the converged head; by default chosen on held-out training images."""
    ridge: float | None = None
    """Penalty of the depth head over the mean eigenvalue of the tokens' scatter; by default chosen
    on held-out training images."""
    few_shot: tuple[int, ...] = ()
    """Also: accuracy of closed-form ridge heads on so many images per class, such as 1 5 10 25."""
    repeats: int = 20
    """Draws of the few-shot images."""
    seed: int = 0
    """Seed of folds, minibatch order, drawn tokens and resamples."""
    device: str = "cpu"
    """Torch device of the head's products."""
    out: Path | None = None
    """Folder for probe.csv, .md, .tex and the figures."""
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        """Probe every source and report; the exit status."""
        return self._dense(self.dense) if self.dense else self._pooled()

    def _dense(self, task: Literal["segmentation", "depth"]) -> int:
        import pandas as pd

        import feature_store
        from analyses import dense_probe
        from analyses.linear.logistic import HeadConfig
        from analyses.statistics import bootstrap
        from workbench.datasets.target_maps import targets_for

        self._refuse_pooled_options()
        ridge = self.ridge
        if task == "depth" and self.l2 is not None and ridge is None:
            note("note: the penalty of --dense depth is now --ridge")
            ridge = self.l2
        config = dense_probe.DenseConfig(
            task=task, merge=self.merge, train_tokens=self.train_tokens, l2=self.l2, ridge=ridge,
            seed=self.seed, head=HeadConfig(tolerance=1e-4, device=self.device),
        )  # fmt: skip
        stores = feature_store.open(self.train), feature_store.open(self.test)
        parts = []
        for source in self.source:  # models may crop differently: each has its own targets
            train, test = (targets_for(store, source, task) for store in stores)
            parts.append(
                dense_probe.compute(*stores, sources=[source], targets=(train, test), config=config)
            )
        table = pd.concat(parts, ignore_index=True)
        resampled: dict = {}
        for part in parts:
            resampled |= part.attrs["resampled"]
        against = bootstrap.differences(table, _DENSE[task][0], resampled)
        if self.out is not None:
            self._write_dense(table, against, task, self.out)
        if self.json:
            show(
                strict_json.dumps(
                    {
                        "rows": strict_json.records(table),
                        "differences": strict_json.records(against),
                    }
                )
            )
        else:
            _show(table)
            _show(against)
        return 0

    def _refuse_pooled_options(self) -> None:
        """Refuse what a head on every token would silently ignore."""
        from feature_store.errors import InputError

        given = {
            "--recipe paper": self.recipe != "converged",
            "--pooling prefix": self.pooling != "mean",
            "--few-shot": bool(self.few_shot),
            f"--engine {self.cluster.engine}": self.cluster.engine != "local",
        }
        wrong = [name for name, is_given in given.items() if is_given]
        if wrong:
            raise InputError(
                f"--dense trains a converged head on every token, in this process; leave out "
                f"{', '.join(wrong)}"
            )

    def _pooled(self) -> int:
        import feature_store
        from analyses import probe
        from analyses.linear.logistic import HeadConfig
        from analyses.linear.sgd import MinibatchConfig
        from analyses.reading.labels import unseen_lines
        from analyses.reading.progress import watched
        from analyses.statistics import bootstrap
        from workbench.cluster.engine import connect

        config = probe.ProbeConfig(
            recipe=self.recipe,
            pooling=self.pooling,
            merge=self.merge,
            l2=self.l2,
            seed=self.seed,
            head=HeadConfig(device=self.device),
            minibatch=MinibatchConfig(optimizer=self.optimizer, device=self.device),
            progress=watched(),
        )
        stores = feature_store.open(self.train), feature_store.open(self.test)
        with connect(self.cluster) as engine:
            table = probe.compute(*stores, sources=self.source, config=config, engine=engine)
            shots = self._few_shot(*stores, engine)
        against = bootstrap.differences(table, "test_accuracy", table.attrs["resampled"])
        if self.out is not None:
            self._write(table, against, self.out)
            if shots is not None:
                self._write_shots(shots, self.out)
        if self.json:
            found = {
                "rows": strict_json.records(table),
                "differences": strict_json.records(against),
                "config": table.attrs["config"],
                "unseen_classes": table.attrs["unseen_classes"],
            }
            if shots is not None:
                found["few_shot"] = strict_json.records(shots)
            show(strict_json.dumps(found))
        else:
            _show(table[_SHOWN])
            _show(against)
            if shots is not None:
                _show(shots)
        for line in unseen_lines(table.attrs["unseen_classes"]):
            note(line)
        slow = table.loc[~table["converged"], "source"]
        for name in slow:
            note(f"warning: the head for {name} did not converge; raise --l2")
        return 0

    def _few_shot(self, train, test, engine):
        from analyses import few_shot
        from analyses.reading.progress import watched

        if not self.few_shot:
            return None
        config = few_shot.FewShotConfig(
            shots=self.few_shot, repeats=self.repeats, pooling=self.pooling, merge=self.merge,
            seed=self.seed, progress=watched(),
        )  # fmt: skip
        return few_shot.compute(train, test, sources=self.source, config=config, engine=engine)

    def _write(self, table, against, out: Path) -> None:
        from workbench.figures.curve import write_curve
        from workbench.figures.probe import draw_sources
        from workbench.results.table_files import write_table

        paths = [
            *write_table(table, out / "probe", shown=table[_SHOWN]),
            *(write_table(against, out / "probe_differences") if len(against) else ()),
            *draw_sources(table, out / "probe"),
            *write_curve(table, out / "curve", metric="test_accuracy", label="test accuracy"),
        ]
        note(f"wrote {', '.join(p.name for p in paths)} in {out}")

    def _write_shots(self, shots, out: Path) -> None:
        from workbench.figures.curve import write_curve
        from workbench.results.table_files import write_table

        write_table(shots, out / "few_shot")
        most = shots["shots"].max()
        write_curve(
            shots[shots["shots"] == most].reset_index(drop=True),
            out / "few_shot",
            metric="test_accuracy",
            label=f"test accuracy\n({most} images per class)",
        )

    def _write_dense(self, table, against, task: str, out: Path) -> None:
        from workbench.figures.curve import write_curve
        from workbench.figures.probe import draw_sources
        from workbench.results.table_files import write_table

        metric, label = _DENSE[task]
        write_table(table, out / task)
        if len(against):
            write_table(against, out / f"{task}_differences")
        draw_sources(table, out / task, metric=metric, label=label)
        write_curve(table, out / f"{task}_curve", metric=metric, label=label)


def _show(table) -> None:
    if len(table):
        show(table.to_string(index=False, float_format="{:.4f}".format))


_SHOWN = ["source", "train_loss", "train_accuracy", "test_accuracy", "low", "high", "l2"]
_DENSE = {
    "segmentation": ("miou", "mean IoU on unseen images"),
    "depth": ("rmse", "depth error, RMSE in metres\n(lower is better)"),
}
"""Task to the metric that is drawn, and what the axis calls it."""
