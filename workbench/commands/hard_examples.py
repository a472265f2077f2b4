"""``workbench hard-examples``: what only the larger model gets right (Figure 7)."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class HardExamples:
    """Test images that a larger model gets better and S2 does not, and why they are hard.

    Example: workbench hard-examples --train train.zarr --test test.zarr
    --source bundled:efficientnet_lite0@224 --source bundled:efficientnet_lite0@224+448
    --source bundled:efficientnet_lite2@224 --out runs/hard
    """

    train: str
    """Store of the training images; must have labels."""
    test: str
    """Store of the test images; classes are matched by name."""
    source: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """Three: a small model at one scale, the same at several, and a larger model at one."""
    count: int = 20
    """Hard examples reported."""
    neighbours: int = 5
    """Nearest training images shown and counted for each."""
    tokens: Literal["mean", "prefix"] = "mean"
    """What stands for an image: the mean over its tokens, or its first prefix token (CLS)."""
    l2: float | None = None
    """Penalty of the heads; by default chosen on held-out training images."""
    duplicates: float = 0.98
    """Cosine from which a test image counts as a near-duplicate of a training image."""
    device: str = "cpu"
    """Torch device of the heads and of the neighbour search."""
    out: Path | None = None
    """Folder for hard.json, hard.csv, hard.html, hard.png, duplicates.csv and label_errors.csv."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        """Rank, describe and draw; the exit status."""
        import feature_store
        from analyses import hard_examples
        from analyses.linear_head import HeadConfig
        from analyses.probe import ProbeConfig

        head = HeadConfig(device=self.device)
        config = hard_examples.HardConfig(
            count=self.count,
            neighbours=self.neighbours,
            device=self.device,
            probe=ProbeConfig(tokens=self.tokens, l2=self.l2, head=head),
        )
        stores = feature_store.open(self.train), feature_store.open(self.test)
        table = hard_examples.compute(*stores, sources=self.source, config=config)
        rows = json.loads(table.to_json(orient="records"))
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / "hard.json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
            table.to_csv(self.out / "hard.csv", index=False)
            self._galleries(table, *stores, self.out)
            self._suspects(*stores, table.attrs["sources"]["large"], self.out)
        if self.json:
            print(json.dumps({"rows": rows, "eligible": table.attrs["eligible"]}))
        else:
            shown = ["image_id", "label", "drop", "s2_drop", "rare", "ambiguous"]
            print(table[shown].to_string(index=False, float_format="{:.3f}".format))
            print(
                f"{table.attrs['eligible']} test images that only the larger model gets better; "
                f"of the {len(table)} shown {table['rare'].sum()} are rare and "
                f"{table['ambiguous'].sum()} ambiguous"
            )
        return 0

    def _galleries(self, table, train, test, out: Path) -> None:
        from workbench.datasets.pictures import reader
        from workbench.figures.gallery import Pictures, write_html, write_png

        pictures = Pictures(reader(train), reader(test), train.image_ids, test.image_ids)
        title = f"Hard examples: {', '.join(table.attrs['sources'].values())}"
        write_html(table, pictures, out / "hard.html", title)
        write_png(table, pictures, out / "hard.png")
        print(f"wrote hard.html and hard.png in {out}", file=sys.stderr)

    def _suspects(self, train, test, source: str, out: Path) -> None:
        from analyses.neighbours import label_error_candidates, near_duplicates, normalise
        from analyses.pooled import pool

        seen, asked = pool(train, [source], self.tokens), pool(test, [source], self.tokens)
        rows = seen.features(source).load()
        mean = rows.mean(0)
        features = normalise(rows, mean)
        queries = normalise(asked.features(source).load(), mean)
        found = near_duplicates(features, queries, threshold=self.duplicates, device=self.device)
        found["test"] = test.image_ids[asked.rows[found["test_row"]]]
        found["train"] = train.image_ids[seen.rows[found["train_row"]]]
        found[["test", "train", "similarity"]].to_csv(out / "duplicates.csv", index=False)
        known = train.labels[seen.rows] >= 0
        labels = train.labels[seen.rows][known]
        wrong = label_error_candidates(features[known], labels, device=self.device)
        wrong["image_id"] = train.image_ids[seen.rows[known][wrong["row"]]]
        wrong["label"] = [train.label_names[c] for c in labels[wrong["row"]]]
        wrong["suggested"] = [train.label_names[c] for c in wrong["suggested"]]
        columns = ["image_id", "label", "suggested", "share"]
        wrong[columns].to_csv(out / "label_errors.csv", index=False)
        print(f"{len(found)} near-duplicates, {len(wrong)} label-error candidates", file=sys.stderr)
