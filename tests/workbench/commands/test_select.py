"""workbench select: rows, costs by hand, files, and the policy that extract takes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from workbench.cli import main
from workbench.cost import macs
from workbench.extraction import ExtractRequest, extract

SMALL, LARGE = "random:timm:test_vit.r160_in1k", "random:timm:test_vit2.r160_in1k"
FIELDS = [
    "policy", "budget", "crops_per_image", "gmacs", "metric", "metric_name", "low", "high",
    "share_of_full_gain",
]  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("select"), np.random.default_rng(0)
    given = []
    for split, count in (("train", 24), ("test", 10)):
        lines = ["path,label,mask"]
        for k in range(count):
            small = rng.integers(0, 90, (5, 6, 3), dtype=np.uint8) + np.uint8(150 * (k % 2))
            Image.fromarray(small).resize((180, 170)).save(root / f"{split}{k}.png")
            mask = (small[..., 0] > 120).astype(np.uint8)
            Image.fromarray(mask).resize((180, 170), 0).save(root / f"{split}{k}m.png")
            lines.append(f"{split}{k}.png,{('dark', 'bright')[k % 2]},{split}{k}m.png")
        (root / f"{split}.csv").write_text("\n".join(lines))
        for models, scales in (([SMALL], ["1x", "2x.unpooled"]), ([LARGE], ["1x"])):
            extract(
                ExtractRequest(
                    dataset=f"csv:{root / split}.csv", models=models, scales=scales,
                    store=str(root / f"{split}.zarr"), dtype="float32",
                )
            )  # fmt: skip
        given += [f"--{split}", str(root / f"{split}.zarr")]
    return given


def ask(stores, *more):
    return [
        "select",
        *stores,
        "--model",
        SMALL,
        "--scales",
        "160",
        "320",
        "--resamples",
        "20",
        *more,
    ]


def test_rows_files_and_a_policy_that_extract_takes(stores, tmp_path, capsys):
    out = tmp_path / "out"
    policies = [part for name in ("oracle", "random", "bottom-up") for part in ("--policy", name)]
    more = ["--target", f"{LARGE}@1x", *policies, "--budgets", "0", "0.25", "1", "--source",
            f"{SMALL}@1x", "--json", "--out", str(out)]  # fmt: skip
    assert main(ask(stores, *more)) == 0
    found = json.loads(capsys.readouterr().out)
    rows = found["rows"]
    assert [(r["policy"], r["budget"]) for r in rows[:4]] == [
        ("oracle", 0), ("oracle", 0.25), ("oracle", 1), ("random", 0)
    ]  # fmt: skip
    crop = macs(SMALL, "final", 160, 160).total / 1e9
    for row in rows:
        assert list(row)[:9] == FIELDS
        assert row["crops_per_image"] == 4 * row["budget"]
        assert row["gmacs"] == pytest.approx(crop * (1 + 4 * row["budget"]))
        assert row["low"] <= row["high"]
        assert row["metric_name"] == "info_bits"
    assert set(found["kept"]) == {"oracle", "random", "bottom-up"}
    (beside,) = found["sources"]
    assert beside["low"] <= beside["metric"] <= beside["high"]
    assert main(ask(stores, "--target", f"{LARGE}@1x", "--source", f"{LARGE}@1x")) == 2
    assert "is the target" in capsys.readouterr().err
    names = {path.name for path in out.iterdir()}
    assert {"selection.csv", "selection.md", "selection.png", "selection.svg"} <= names
    assert {"selection_crops.png", "selection_kept.csv", "policy.json"} <= names
    dataset = f"csv:{stores[1].replace('.zarr', '.csv')}"
    given = ["extract", "--dataset", dataset, "--model", SMALL, "--store", str(tmp_path / "s")]
    select = ["--scales", "1x", "2x", "--select", str(out / "policy.json"), "--budget", "0.25"]
    assert main([*given, *select]) == 0
    assert main([*given, *select[:-1], "2"]) == 2
    assert "budget is 2" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "name"), [("probe", "accuracy"), ("segmentation", "miou")])
def test_tasks(stores, capsys, task, name):
    more = ["--task", task, "--policy", "norm", "--budgets", "0.5", "--l2", "0.1", "--json"]
    assert main(ask(stores, *more)) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["metric_name"], row["crops_per_image"]) == (name, 2)
    assert 0 <= row["metric"] <= 1
    assert row["over_random"] is None


@pytest.mark.parametrize(
    ("more", "found"),
    [
        (["--task", "probe", "--budgets", "1.5"], "budget is 1.5"),
        ([], "--target"),
        (["--task", "probe", "--target", "m@160"], "a --target to reconstruct, or a --task"),
        (["--task", "probe", "--policy", "top-down"], "top-down needs embeddings"),
        (["--task", "probe", "--policy", "norm", "--scales", "160", "480"], "480"),
    ],
)
def test_refusals(stores, capsys, more, found):
    assert main(ask(stores, *more)) == 2
    assert found in capsys.readouterr().err
