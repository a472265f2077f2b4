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
# # What does a second scale add?
#
# `workbench demo` left two stores in `runs/demo`. Every question below is asked of those arrays; no model runs here.
# Change `FOLDER` and the three source names to ask the same of your own stores.

# %%
import os
from pathlib import Path

from IPython.display import Image

import feature_store
from analyses import probe, reconstruction
from workbench.figures import reconstruction as figures

FOLDER = Path(os.environ.get("S2_WORKBENCH_STORES", "../runs/demo"))
SMALL = "bundled:efficientnet_lite0@224"
SMALL_S2 = "bundled:efficientnet_lite0@224+448"
MIDDLE = "bundled:efficientnet_lite1@224"
LARGE = "bundled:efficientnet_lite2@224"

train = feature_store.open(FOLDER / "train.zarr")
test = feature_store.open(FOLDER / "test.zarr")
train

# %% [markdown]
# An S2 source is a view over two stored scales. Nothing is read until values are asked for.

# %%
train.features(SMALL_S2)

# %% [markdown]
# **How much of the large model is a linear function of the small one?** Information in bits, on images that the map has not
# seen, with a 95 % interval over images (Table 2 of the paper).

# %%
result = reconstruction.compute(
    train, test, target=LARGE, sources=[SMALL, SMALL_S2], reference=MIDDLE
)
reconstruction.rows(result)[
    ["source", "train_info_bits", "test_info_bits", "test_info_low", "test_info_high", "test_ratio"]
].round(3)

# %%
Image(figures.draw_information(result, FOLDER / "figures" / "information")[0])

# %% [markdown]
# **And for a task?** A linear probe on mean-pooled tokens. The defects in these textiles are small; a second scale looks closer.

# %%
probe.compute(train, test, sources=[SMALL, SMALL_S2, MIDDLE, LARGE])[
    ["source", "train_loss", "test_accuracy", "low", "high"]
].round(3)
