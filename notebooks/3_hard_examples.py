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
# # Hard examples: what the larger model alone does better on
#
# Heads are trained on the small model, its S2 and the large model. An image is hard when the large model's loss is lower than
# the small one's and S2 does not help. The paper finds two kinds by eye (section 4.1, Figure 7): *rare* images, far from the
# training images of their class, and *ambiguous* ones. Here both are measured.
#
# Change `FOLDER` to ask it of your own stores; images need labels.

# %%
import os

import feature_store
from workbench import roles

FOLDER = os.environ.get("S2_WORKBENCH_STORES", "../runs/demo")
train, test = (feature_store.open(f"{FOLDER}/{split}.zarr") for split in ("train", "test"))
names = roles.find(train)
test

# %%
from analyses import hard_examples, probe

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
# **The gallery.** Each line: a hard image, what each source takes it for, two easy images of the same class, and its nearest
# training images in the large model's features. Look for what the easy ones have and the hard one lacks.

# %%
from workbench.datasets.pictures import reader
from workbench.figures.gallery import Pictures, sheet

sides = Pictures(reader(train), reader(test), train.image_ids, test.image_ids)
sheet(hard.head(4), sides) if len(hard) else "no hard example in this store"

# %% [markdown]
# The page behind the link has all of them, with the next likely classes.

# %%
from pathlib import Path

from IPython.display import FileLink

from workbench.figures.gallery_page import write_html

page = Path(FOLDER, "figures", "hard.html")
write_html(hard, sides, page, f"Hard examples: {names.small}, {names.s2}, {names.large}")
FileLink(page)

# %% [markdown]
# **Before believing any of it**: are test images near-copies of training images, and which labels look wrong? Both lists
# are candidates for a look, not verdicts.

# %%
from analyses import label_errors

found = label_errors.find(train, test, source=names.large)
print(f"{len(found.duplicates)} near-duplicates across training and test images")
found.label_errors.head(8)

# %% [markdown]
# Next: `4_capacity_and_probes`, capacity and probes.
