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
# # Which crops are needed?
#
# A second scale costs four more forward passes, one for each crop. Here: how much of what they add is kept if only some of them are
# run, and who can tell beforehand which.
#
# Change `FOLDER` to ask it of your own stores; the models are picked by size and scales.

# %%
import os

import feature_store
from workbench import roles

FOLDER = os.environ.get("S2_WORKBENCH_STORES", "../runs/demo")
train, test = (feature_store.open(f"{FOLDER}/{split}.zarr") for split in ("train", "test"))
names = roles.find(train)
test

# %% [markdown]
# **Where the crops lie.** Each crop covers a part of the base grid. A pooled map mixes two crops in the cells at their border; merged
# maps (`2x.unpooled`), where they are stored, tell every crop apart.

# %%
from analyses.scale_selection import Layout

model, _, scales = names.s2.rpartition("@")
layout = Layout.stored(train, model, scales.split("+"))
layout.describe()

# %% [markdown]
# **The curve.** Each policy chooses crops within a budget, skipped crops are filled with base tokens, and the predictor is fitted again
# on maps filled that way. The oracle knows the true loss of every crop: an upper reference that cannot be run.

# %%
from analyses import scale_selection
from analyses.scale_selection import ReconstructTask, SelectionConfig

config = SelectionConfig(policies=("oracle", "random", "bottom-up", "norm"), progress=True)
task = ReconstructTask((train, test), names.large, layout.grid)
table = scale_selection.compute(train, test, layout=layout, task=task, config=config)
table[["policy", "budget", "crops_per_image", "metric", "share_of_full_gain"]].round(3)

# %% [markdown]
# **Against cost**, with the middle model in grey; the large one is the target. A policy pays if its curve lies above the one of random
# crops by more than the intervals.

# %%
from workbench.cost.selection import others, with_gmacs
from workbench.figures.selection import draw_chosen, draw_curve

table = with_gmacs(table, layout, train)
larger = others((train, test), [names.middle], task, config) if names.middle else table[:0]
draw_curve(table, larger)

# %% [markdown]
# **In the pictures.** The crops that bottom-up runs, and beside each photograph what every crop is worth: green crops help, purple
# ones harm.

# %%
draw_chosen(test, layout, table, count=3)

# %% [markdown]
# `workbench select --out` does all this and writes `policy.json`; `workbench extract --select policy.json --budget 0.25` then runs only
# the chosen crops of new images.
