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
# # Hard examples: what only the larger model gets right
#
# Heads are trained on the small model, its S2 and the large model. An image is hard when the large model's loss is lower than
# the small one's and S2 does not help. The paper finds two kinds by eye (section 4.1, Figure 7): *rare* images, far from the
# training images of their class, and *ambiguous* ones. Here both are measured.
#
# Change `FOLDER` to ask it of your own stores; images need labels.

# %%
import os
from pathlib import Path

from IPython.display import FileLink, Image, display

import feature_store
from analyses import hard_examples, label_errors, probe
from workbench import roles
from workbench.datasets.pictures import reader
from workbench.figures.gallery import Pictures, write_html, write_jpeg

FOLDER = Path(os.environ.get("S2_WORKBENCH_STORES", "../runs/demo"))
FIGURES = FOLDER / "figures"
FIGURES.mkdir(exist_ok=True)
train, test = feature_store.open(FOLDER / "train.zarr"), feature_store.open(FOLDER / "test.zarr")
names = roles.find(train)

# %%
config = hard_examples.HardConfig(probe=probe.ProbeConfig(progress=True))
hard = hard_examples.compute(
    train, test, sources=[names.small, names.s2, names.large], config=config
)
print(
    f"{hard.attrs['eligible']} of {len(test)} test images; of the {len(hard)} hardest "
    f"{hard['rare'].sum()} are rare and {hard['ambiguous'].sum()} ambiguous"
)
columns = ["image_id", "label", "drop", "s2_drop", "rare", "ambiguous", "second", "other_labels"]
hard[columns].head(10).round(3)

# %% [markdown]
# `drop` is what scaling the model gives, `s2_drop` what scaling the image gives, in nats. `second` is the likelihood of the second
# class over the first, `other_labels` the share of training neighbours with another label.
#
# **The gallery.** Each row: a hard image, two easy ones of the same class, and its nearest training images in the large model's
# features. Look for what the easy ones have and the hard one lacks. The page behind the link has all of them with predictions.

# %%
sides = Pictures(reader(train), reader(test), train.image_ids, test.image_ids)
write_html(
    hard, sides, FIGURES / "hard.html", f"Hard examples: {names.small}, {names.s2}, {names.large}"
)
write_jpeg(hard.head(4), sides, FIGURES / "hard.jpg")
display(Image(FIGURES / "hard.jpg", width=760) if len(hard) else "no hard example in this store")
FileLink(FIGURES / "hard.html")

# %% [markdown]
# **Before believing any of it**: are test images near-copies of training images, and which labels look wrong? Both lists
# are candidates for a look, not verdicts.

# %%
found = label_errors.find(train, test, source=names.large)
print(f"{len(found.duplicates)} near-duplicates across training and test images")
found.label_errors.head(8)

# %% [markdown]
# Next: `4_capacity_and_probes`, capacity and probes.
