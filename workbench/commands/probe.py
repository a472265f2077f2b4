"""``workbench probe``: linear probe accuracy for each source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import tyro

import feature_store
from analyses.configs import FewShotConfig, ProbeConfig
from analyses.linear.config import HeadConfig, MinibatchConfig
from analyses.reading.engine import Engine
from analyses.reading.label_rule import compared_names, rule_lines
from analyses.reading.labels import unseen_lines
from analyses.reading.progress import watched
from analyses.reading.splits import image_notes
from analyses.statistics import bootstrap
from feature_store import FeatureStore, InputError
from workbench.cluster import EngineOptions
from workbench.cluster.engine import connect
from workbench.heads.config import DecoderConfig
from workbench.heads.options import DenseOptions
from workbench.models.run_names import other_scales
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import note, show
from workbench.results.table_files import write_table
from workbench.results.terminal import show_table


@dataclass(frozen=True, kw_only=True)
class Probe:
    r"""How well a linear head on each source's pooled features tells the classes apart.

    Examples
    --------
    workbench probe --train runs/demo/train.zarr --test runs/demo/test.zarr \
        --source bundled:efficientnet_lite0@1x --source bundled:efficientnet_lite0@1x+2x \
        --out runs/probe
    """

    train: str | None = None
    """Store of the training images; must have labels. With --crop or --published a dataset name
    will do; --zero-shot needs none."""
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
    maps: Annotated[DenseOptions, tyro.conf.arg(name="")] = field(default_factory=DenseOptions)
    zero_shot: bool = False
    """Instead, train nothing: compare images with the names of their classes, as texts. For sources
    open_clip:ARCH/PRETRAINED#proj; class names may be words or ImageNet's WordNet IDs."""
    few_shot: tuple[int, ...] = ()
    """Also report the accuracy of closed-form ridge heads on few images per class, such as 1 5 10
    25."""
    drawn: Annotated[FewShotConfig, options_of(FewShotConfig, "repeats")] = field(
        default_factory=lambda: FewShotConfig(progress=watched())
    )
    out: Path | None = None
    """Folder for probe.csv, .md, .tex and the figures."""
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        self.maps.refuse_ignored(self.probe.l2, self.probe.keep_shared)
        if self.zero_shot:
            return self._zero_shot()
        if self.train is None:
            raise InputError("--train is missing; name the store of the training images")
        if self.maps.dense is not None:
            return self._dense(self.train, self.maps.dense)
        return self._pooled(self.train)

    def _zero_shot(self) -> int:
        from analyses import zero_shot
        from workbench.models.text_tower import TAP, class_vectors

        if self.maps.dense is not None or self.train is not None:
            raise InputError("--zero-shot trains nothing; leave out --train and --dense")
        more = "merge", "l2", "seed", "keep_shared"
        self._refuse_options("--zero-shot trains nothing", more)
        store = feature_store.open(self.test)
        names, classes = compared_names(store), {}
        for source in self.source:
            parsed = store.resolve(source)
            if parsed.tap != TAP:
                raise InputError(
                    f"{source} lies before the projection to the space of texts; extract and name "
                    f"{parsed.model}#{TAP}"
                )
            classes[source] = class_vectors(parsed.model, names, self.minibatch.device)
        table = zero_shot.compute(store, sources=self.source, classes=classes)
        against = bootstrap.differences(table, "test_accuracy", table.attrs["resampled"])
        if self.out is not None:
            from workbench.figures import style
            from workbench.figures.probe import draw_sources

            write_table(table, self.out / "zero_shot")
            drawn = draw_sources(table, label="zero-shot accuracy")
            style.save(drawn, self.out / "zero_shot")
        rule = _rule(table, store)
        if self.json:
            found = {"rows": table, "differences": against, "label_rule": rule}
            show(strict_json.dumps(found))
        else:
            show_table(table)
            show_table(against)
        note(*rule_lines(rule))
        return 0

    def _dense(self, train: str, task: Literal["segmentation", "depth"]) -> int:
        from workbench.heads.run import Asked, estimate, run

        self._refuse_options("--dense trains a converged head on every token, in this process")
        maps, device = self.maps, self.minibatch.device
        DecoderConfig(head=maps.head()).check_task(task)
        l2, ridge = self.probe.l2, maps.per_token.ridge
        if task == "depth" and l2 is not None and ridge is None:
            note("note: the penalty of --dense depth is now --ridge")
            ridge = l2
        config = replace(
            maps.per_token, task=task, merge=self.probe.merge, l2=l2, ridge=ridge,
            seed=self.probe.seed, keep_shared=self.probe.keep_shared,
            kept_maps=PICTURES if self.out is not None else 0,
            head=replace(maps.per_token.head, device=device),
        )  # fmt: skip
        asked = Asked(
            train=train, test=self.test, sources=self.source, maps=maps, config=config,
            device=device, out=self.out, json=self.json,
        )  # fmt: skip
        if maps.estimate:
            return estimate(asked)
        if not maps.crops_images:
            self._note_scales(feature_store.open(train))
        return run(asked)

    def _refuse_options(self, why: str, more: Sequence[str] = ()) -> None:
        """Refuse what only a head on pooled features looks at, and more fields of its config."""
        given = {
            "--recipe paper": self.probe.recipe != "converged",
            "--pooling prefix": self.probe.pooling != "mean",
            "--few-shot": bool(self.few_shot),
            f"--engine {self.cluster.engine}": self.cluster.engine != "local",
        }
        for name in more:
            default = getattr(ProbeConfig(), name)
            given[f"--{name.replace('_', '-')}"] = getattr(self.probe, name) != default
        if wrong := [name for name, is_given in given.items() if is_given]:
            raise InputError(f"{why}; leave out {', '.join(wrong)}")

    def _pooled(self, train: str) -> int:
        from analyses import probe

        head = HeadConfig(device=self.minibatch.device)
        config = replace(self.probe, head=head, minibatch=self.minibatch)
        stores = feature_store.open(train), feature_store.open(self.test)
        self._note_scales(stores[0])
        with connect(self.cluster) as engine:
            table = probe.compute(*stores, sources=self.source, config=config, engine=engine)
            shots = self._few_shot(*stores, engine)
        rule = _rule(table, stores[1])
        note(*image_notes(table.attrs["shared_images"]), *rule_lines(rule))
        against = bootstrap.differences(table, "test_accuracy", table.attrs["resampled"])
        if self.out is not None:
            self._write(table, against, stores[1], self.out)
            if shots is not None:
                self._write_shots(shots, stores[1], self.out)
        if self.json:
            found = {"rows": table, "differences": against}
            found |= {k: table.attrs[k] for k in ("config", "unseen_classes", "shared_images")}
            found["label_rule"] = rule
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
        from analyses import few_shot

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
        from workbench.figures.curve import write_curve

        write_table(shots, out / "few_shot")
        most = shots["shots"].max()
        drawn = shots[shots["shots"] == most].reset_index(drop=True)
        label = f"test accuracy\n({most} images per class)"
        write_curve(drawn, store, out / "few_shot", metric="test_accuracy", label=label)


def _rule(table: pd.DataFrame, store: FeatureStore) -> dict | None:
    """How the test labels are scored, and how many images of the dataset have none."""
    from workbench.datasets.registry import left_out  # deferred: Pillow and the readers

    rule = table.attrs["label_rule"]
    return rule and rule | {"images_left_out": left_out(store)}


PICTURES = 4
"""Test images in the picture of predictions."""
_SHOWN = ["source", "train_loss", "train_accuracy", "test_accuracy", "low", "high", "l2"]
