"""``workbench probe``: linear probe accuracy for each source."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import tyro

import feature_store
from analyses.configs import DenseConfig, FewShotConfig, ProbeConfig
from analyses.linear.config import HeadConfig, MinibatchConfig
from analyses.reading.engine import Engine
from analyses.reading.labels import unseen_lines
from analyses.reading.progress import watched
from analyses.reading.splits import image_notes
from analyses.statistics import bootstrap
from feature_store import FeatureStore, InputError
from workbench.cluster import EngineOptions
from workbench.cluster.engine import connect
from workbench.heads.config import DecoderConfig
from workbench.models.run_names import other_scales
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.results.table_files import write_table
from workbench.results.terminal import show_table
from workbench.training.config import TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Probe:
    r"""How well a linear head on each source's pooled features tells the classes apart.

    Examples
    --------
    workbench probe --train runs/demo/train.zarr --test runs/demo/test.zarr \
        --source bundled:efficientnet_lite0@1x --source bundled:efficientnet_lite0@1x+2x \
        --out runs/probe
    """

    train: str
    """Store of the training images; must have labels."""
    test: str
    """Store of the test images; classes are matched by name."""
    source: tyro.conf.UseAppendAction[tuple[str, ...]]
    """MODEL[#TAP]@SCALE[+SCALE...]; repeat for each source."""
    probe: Annotated[
        ProbeConfig,
        options_of(ProbeConfig, "recipe", "pooling", "merge", "l2", "seed", "keep_shared"),
    ] = field(default_factory=lambda: ProbeConfig(progress=watched()))
    minibatch: Annotated[MinibatchConfig, options_of(MinibatchConfig, "optimizer", "device")] = (
        field(default_factory=MinibatchConfig)
    )
    dense: Literal["segmentation", "depth"] | None = None
    """Instead: a head on every token, for datasets with masks or depth."""
    per_token: Annotated[
        DenseConfig, options_of(DenseConfig, "train_tokens", "ridge", "depth_cap", "median_scaling")
    ] = field(default_factory=lambda: DenseConfig(progress=watched()))
    depth_unit: Literal["m", "mm"] = "m"
    """Unit of the dataset's depth maps, with --dense depth."""
    eigen_crop: Literal["none", "nyu", "kitti"] = "none"
    """Score depth inside the crop of Eigen et al. for this data set: nyu or kitti."""
    decoder: Annotated[
        DecoderConfig,
        options_of(
            DecoderConfig, "head", "hidden", "layers", "stride", "batch", "learning_rate",
            "max_depth",
        ),
    ] = field(default_factory=DecoderConfig)  # fmt: skip
    training: Annotated[
        TrainingConfig, options_of(TrainingConfig, "iterations", "checkpoint_every")
    ] = field(default_factory=TrainingConfig)
    few_shot: tuple[int, ...] = ()
    """Also: accuracy of closed-form ridge heads on so many images per class, such as 1 5 10 25."""
    drawn: Annotated[FewShotConfig, options_of(FewShotConfig, "repeats")] = field(
        default_factory=lambda: FewShotConfig(progress=watched())
    )
    out: Path | None = None
    """Folder for probe.csv, .md, .tex and the figures."""
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        """Probe every source and report; the exit status."""
        self._refuse_decoder_options()
        return self._dense(self.dense) if self.dense else self._pooled()

    def _dense(self, task: Literal["segmentation", "depth"]) -> int:
        # Deferred: torch, behind these, takes 2 s to import.
        from analyses import dense_probe
        from workbench.datasets.target_maps import targets_for
        from workbench.heads.report import METRICS, class_table, write_dense

        self._refuse_pooled_options()
        self.decoder.check_task(task)
        l2, ridge = self.probe.l2, self.per_token.ridge
        if task == "depth" and l2 is not None and ridge is None:
            note("note: the penalty of --dense depth is now --ridge")
            ridge = l2
        config = replace(
            self.per_token, task=task, merge=self.probe.merge, l2=l2, ridge=ridge,
            seed=self.probe.seed, keep_shared=self.probe.keep_shared,
            head=replace(self.per_token.head, device=self.minibatch.device),
        )  # fmt: skip
        stores = feature_store.open(self.train), feature_store.open(self.test)
        self._note_scales(stores[0])
        parts = []
        for source in self.source:  # models may crop differently: each has its own targets
            train, test = (
                targets_for(store, source, task, self.depth_unit, crop)
                for store, crop in zip(stores, ("none", self.eigen_crop), strict=True)
            )
            asked: dict[str, Any] = {
                "sources": [source], "targets": (train, test), "config": config
            }  # fmt: skip
            if self.decoder.head == "linear":
                parts.append(dense_probe.compute(*stores, **asked))
                continue
            part = self._decoded(*stores, **asked)
            if part is None:
                return 1
            parts.append(part)
        table = pd.concat(parts, ignore_index=True)
        resampled = {k: v for part in parts for k, v in part.attrs["resampled"].items()}
        images = parts[0].attrs["shared_images"]
        note(*image_notes(images))
        against = bootstrap.differences(table, METRICS[task][0], resampled)
        classes = class_table(parts) if task == "segmentation" else pd.DataFrame()
        if self.out is not None:
            write_dense(table, against, classes, task, stores[1], self.out)
        if self.json:
            found = {"rows": table, "differences": against, "shared_images": images}
            if len(classes):
                found["classes"] = classes
            show(strict_json.dumps(found))
        else:
            show_table(table)
            show_table(against)
        return 0

    def _decoded(
        self, train: FeatureStore, test: FeatureStore, **asked: Any
    ) -> pd.DataFrame | None:
        """A decoder's row; None where its training was asked to stop."""
        from workbench.heads import fit  # deferred: torch

        with tempfile.TemporaryDirectory() as temporary:  # without --out nothing is resumed
            part = fit.compute(
                train, test, **asked, training=self.training, folder=self.out or Path(temporary),
                decoder=replace(self.decoder, device=self.minibatch.device), log=note,
            )  # fmt: skip
        if part is None:
            where = "" if self.out else "; with --out, the training would resume"
            note(f"workbench probe: stopped before the end; repeat the command to resume{where}")
        return part

    def _refuse_decoder_options(self) -> None:
        """Refuse what the chosen head would silently ignore."""
        linear = self.decoder.head == "linear"
        asked = replace(self.decoder, head="linear") != DecoderConfig()
        if linear and (asked or self.training != TrainingConfig()):
            raise InputError(
                "--iterations and the sizes of a decoder are for --head mask2former, upernet, vpd "
                "or dpt; name one, or leave them out"
            )
        if self.dense is None and not linear:
            raise InputError(
                f"--head {self.decoder.head} predicts maps; add --dense segmentation or depth"
            )
        given = {
            "--l2": self.probe.l2 is not None,
            "--ridge": self.per_token.ridge is not None,
            "--train-tokens": self.per_token.train_tokens != DenseConfig().train_tokens,
        }
        wrong = [name for name, is_given in given.items() if is_given]
        if wrong and not linear:
            raise InputError(f"{', '.join(wrong)} is for --head linear; leave it out")

    def _refuse_pooled_options(self) -> None:
        """Refuse what a head on every token would silently ignore."""
        given = {
            "--recipe paper": self.probe.recipe != "converged",
            "--pooling prefix": self.probe.pooling != "mean",
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
        from analyses import probe  # deferred: torch takes 2 s to import

        head = HeadConfig(device=self.minibatch.device)
        config = replace(self.probe, head=head, minibatch=self.minibatch)
        stores = feature_store.open(self.train), feature_store.open(self.test)
        self._note_scales(stores[0])
        with connect(self.cluster) as engine:
            table = probe.compute(*stores, sources=self.source, config=config, engine=engine)
            shots = self._few_shot(*stores, engine)
        note(*image_notes(table.attrs["shared_images"]))
        against = bootstrap.differences(table, "test_accuracy", table.attrs["resampled"])
        if self.out is not None:
            self._write(table, against, stores[1], self.out)
            if shots is not None:
                self._write_shots(shots, stores[1], self.out)
        if self.json:
            found = {"rows": table, "differences": against}
            found |= {k: table.attrs[k] for k in ("config", "unseen_classes", "shared_images")}
            show(strict_json.dumps(found | ({} if shots is None else {"few_shot": shots})))
        else:
            show_table(table[_SHOWN])
            show_table(against)
            if shots is not None:
                show_table(shots)
        note(*unseen_lines(table.attrs["unseen_classes"]))
        for name in table.loc[~table["converged"], "source"]:
            note(f"warning: the head for {name} did not converge; raise --l2")
        return 0

    def _note_scales(self, store: FeatureStore) -> None:
        """Name models that were trained at other scales than those they are used at."""
        sources = [store.resolve(name) for name in self.source]
        note(*other_scales((s, store.source(s.singles()[0]).manifest) for s in sources))

    def _few_shot(
        self, train: FeatureStore, test: FeatureStore, engine: Engine | None
    ) -> pd.DataFrame | None:
        from analyses import few_shot  # deferred: torch takes 2 s to import

        if not self.few_shot:
            return None
        config = replace(
            self.drawn, shots=self.few_shot, pooling=self.probe.pooling, merge=self.probe.merge,
            seed=self.probe.seed, keep_shared=self.probe.keep_shared,
        )  # fmt: skip
        return few_shot.compute(train, test, sources=self.source, config=config, engine=engine)

    def _write(
        self, table: pd.DataFrame, against: pd.DataFrame, store: FeatureStore, out: Path
    ) -> None:
        # Deferred: matplotlib takes 1 s to import.
        from workbench.figures import style
        from workbench.figures.curve import write_curve
        from workbench.figures.probe import draw_sources

        label = "test accuracy"
        paths = [
            *write_table(table, out / "probe", shown=table[_SHOWN]),
            *(write_table(against, out / "probe_differences") if len(against) else ()),
            *style.save(draw_sources(table), out / "probe"),
            *write_curve(table, store, out / "probe_curve", metric="test_accuracy", label=label),
        ]
        note(f"wrote {', '.join(p.name for p in paths)} in {out}")

    def _write_shots(self, shots: pd.DataFrame, store: FeatureStore, out: Path) -> None:
        from workbench.figures.curve import write_curve  # deferred: matplotlib takes 1 s

        write_table(shots, out / "few_shot")
        most = shots["shots"].max()
        write_curve(
            shots[shots["shots"] == most].reset_index(drop=True),
            store,
            out / "few_shot",
            metric="test_accuracy",
            label=f"test accuracy\n({most} images per class)",
        )


_SHOWN = ["source", "train_loss", "train_accuracy", "test_accuracy", "low", "high", "l2"]
