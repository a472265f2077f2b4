"""Batches are the same whatever makes them; augmented images have the right form."""

from __future__ import annotations

import shutil

import numpy as np
import torch
from PIL import Image

from workbench import datasets
from workbench.pretraining import run
from workbench.pretraining.config import AUGMENTATIONS
from workbench.pretraining.images import Augmented, supervised_views
from workbench.training.batches import Batches
from workbench.training.randomness import seed_step


def test_worker_processes_and_none_give_the_same_batches(coloured):
    dataset = datasets.open(f"folder:{coloured}")
    views = supervised_views(32, 0.3, 10)

    def batches(workers, first):
        made = Batches(Augmented(dataset, views, seed=3), batch=5, workers=workers)
        return [made.ready(made.read(step)) for step in range(first, 6)]

    here, there, later = batches(0, 1), batches(2, 1), batches(1, 4)
    for one, other in zip(here + here[3:], there + later, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert not torch.equal(here[0][0], here[1][0])
    assert here[0][0].dtype == torch.uint8
    assert here[0][0].shape == (5, 3, 32, 32)


def test_reading_here_leaves_the_random_state_of_the_step(coloured):
    made = Batches(
        Augmented(datasets.open(f"folder:{coloured}"), supervised_views(16, 0.5, 5), seed=0),
        batch=2, workers=0,
    )  # fmt: skip
    seed_step(1, 0)
    expected = torch.rand(1)
    made.ready(made.read(1))
    assert torch.equal(torch.rand(1), expected)


def test_another_picture_under_the_same_name_is_other_images(coloured, tmp_path):
    folder = shutil.copytree(coloured, tmp_path / "images")
    before = run._images(datasets.open(f"folder:{folder}"))
    Image.new("RGB", (48, 40)).save(folder / "red" / "03.png")
    after = run._images(datasets.open(f"folder:{folder}"))
    assert {name for name in before if before[name] != after[name]} == {"pixels_of_24"}
    assert before["count"] == 24


def test_every_published_strength_runs_and_none_is_cut_at_ten():
    image = Image.fromarray(np.random.default_rng(0).integers(255, size=(40, 40, 3), dtype="u1"))
    for name, (magnitude, _) in AUGMENTATIONS.items():
        views = supervised_views(16, 0.2, magnitude)
        seen = []
        for number in range(60):
            seed_step(1, number)
            seen.append(views(image))
        assert np.std(seen) > 20, name
    steps = supervised_views(16, 0.2, 20).transform.transforms
    (policy,) = [step for step in steps if hasattr(step, "ops")]
    (enhance,) = [op for op in policy.ops if op.name == "Color"]
    assert (enhance.magnitude, enhance.magnitude_max) == (20, 20)


def test_views_without_augmentation_are_crops():
    image = Image.fromarray(np.full((20, 30, 3), 77, np.uint8))
    assert (supervised_views(16, 0.2, None)(image) == 77).all()
