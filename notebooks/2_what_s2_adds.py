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
# The stores hold the token maps of a small model at several scales and of larger models. Here: how many bits about the largest
# model the small one holds, which scale they come from, and where in the image they lie.
#
# Change `FOLDER` to ask it of your own stores (`train.zarr` and `test.zarr`); the models are picked by size and scales.

# %%
import os

import feature_store
from workbench import roles

FOLDER = os.environ.get("S2_WORKBENCH_STORES", "../runs/demo")
train, test = (feature_store.open(f"{FOLDER}/{split}.zarr") for split in ("train", "test"))
names = roles.find(train)
test

# %% [markdown]
# **An S2 source is a view.** Two stored maps, concatenated on the channel axis. Nothing is read until values are asked for.

# %%
train.features(names.s2)

# %% [markdown]
# **Reconstruction (Table 2).** A linear map from each source to the largest model, fitted on the training images from their
# second moments, which are kept in `pooled_moments.zarr`. Information is −log2 of the loss over the loss of the best constant.

# %%
from analyses import reconstruction
from analyses.reconstruction import table2

config = reconstruction.ReconstructionConfig(
    decompose=True, moments=f"{FOLDER}/pooled_moments.zarr", progress=True
)
result = reconstruction.compute(
    train,
    test,
    target=names.large,
    sources=[names.small, names.s2],
    reference=names.middle,
    config=config,
)
print(*(result.attrs["warnings"] or ["no warnings"]), sep="\n")
table2.layout(result).set_index("source").drop(columns=["target", "train loss", "test loss"])

# %%
from workbench.figures import reconstruction as figures

figures.draw_information(result)

# %% [markdown]
# The bars are what counts: unseen images. A tick far to the right of its bar means that the map fits its training images only;
# more images are the remedy.

# %% [markdown]
# **Which scale?** Bits of each scale alone, and the unique part: what is lost when that scale is left out of the set.

# %%
figures.draw_scales(result)

# %% [markdown]
# **Where in the image, on average?** Bits for every cell of the token grid, over all test images.

# %%
figures.draw_map(result)

# %% [markdown]
# **Where in single images?** Loss of each token, drawn over the picture as the model saw it: where the picture shows through,
# little is lost. The last column is the difference that S2 makes. Shown are the test images on which the small model and its S2
# differ most from place to place.

# %%
from analyses.moments import on_disk
from analyses.reconstruction import token_loss

moments = on_disk.load(f"{FOLDER}/pooled_moments.zarr")
searched = range(min(len(test), 200))
losses = token_loss.compute(
    moments, test, target=names.large, sources=[names.small, names.s2], rows=searched
)
order = token_loss.contrast(losses).argsort().values[::-1]
shown = losses.isel(image=order[:3])

# %% [markdown]
# Losses have the dims (source, image, row, col). Photographs are resized and cropped as the model sees them.

# %%
from workbench.datasets.pictures import as_seen
from workbench.figures.loss_maps import draw_loss_maps

titles = [str(test.image_ids[row]) for row in shown["image"].values]
draw_loss_maps(shown, as_seen(test, names.small), titles=titles)

# %% [markdown]
# **How many directions?** Information of the best map of each rank, on the training images: how many of the target's
# directions a source reaches.

# %%
figures.draw_ranks(result)

# %% [markdown]
# Next: `3_hard_examples`, hard examples, the images for which none of this is enough.
