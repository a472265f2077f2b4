"""Linear probe against scikit-learn, and kNN against faiss.

    python scripts/benchmarks/probe.py [--store runs/demo/train.zarr --source MODEL@224+448]

Expected: 2 minutes on 2 cores, 2 GB of memory (the neighbour search). Writes results/probe.json
beside this file. Both sides of every ratio run in turn within one run on the same number of
threads; times on a shared machine vary, ratios much less.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import feature_store
from analyses.linear.head import loss_and_hits
from analyses.linear.logistic import HeadConfig, LogisticProblem
from analyses.probe import L2_GRID, choose_l2, stratified_folds
from analyses.reading.pooled import FeatureRows, pool
from analyses.statistics.nearest_neighbours import normalise, search
from workbench import processors

RESULTS = Path(__file__).parent / "results" / "probe.json"
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--store", help="labelled store for the head on real features")
    parser.add_argument("--source", default="bundled:efficientnet_lite0@224+448")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        "date": str(datetime.date.today()),
        "machine": processors.machine(),
        "versions": versions(),
    }
    found["head"] = {"planted 5000 x 256, 20 classes": heads(*planted())}
    digits = load_digits()
    found["head"]["scikit-learn's digits, 1797 x 64"] = heads(
        digits.data.astype(np.float32), digits.target
    )
    found["path"] = {"digits": path(digits.data.astype(np.float32), digits.target)}
    if arguments.store:
        store = feature_store.open(arguments.store)
        pooled = pool(store, [arguments.source])
        x = pooled.features(arguments.source).load()
        name = f"{store.dataset} {arguments.source}, {len(x)} x {x.shape[1]}"
        found["head"][name] = heads(x, store.labels[pooled.rows])
        found["path"][name] = path(x, store.labels[pooled.rows])
    found["neighbours"] = neighbours()
    found["load_average_at_end"] = os.getloadavg()[0]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Correlated features (eigenvalues over four decades) and noisy linear labels."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(256, 256)) * np.logspace(0, -2, 256)
    x = (rng.normal(size=(5000, 256)) @ mix).astype(np.float32)
    logits = 0.2 * x @ rng.normal(size=(256, 20)) + rng.gumbel(size=(5000, 20))
    return x, logits.argmax(1)


def heads(x: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """Time to at most scikit-learn's penalised training loss, in float64 on one thread.

    Both standardise the channels within the time.
    """
    spread = x.std(0, dtype=np.float64)
    standard = (x - x.mean(0, dtype=np.float64)) / np.where(spread > 0, spread, 1)
    classes = int(labels.max()) + 1

    def objective(weight, bias, l2):
        loss, _ = loss_and_hits(standard @ weight + bias, labels)
        return float(loss.mean() + l2 / 2 * (weight**2).sum())

    rows = []
    for l2 in (1.0, 1e-1, 1e-2, 1e-3):
        with threadpool_limits(1):
            oracle = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-5, max_iter=10_000)
            oracle.fit(standard, labels)
            coef = oracle.coef_.T
            bias = oracle.intercept_
            if classes == 2:
                coef, bias = np.hstack([-coef, coef]) / 2, np.r_[-bias, bias] / 2
            theirs = objective(coef, bias, l2)
            spread = x.std(0, dtype=np.float64)[:, None]
            mean = x.mean(0, dtype=np.float64)
            for tolerance in np.geomspace(1e-3, 1e-7, 25):  # the loosest sufficient one
                problem = LogisticProblem(FeatureRows.of(x), labels, classes, HeadConfig())
                head = problem.fit(l2=l2, tolerance=tolerance)
                ours = objective(head.weight * spread, head.bias + mean @ head.weight, l2)
                if ours <= theirs + 1e-9:
                    break

            def whole(l2=l2, tolerance=tolerance):
                problem = LogisticProblem(FeatureRows.of(x), labels, classes, HeadConfig())
                problem.fit(l2=l2, tolerance=tolerance)

            def theirs_whole(oracle=oracle):
                oracle.fit(StandardScaler().fit_transform(x.astype(np.float64)), labels)

            own_seconds, sklearn_seconds = in_turn(whole, theirs_whole)
        rows.append(
            {
                "l2": l2,
                "loss_scikit_learn": theirs,
                "loss_minus_scikit_learn": ours - theirs,
                "passes": head.passes,
                "seconds": own_seconds,
                "seconds_scikit_learn": sklearn_seconds,
                "time_over_scikit_learn": own_seconds / sklearn_seconds,
            }
        )
    return rows


def path(x: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """A probe's work per source: choose among 7 penalties on 5 folds, then fit."""
    spread = x.std(0, dtype=np.float64)
    standard = (x - x.mean(0, dtype=np.float64)) / np.where(spread > 0, spread, 1)
    folds = stratified_folds(labels, 5, 0)
    penalties = L2_GRID[2:9]
    split = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(5)]
    oracle = LogisticRegressionCV(
        Cs=[1 / (l2 * len(x)) for l2 in penalties], cv=split, scoring="neg_log_loss",
        tol=1e-4, max_iter=10_000, l1_ratios=(0,), use_legacy_attributes=False,
    )  # fmt: skip

    def ours():
        problem = LogisticProblem(FeatureRows.of(x), labels, int(labels.max()) + 1)
        problem.fit(l2=choose_l2(problem, folds))

    with threadpool_limits(1):
        own, other = [], []
        for _ in range(2):
            own.append(seconds(ours))
            other.append(seconds(lambda: oracle.fit(standard, labels)))
    return {
        "seconds": min(own),
        "seconds_scikit_learn": min(other),
        "time_over_scikit_learn": min(own) / min(other),
    }


def neighbours() -> dict[str, float]:
    """Ten neighbours of 200 queries among 100 k x 768, beside the bare faiss calls."""
    import faiss

    rng = np.random.default_rng(0)
    rows = normalise(rng.standard_normal((100_000, 768), dtype=np.float32))
    queries = normalise(rng.standard_normal((200, 768), dtype=np.float32))

    def bare():
        faiss.omp_set_num_threads(torch.get_num_threads())
        index = faiss.IndexFlatIP(768)
        index.add(rows)
        return index.search(queries, 10)

    assert (search(rows, queries, 10).row == bare()[1]).all()
    ours, theirs = [], []
    for _ in range(5):
        ours.append(seconds(lambda: search(rows, queries, 10)))
        theirs.append(seconds(bare))
    return {
        "seconds": min(ours),
        "seconds_faiss": min(theirs),
        "time_over_faiss": min(ours) / min(theirs),
    }


def seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def in_turn(*actions) -> list[float]:
    """Shortest time of each over repeats, in turn: other work on the machine only adds time."""
    times = [[seconds(action) for action in actions] for _ in range(REPEATS)]
    return [min(column) for column in zip(*times, strict=True)]


def versions() -> dict[str, str]:
    names = ["torch", "numpy", "scikit-learn", "faiss-cpu", "zarr"]
    return {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in names}


if __name__ == "__main__":
    main()
