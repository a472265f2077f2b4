"""The package shows its questions, and loads each on first use."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys

import numpy as np
import pytest

import analyses
from analyses.configs import DenseConfig, FewShotConfig, MemorizationConfig, RandomLabelConfig


def test_every_question_has_a_line_and_is_exported():
    table = re.findall(r"^(\w+)  +(\S.*\?)$", analyses.__doc__, re.MULTILINE)
    assert sorted(name for name, _ in table) == sorted(analyses.__all__)
    modules = {found.name for found in pkgutil.iter_modules(analyses.__path__)}
    assert modules - set(analyses.__all__) == {
        "configs",
        "experiments",  # committed runs, read by tables
        "linear",
        "moments",
        "pretraining",  # likewise
        "reading",
        "statistics",
    }
    for name in analyses.__all__:
        assert getattr(analyses, name).__name__ == f"analyses.{name}"
        assert getattr(analyses, name).__doc__
    assert set(analyses.__all__) <= set(dir(analyses))


def test_importing_the_package_loads_no_question():
    code = (
        "import sys, analyses\n"
        "assert not [m for m in sys.modules if m.startswith(('analyses.', 'torch'))]\n"
        "assert callable(analyses.reconstruction.compute)\n"
        "from analyses import probe\n"
        "assert callable(probe.compute)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'probes'"):
        analyses.probes  # noqa: B018


SOURCE = "toy:a#t@4"
CALLS = {
    "probe": lambda one, two, name: analyses.probe.compute(one, two, sources=name),
    "few_shot": lambda one, two, name: analyses.few_shot.compute(
        one, two, sources=name, config=FewShotConfig(shots=(1,), repeats=2, validation=4)
    ),
    "memorization": lambda one, two, name: analyses.memorization.compute(
        [one], sources=name, config=MemorizationConfig(epochs=1)
    ),
    "random_labels": lambda one, two, name: analyses.random_labels.compute(
        one, sources=name, config=RandomLabelConfig(repeats=1, resolution=0.5)
    ),
    "dense_probe": lambda one, two, name: analyses.dense_probe.compute(
        one, two, sources=name, targets=(np.ones((24, 4, 4)), np.ones((24, 4, 4))),
        config=DenseConfig(task="depth", ridge=1.0, resamples=20),
    ),
    "reconstruction": lambda one, two, name: analyses.reconstruction.compute(
        one, two, target="toy:b#t@4", sources=name
    ).to_dataframe(),
    "similarity": lambda one, two, name: analyses.similarity.compute(
        one, sources=name
    ).to_dataframe(),
}  # fmt: skip


@pytest.mark.parametrize("question", list(CALLS))
def test_a_single_source_may_be_a_text(question, make_store):
    rng, stores = np.random.default_rng(0), []
    for name in ("train", "test"):
        arrays = {source: rng.normal(size=(24, 2, 2, 3)) for source in (SOURCE, "toy:b#t@4")}
        stores.append(
            make_store(name, arrays, labels=np.arange(24) % 2, label_names=["cat", "dog"])
        )
    one, several = (CALLS[question](*stores, given) for given in (SOURCE, [SOURCE]))
    assert str(one) == str(several)
