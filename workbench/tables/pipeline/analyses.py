"""The analyses as tables ask for them: from sources and stores to values with intervals.

Each function returns, for every source, field → (value, low, high) in the units that the papers
print; low and high are None if there is no interval. Values on test images also have their
bootstrap resamples. Probes resample all rows of the test store with a fixed seed, so resamples of
one analysis on the same images are paired even if they come from separate calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

import analyses
from analyses.linear.logistic import HeadConfig
from analyses.linear.sgd import MinibatchConfig
from analyses.reading.label_rule import compared_names, rule_lines
from analyses.reading.labels import unseen_lines
from analyses.reading.splits import image_notes
from feature_store import Source
from workbench import cost
from workbench.datasets.target_maps import targets_for
from workbench.tables.pipeline import committed, decoders, laws
from workbench.tables.records.measurement import Context, Measured, Value


def probe(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Top-1 accuracy in per cent with Wilson's interval, and the training loss in nats."""
    config = analyses.probe.ProbeConfig(
        recipe=options.get("recipe", "converged"),
        head=HeadConfig(device=context.device),
        minibatch=MinibatchConfig(batch=options.get("batch", 512), device=context.device),
    )
    stores = context.stores["train"], context.stores["test"]
    table = analyses.probe.compute(*stores, sources=sources, config=config)
    notes = [f"{s}: the head did not converge" for s in table.loc[~table["converged"], "source"]]
    values: dict[str, dict[str, Value]] = {
        row["source"]: {
            "top1": _percent(row, "test_accuracy"),
            "train_loss": (row["train_loss"], None, None),
        }
        for row in table.to_dict("records")
    }
    resampled = {s: {"top1": _rounded(found, 100)} for s, found in table.attrs["resampled"].items()}
    said = tuple(notes) if config.recipe == "converged" else ()
    said += _notes(table)
    return Measured(values, resampled, said, config=asdict(config))


