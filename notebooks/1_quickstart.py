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
# # Quickstart: your images, your model
#
# Does a small model that looks at two image scales know what a larger model knows? Five cells: name images and models,
# compute features, look at the store, and ask two questions.
#
# Change the first cell to ask it of your own, for instance `"folder:photos/train"`, all images (`None`), a `FOLDER` of their own and
# `"timm:vit_base_patch16_224.mae"`. As it stands, everything is bundled: woven textiles, some with defects, and three
# EfficientNet-Lite models trained on ImageNet.

# %%
import os

FOLDER = os.environ.get("S2_WORKBENCH_STORES", "../runs/demo")
TRAIN, TEST = "bundled:textiles:train", "bundled:textiles:test"
IMAGES = int(os.environ.get("S2_WORKBENCH_IMAGES", 400))
TRAIN_IMAGES, TEST_IMAGES = IMAGES, IMAGES // 2  # the first so many; None for all
MODELS = {
    "bundled:efficientnet_lite0": ["1x", "2x"],  # the small model, at two scales
    "bundled:efficientnet_lite1": ["1x"],
    "bundled:efficientnet_lite2": ["1x"],
}

# %% [markdown]
# **Features, once.** Each model runs over each image at each scale; the token maps go into two stores. About three minutes on
# two cores. What is stored already is not computed again, also after an interruption, so run this cell as often as you like.

# %%
from workbench.extraction import ExtractRequest, extract

for split, dataset, limit in (("train", TRAIN, TRAIN_IMAGES), ("test", TEST, TEST_IMAGES)):
    for model, scales in MODELS.items():
        path = f"{FOLDER}/{split}.zarr"
        request = ExtractRequest(
            dataset=dataset, models=[model], scales=scales, store=path, limit=limit
        )
        report = extract(request)
        print(
            f"{split}: {model} at {' + '.join(scales)}: {report.computed} of {report.images} images computed now"
        )

# %% [markdown]
# **The store.** One row per model and scale. An S2 source such as `...@1x+2x` is a view over two rows, and costs nothing.

# %%
import feature_store
from workbench import roles

train, test = (feature_store.open(f"{FOLDER}/{split}.zarr") for split in ("train", "test"))
names = roles.find(train)
print(f"small {names.small}\nS2    {names.s2}\nlarge {names.large}")
train

# %% [markdown]
# **How much of the large model is a linear function of the small one?** In bits, on images that the map has not seen, with a
# 95 % interval over images (Table 2 of the paper). The ratio is taken against the model in the last row. Maps of models with
# different patch sizes are averaged to their common grid.

# %%
from analyses import reconstruction
from analyses.reconstruction import table2

config = reconstruction.ReconstructionConfig(progress=True)
result = reconstruction.compute(
    train,
    test,
    target=names.large,
    sources=[names.small, names.s2],
    reference=names.middle,
    config=config,
)
table2.layout(result).set_index("source").drop(columns=["target", "train loss", "test loss"])

# %% [markdown]
# **And for a task?** A linear probe on the mean token of each image, with 95 % intervals (Figure 2 of the paper). They are of each
# source by itself; all are judged on the same images, so overlap alone does not make two sources equal.

# %%
from analyses import probe
from workbench.figures.probe import draw_sources

scores = probe.compute(train, test, sources=names.all, config=probe.ProbeConfig(progress=True))
draw_sources(scores)

# %% [markdown]
# Next: `2_what_s2_adds`, what S2 adds, scale by scale and place by place.
