"""The study on planted data: who finds the one crop, and both ends against the plain analyses."""

from __future__ import annotations

import numpy as np
import pytest

from analyses import dense_probe, probe, reconstruction, scale_selection
from analyses.configs import DenseConfig, ProbeConfig
from analyses.scale_selection import (
    DenseTask,
    Layout,
    ProbeTask,
    ReconstructTask,
    SelectionConfig,
    study,
)
from feature_store import InputError

OPTIONS = {"ridge": 1e-6, "l2": 1e-3, "resamples": 50}
ALL = ("oracle", "random", "centre", "bottom-up", "norm")


def layout_of(toys, kit):
    return Layout.stored(toys.train, kit.MODEL, ["16", "32"])


def run(toys, kit, task, **options):
    given = {"policies": ALL, "budgets": (0, 0.25, 1)} | OPTIONS | options
    layout = layout_of(toys, kit)
    made = {
        "reconstruct": lambda c: ReconstructTask(toys.stores, kit.TARGET, layout.grid),
        "probe": lambda c: ProbeTask(toys.stores, c),
        "segmentation": lambda c: DenseTask(toys.stores, masks(toys), layout.grid, task, c),
        "depth": lambda c: DenseTask(toys.stores, depths(toys), layout.grid, task, c),
    }
    config = SelectionConfig(**given)
    return scale_selection.compute(
        *toys.stores, layout=layout, task=made[task](config), config=config
    )


def depths(toys):
    """Of each token two by two pixels: its target, in metres."""
    maps = [store.features("toy:big#t@16").values[..., 0] for store in toys.stores]
    return tuple(m.repeat(2, 1).repeat(2, 2).astype(np.float32) for m in maps)


def masks(toys):
    return tuple((d > 0).astype(np.int32) for d in depths(toys))


def cell(table, policy, budget, column="metric"):
    row = table[(table["policy"] == policy) & (table["budget"] == budget)]
    return row[column].item()


@pytest.fixture(scope="module")
def table(toys, kit):
    return run(toys, kit, "reconstruct")


def test_oracle_and_bottom_up_find_the_planted_crop(table, toys):
    for policy in ("oracle", "bottom-up"):
        assert (table.attrs["keys"][policy].argmax(1) == toys.which).mean() > 0.95
        assert cell(table, policy, 0.25, "share_of_full_gain") > 0.9
        assert table.attrs["kept"][policy] < 0.35
    assert (table.attrs["gains"].argmax(1) == toys.which).all()
    for policy in ("random", "centre"):
        assert cell(table, policy, 0.25, "share_of_full_gain") < 0.6
        assert table.attrs["kept"][policy] > 0.9
    assert cell(table, "bottom-up", 0.25, "over_random_low") > 0
    assert cell(table, "random", 0.25, "over_random") == 0
    assert cell(table, "random", 0.25, "crops_per_image") == 1


def test_both_ends_are_full_s2_and_the_base_scale(table, toys, kit):
    config = reconstruction.ReconstructionConfig(ridge=1e-6, resamples=50)
    plain = reconstruction.compute(
        *toys.stores, target=kit.TARGET, sources=[kit.BASE, f"{kit.BASE}+32.unpooled"],
        config=config,
    )  # fmt: skip
    base, full = plain["test_info_bits"].values
    for policy in ALL:
        assert cell(table, policy, 1) == pytest.approx(full, rel=1e-5)
        assert cell(table, policy, 0) == pytest.approx(base, abs=1e-4)
        assert cell(table, policy, 1, "share_of_full_gain") == 1
        assert cell(table, policy, 0, "share_of_full_gain") == 0
    low, high = (plain[f"test_info_{end}"].values[1] for end in ("low", "high"))
    found = [cell(table, "random", 1, end) for end in ("low", "high")]
    np.testing.assert_allclose(found, [low, high], rtol=1e-4)


def test_results_do_not_depend_on_the_images_read_at_a_time(table, toys, kit, monkeypatch):
    monkeypatch.setattr(study, "IMAGES", 5)
    again = run(toys, kit, "reconstruct")
    np.testing.assert_allclose(again["metric"], table["metric"], rtol=1e-5)


def test_classes_of_images(toys, kit):
    table = run(toys, kit, "probe", policies=("oracle", "random"))
    sources = [f"{kit.BASE}+32.unpooled"]
    full = probe.compute(*toys.stores, sources=sources, config=ProbeConfig(l2=1e-3))
    assert cell(table, "random", 1) == pytest.approx(full["test_accuracy"].item(), abs=0.02)
    assert cell(table, "oracle", 0.25) > cell(table, "random", 0.25)


@pytest.mark.parametrize(("task", "metric"), [("segmentation", "miou"), ("depth", "rmse")])
def test_masks_and_depth(toys, kit, task, metric):
    table = run(toys, kit, task, policies=("bottom-up", "random"))
    targets = masks(toys) if task == "segmentation" else depths(toys)
    plain = dense_probe.compute(
        *toys.stores, sources=[f"{kit.BASE}+32"], targets=targets,
        config=DenseConfig(task=task, l2=1e-3, ridge=1e-6),
    )  # fmt: skip
    assert cell(table, "random", 1) == pytest.approx(plain[metric].item(), rel=1e-3)
    better = 1 if task == "segmentation" else -1
    assert better * (cell(table, "bottom-up", 0.25) - cell(table, "random", 0.25)) > 0


def test_top_down_needs_embeddings(toys, kit):
    with pytest.raises(InputError, match="top-down needs embeddings"):
        run(toys, kit, "reconstruct", policies=("top-down",))