def few_shot(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Accuracy in per cent from few images per class, Student's interval over draws."""
    config = analyses.few_shot.FewShotConfig(shots=(options["shots"],))
    stores = context.stores["train"], context.stores["test"]
    table = analyses.few_shot.compute(*stores, sources=sources, config=config)
    values: dict[str, dict[str, Value]] = {
        row["source"]: {"top1": _percent(row, "test_accuracy")} for row in table.to_dict("records")
    }
    of_shots = table.attrs["resampled"][options["shots"]]
    resampled = {s: {"top1": _rounded(found, 100)} for s, found in of_shots.items()}
    return Measured(values, resampled, _notes(table), config=asdict(config))


def zero_shot(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Top-1 accuracy in per cent of the nearest class name, with Wilson's interval."""
    # Deferred: open_clip takes 2 s to import.
    from workbench.models.text_tower import class_vectors

    config, store = analyses.zero_shot.ZeroShotConfig(), context.stores["test"]
    names = compared_names(store)
    classes = {s: class_vectors(Source.parse(s).model, names, context.device) for s in sources}
    table = analyses.zero_shot.compute(store, sources=sources, classes=classes, config=config)
    values: dict[str, dict[str, Value]] = {
        row["source"]: {"top1": _percent(row, "test_accuracy")} for row in table.to_dict("records")
    }
    resampled = {s: {"top1": _rounded(found, 100)} for s, found in table.attrs["resampled"].items()}
    said = tuple(rule_lines(table.attrs["label_rule"]))
    return Measured(values, resampled, said, config=asdict(config))


def _notes(table: pd.DataFrame) -> tuple[str, ...]:
    """Test images that were left out or that count as errors, and why."""
    left_out = image_notes(table.attrs["shared_images"])
    rule = rule_lines(table.attrs["label_rule"])
    return *left_out, *rule, *unseen_lines(table.attrs["unseen_classes"])


def dense(
    task: str, context: Context, sources: Sequence[str], options: Mapping[str, Any]
) -> Measured:
    """mIoU in per cent, or RMSE in metres, of a linear head on tokens; bootstrap over images."""
    config = analyses.dense_probe.DenseConfig(
        task=task,  # type: ignore[arg-type]
        merge=options.get("merge", "concat"),
        head=HeadConfig(tolerance=1e-4, device=context.device),
    )
    stores = context.stores["train"], context.stores["test"]
    values: dict[str, dict[str, Value]] = {}
    resampled: dict[str, dict[str, list[float]]] = {}
    drawn: dict[str, list[str]] = {}
    name, factor = ("miou", 100) if task == "segmentation" else ("rmse", 1)
    for source in sources:
        targets = targets_for(stores[0], source, task), targets_for(stores[1], source, task)
        table = analyses.dense_probe.compute(
            *stores, sources=[source], targets=targets, config=config
        )
        row = table.to_dict("records")[0]
        values[source] = {name: (factor * row[name], factor * row["low"], factor * row["high"])}
        resampled[source] = {name: _rounded(table.attrs["resampled"][source], factor)}
        _, rows, columns, _ = stores[0].features(source).shape
        if row["tokens_per_image"] < rows * columns:
            share = f"{row['tokens_per_image']} of {rows * columns} tokens of each image"
            drawn.setdefault(share, []).append(source.partition(":")[2])
    notes = [f"{task} head trained on {n}: {', '.join(of)}" for n, of in drawn.items()]
    return Measured(values, resampled, tuple(notes), config=asdict(config))


def reconstruct(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """The six columns of Table 2; intervals and resamples of the test information and its ratio."""
    config = analyses.reconstruction.ReconstructionConfig(
        grid=options.get("grid", "pool"), device=context.device, moments=context.moments
    )
    result = analyses.reconstruction.compute(
        context.stores["train"],
        context.stores["test"],
        target=options["target"],
        sources=sources,
        reference=options["reference"],
        config=config,
    )
    values: dict[str, dict[str, Value]] = {}
    resampled: dict[str, dict[str, list[float]]] = {}
    resolved = [str(context.stores["train"].resolve(name)) for name in sources]
    for name, full in zip(sources, resolved, strict=True):
        row = {str(k): float(result[k].sel(source=full)) for k in result if result[k].ndim == 1}
        values[name] = {
            "train_loss": (row["train_loss"], None, None),
            "train_info": (row["train_info_bits"], None, None),
            "train_ratio_pct": (100 * row["train_ratio"], None, None),
            "test_loss": (row["test_loss"], None, None),
            "test_info": (row["test_info_bits"], row["test_info_low"], row["test_info_high"]),
            "test_ratio_pct": (
                100 * row["test_ratio"],
                100 * row["test_ratio_low"],
                100 * row["test_ratio_high"],
            ),
        }
        resampled[name] = {"test_info": result["resampled"].sel(source=full).values.tolist()}
    notes = (*result.attrs["notes"], *result.attrs["warnings"])
    notes += tuple(image_notes(result.attrs["shared_images"]))
    return Measured(values, resampled, notes, config=asdict(config))


def memorize(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Instance loss in nats at the default budget, mean over three seeds; a training loss has no
    interval, and how far the seeds differ is noted."""
    views = list(context.stores.values())
    found: dict[str, list[float]] = {source: [] for source in sources}
    configs = [
        analyses.memorization.MemorizationConfig(seed=n, device=context.device) for n in range(3)
    ]
    for config in configs:
        table = analyses.memorization.compute(views, sources=sources, config=config)
        for row in table.to_dict("records"):
            found[row["source"]].append(row["loss"])
    spread = max(max(losses) - min(losses) for losses in found.values())
    return Measured(
        {source: {"loss": (float(np.mean(v)), None, None)} for source, v in found.items()},
        notes=(f"memorization: losses of three seeds differ by at most {spread:.1g}",),
        config=asdict(configs[0]) | {"seed": [config.seed for config in configs]},
    )


def throughput(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Images per second: median, slowest and fastest of the timed passes."""
    values: dict[str, dict[str, Value]] = {}
    notes: list[str] = []
    arithmetic = "fp32" if context.device == "cpu" else "bf16"
    config = cost.ThroughputConfig(device=context.device, arithmetic=arithmetic, **dict(options))
    for name in sources:
        source = Source.parse(name)
        found = cost.throughput(source.model, source.scales, config, tap=source.tap)
        values[name] = {"images_per_s": (found.median, found.low, found.high)}
        notes.append(f"measured on {found.device}, {arithmetic}")
    return Measured(values, notes=tuple(dict.fromkeys(notes)), config=asdict(config))


def hard(context: Context, sources: Sequence[str], options: Mapping[str, Any]) -> Measured:
    """Counts of hard examples; the examples themselves as detail."""
    config = analyses.hard_examples.HardConfig(
        device=context.device,
        probe=analyses.probe.ProbeConfig(head=HeadConfig(device=context.device)),
    )
    stores = context.stores["train"], context.stores["test"]
    (trio,) = sources
    table = analyses.hard_examples.compute(*stores, sources=trio.split(), config=config)
    images = table.attrs["shared_images"]
    counts = {
        "images": len(stores[1]) - len(images["shared"]) * images["left_out"],
        "eligible": table.attrs["eligible"],
        "rare": int(table["rare"].sum()),
        "ambiguous": int(table["ambiguous"].sum()),
    }
    values: dict[str, Value] = {name: (float(n), None, None) for name, n in counts.items()}
    detail, said = table.to_dict("records"), tuple(image_notes(images))
    return Measured({trio: values}, notes=said, detail=detail, config=asdict(config))


def _percent(row: Mapping[str, Any], name: str) -> Value:
    return 100 * row[name], 100 * row["low"], 100 * row["high"]


def _rounded(resampled: Sequence[float], factor: float = 1.0) -> list[float]:
    """Values on resamples as they are stored: six digits."""
    return [float(f"{factor * value:.6g}") for value in resampled]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One entry of the registry."""

    run: Callable[[Context, Sequence[str], Mapping[str, Any]], Measured]
    """The function."""
    joint: bool = False
    """Whether the sources of one call belong together."""
    labels: bool = False
    """Whether it needs labels that train and test share."""
    names: bool = False
    """Whether it needs the class names of the test images."""
    rules: bool = False
    """Whether it scores ``imagenet:`` test sets by :mod:`analyses.reading.label_rule`."""
    maps: str = ""
    """Target maps that it reads beside the features: segmentation or depth."""
    moments: bool = False
    """Whether it can resume from the moments of the training images."""
    timed: bool = False
    """Whether it runs the models of its sources, on no images, for their speed."""
    one_law: bool = False
    """Whether its rows are points of one fitted law."""
    images: bool = False
    """Whether it trains on the images themselves, with `maps`, and needs no stores."""


ANALYSES: dict[str, Analysis] = {
    "probe": Analysis(run=probe, labels=True, rules=True),
    "few_shot": Analysis(run=few_shot, labels=True, rules=True),
    "zero_shot": Analysis(run=zero_shot, names=True),
    "segmentation": Analysis(run=partial(dense, "segmentation"), maps="segmentation"),
    "depth": Analysis(run=partial(dense, "depth"), maps="depth"),
    "segmentation_decoder": Analysis(run=decoders.decoder, maps="segmentation", images=True),
    "depth_decoder": Analysis(run=decoders.decoder, maps="depth", images=True),
    "reconstruct": Analysis(run=reconstruct, joint=True, moments=True),
    "memorize": Analysis(run=memorize),
    "throughput": Analysis(run=throughput, timed=True),
    "hard": Analysis(run=hard, joint=True, labels=True),
    "shape_law": Analysis(run=laws.shape_law, joint=True),
    "pretraining": Analysis(run=committed.pretraining, joint=True),
    "robot": Analysis(run=committed.robot, joint=True),
    "encoder_law": Analysis(run=laws.encoder_law, joint=True, one_law=True),
}
"""Name in a declaration → the analysis."""
