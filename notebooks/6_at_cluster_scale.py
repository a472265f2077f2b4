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
# # At cluster scale
#
# On a cluster many workers write one store. Three things make that safe: a shard is computed by one process and written whole, a
# commit record makes it count, and a claim says who is at work on it. Everything here runs without a cluster: views of a store, the
# job script that Slurm would get, and two worker processes on this machine.
#
# Change `FOLDER` to look at your own stores.

# %%
import os

import feature_store
from workbench import roles

FOLDER = os.environ.get("S2_WORKBENCH_STORES", "../runs/demo")
DATASET, IMAGES = "bundled:textiles:test", 32  # what the workers compute further down
train = feature_store.open(f"{FOLDER}/train.zarr")
names = roles.find(train)
names

# %% [markdown]
# **What is done, what is missing?** From the commit records alone, so it is quick and may be asked while workers write. `finish` is
# the command that computes what is missing; here nothing is.

# %%
from dataclasses import asdict

import pandas as pd

shown = ["source", "shards_done", "shards_total", "images", "failed", "bytes", "finish"]
pd.DataFrame([asdict(entry) for entry in train.source_status()])[shown]

# %% [markdown]
# **What would a million images take?** Multiply-accumulates and bytes per image are counted on shapes; the rate of your GPU is yours
# to fill in.

# %%
from workbench.cost import cost

SUSTAINED = 200e12  # FLOP per second that the device gives, two per multiply-accumulate
million = []
for source in map(feature_store.Source.parse, names.all):
    counted = cost(source.model, source.scales, tap=source.tap)
    minutes = 1e6 * 2e9 * counted.gmacs / SUSTAINED / 60
    million.append(
        {"source": str(source), "GPU minutes": minutes, "GB": counted.bytes_per_image / 1e3}
    )
pd.DataFrame(million).round(3)

# %% [markdown]
# **The job that Slurm would get**, as `workbench extract --engine slurm --dry-run` prints it. Workers leave before their walltime ends
# and are replaced until the work is done, so short jobs, which start sooner, are enough.

# %%
from importlib.util import find_spec

from workbench.cluster import EngineOptions, SlurmOptions

if find_spec("dask_jobqueue"):
    from workbench.cluster.job_script import job_script

    logs = f"{FOLDER}/slurm-logs"
    print(job_script(SlurmOptions(partition="gpu", gpu="gpu:1", walltime="02:00:00", logs=logs)))
else:
    print("'bash scripts/setup.sh cluster' brings the Slurm engine")

# %% [markdown]
# **Two workers on this machine**, where Dask is installed, else this process. The same call with `engine="slurm"` submits jobs.
# Nothing changes for the store: run the cell again and there is nothing to do.

# %%
from workbench.cluster.engine import connect
from workbench.cluster.extraction import extract_on
from workbench.extraction import ExtractRequest, extract

options = EngineOptions(engine="dask" if find_spec("distributed") else "local", processes=2)
request = ExtractRequest(
    dataset=DATASET,
    models=[names.small.partition("@")[0]],
    scales=["1x"],
    store=f"{FOLDER}/workers.zarr",
    limit=IMAGES,
    shard_images=8,
)
with connect(options, log=print) as session:
    report = extract_on(session, request, log=print) if session else extract(request, log=print)
print(f"{report.computed} of {report.images} images computed now")

# %% [markdown]
# **Who wrote what, and who holds a claim?** Each commit record names its writer. Claims are gone once their shard is committed; one
# that stays belongs to a process that works, or died, and is taken over when its time runs out.

# %%
from collections import Counter

from feature_store.claims import holder_of
from feature_store.protocol import claim_key

store = feature_store.open(f"{FOLDER}/workers.zarr")
scale = store.source(store.sources()[0])
shards = range(scale.shard_count)
writers = Counter(scale.record(shard).writer for shard in shards if scale.is_committed(shard))
keys = {shard: store.objects.get(claim_key(scale.source.group, shard)) for shard in shards}
print("shards by writer:", dict(writers))
print("claims held:", {shard: holder_of(claim) for shard, claim in keys.items() if claim})
store

# %% [markdown]
# From here on everything is as in `1_quickstart`: stores do not know how many workers wrote them.
#
# Next: `7_which_crops`, which crops of the larger scales are needed.
