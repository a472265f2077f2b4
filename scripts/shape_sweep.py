"""A real star sweep, small enough for one CPU core: tiny vision transformers on 8 × 8 digits.

Purpose   train every shape of a star sweep from scratch at four budgets and two seeds, to fit the
          shape law to measured losses, not only to synthetic ones.
Command   python scripts/shape_sweep.py --out analyses/scaling_laws/data/digits_star_sweep.csv
Expected  about 12 minutes of one core, 400 MB of memory, 20 kB of disk; no download.
Data      scikit-learn's digits (1,797 images, 10 classes), 70 % for training, split by class.
          Each step shifts, rotates and scales its training images and adds noise, to approximate
          the law's assumption of unlimited data.
Metric    cross-entropy (nats) on the held-out 30 %; `error` is the share misclassified.
Compute   forward GMACs per image × training images seen, as in the paper.
Result    see docs/scaling_laws.md.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from timm.models.vision_transformer import VisionTransformer
from tqdm.auto import tqdm

from analyses.scaling_laws.architecture import ViTShape
from analyses.scaling_laws.planners import star_sweep

BATCH = 64
STEPS = (50, 100, 200, 400)
GRIDS = {"width": (8, 12, 16, 24, 32), "depth": (1, 2, 3, 4), "mlp": (8, 16, 32, 64)}
CENTRE = ViTShape(
    width=64,
    depth=6,
    mlp=192,
    heads=4,
    patch=2,
    resolution=8,
    in_channels=1,
    pool="avg",
    classes=10,
)
LEARNING_RATE = 3e-3  # one rate for every shape, as in the paper's sweep


def load() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images and labels, test images and labels; pixels with mean 0 and variance 1."""
    images, labels = load_digits(return_X_y=True)
    images = ((images / 16 - 0.305) / 0.376).astype("float32").reshape(-1, 1, 8, 8)
    split = train_test_split(images, labels, test_size=0.3, random_state=0, stratify=labels)
    train, test, train_labels, test_labels = map(torch.as_tensor, split)
    return train, train_labels, test, test_labels


def build(row: pd.Series) -> VisionTransformer:
    """The network of one planned run; it has exactly the planned number of parameters."""
    net = VisionTransformer(
        img_size=8,
        patch_size=2,
        in_chans=1,
        num_classes=10,
        embed_dim=int(row["width"]),
        depth=int(row["depth"]),
        num_heads=CENTRE.heads,
        mlp_ratio=row["mlp"] / row["width"],
        class_token=False,
        global_pool="avg",
        fc_norm=False,
    )
    torch.nn.init.normal_(net.pos_embed, std=0.5)
    for name, weight in net.named_parameters():
        if weight.ndim == 2 and name.startswith("blocks"):
            torch.nn.init.xavier_uniform_(weight)
    if sum(p.numel() for p in net.parameters()) != row["params"]:
        raise RuntimeError(f"planned and built parameters differ for {dict(row)}")
    return net


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rotate by up to 0.2 rad, scale by up to 10 %, shift by up to 15 %, add noise."""
    n = len(x)
    angle, scale = 0.4 * torch.rand(2, n, generator=generator) - 0.2
    scale = 1 + scale / 2
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = scale * angle.cos()
    matrix[:, 1, 0] = scale * angle.sin()
    matrix[:, 0, 1] = -matrix[:, 1, 0]
    matrix[:, :, 2] = 0.3 * torch.rand(n, 2, generator=generator) - 0.15
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, align_corners=False, padding_mode="border")
    return moved + 0.1 * torch.randn(x.shape, generator=generator)


def train(row: pd.Series, seed: int, data: tuple[torch.Tensor, ...]) -> tuple[float, float]:
    """Train one run; returns test cross-entropy in nats and test error."""
    images, labels, test, test_labels = data
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = build(row)
    steps = int(row["images"]) // BATCH
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=1e-2)
    for step in range(steps):
        ramp = min(1.0, 10 * (step + 1) / steps, 2 * (steps - step) / steps)
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * ramp
        pick = torch.randint(len(images), (BATCH,), generator=generator)
        loss = F.cross_entropy(net(augment(images[pick], generator)), labels[pick])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    net.eval()
    with torch.no_grad():
        logits = net(test)
    error = (logits.argmax(1) != test_labels).float().mean()
    return float(F.cross_entropy(logits, test_labels)), float(error)


def main() -> None:
    """Plan the star, train its runs, write one row per run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument("--seeds", type=int, default=2, help="repeats of every run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load()
    plan = star_sweep(CENTRE, GRIDS, [BATCH * steps for steps in STEPS])
    rows = []
    for seed in range(arguments.seeds):
        for _, row in tqdm(plan.iterrows(), total=len(plan), desc=f"seed {seed}"):
            start = time.process_time()
            metric, error = train(row, seed, data)
            seconds = time.process_time() - start
            measured = {"metric": metric, "error": error, "cpu_seconds": seconds}
            rows.append({**row, "seed": seed, **measured})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(arguments.out, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
