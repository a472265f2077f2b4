# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Capacity and probes
#
# Reconstruction asks how much information one model has about another. Here the same stores answer what each source is good for: telling single
# images apart, how alike the sources are, linear probes, and few labels.
#
# Change `FOLDER` to ask it of your own stores; the last two questions need labels.

# %%
import os

import feature_store
from workbench import roles

FOLDER = os.environ.get("S2_WORKBENCH_STORES", "../runs/demo")
train, test = (feature_store.open(f"{FOLDER}/{split}.zarr") for split in ("train", "test"))
names = roles.find(train)
test

# %% [markdown]
# **Capacity (Table 3).** Every image is its own class, and a head has a fixed budget of epochs to tell each from all others; labels
# play no part. Lower loss is more capacity. Compare at equal budgets only. The paper trains on augmented views: extract with
# `views=2` (`--views 2`) and give `train.view1.zarr`, `train.view2.zarr` as well.

# %%
from analyses import memorization
from workbench.figures.memorization import draw_loss

budget = memorization.MemorizationConfig(progress=True)
memory = memorization.compute([train], sources=names.all, config=budget)
draw_loss(memory)

# %% [markdown]
# **How alike are they?** Four measures over all pairs of sources. Darker is more alike in every panel.

# %%
from analyses import similarity
from workbench.figures.similarity import draw_matrices

alike = similarity.compute(
    test, sources=names.all, config=similarity.SimilarityConfig(progress=True)
)
draw_matrices(alike)

# %% [markdown]
# **The geometry of each**: effective rank and participation ratio say over how many directions the variance spreads, the intrinsic
# dimension how many coordinates neighbouring images need.

# %%
alike[["effective_rank", "participation_ratio", "intrinsic_dimension"]].to_dataframe().round(1)

# %% [markdown]
# **Linear probes, and what a source costs**, counted on shapes alone: parameters, multiply-accumulates over all crops (the papers say FLOPs), bytes
# in the store.

# %%
from analyses import probe
from workbench.figures.curve import draw_curve, with_cost

scores = with_cost(
    probe.compute(train, test, sources=names.all, config=probe.ProbeConfig(progress=True)), test
)
scores[["source", "params", "gmacs", "train_loss", "test_accuracy", "low", "high"]].style.format(
    precision=3
).hide()

# %% [markdown]
# **Accuracy against cost** (Figure 2): model size in grey, image scales in green; bars are 95 % intervals. Against parameters S2
# goes straight up, because it adds none; against multiply-accumulates it has to earn its crops.

# %%
draw_curve(scores)

# %% [markdown]
# **Few labels.** Closed-form ridge heads on a handful of images per class, the mean of several draws, the same draws for every source.

# %%
import numpy as np

from analyses import few_shot

fewest = np.unique(train.labels[train.labels >= 0], return_counts=True)[1].min()
config = few_shot.FewShotConfig(
    shots=tuple(n for n in (1, 5, 10) if n <= fewest), repeats=10, progress=True
)
shots = few_shot.compute(train, test, sources=names.all, config=config)
shots.pivot(index="source", columns="shots", values="test_accuracy").loc[names.all].round(3)

# %% [markdown]
# Next: `5_scaling_laws`, scaling laws, the question from the other side.
