"""``workbench verify``: re-read a store and name what is damaged or missing."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

import tyro

from workbench.results import strict_json


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Re-read every shard of a store, check it against its commit record, name the bad ones.

    The commit of a damaged shard is withdrawn, so that the next `workbench extract` computes
    exactly the bad shards again; the damaged data stay until they are replaced. Exit status 0:
    complete and undamaged; 1: something is damaged or missing. Example:

    workbench verify runs/demo/train.zarr
    """

    store: tyro.conf.Positional[str]
    """Folder or URL of the store."""
    report_only: bool = False
    """Change nothing in the store."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from tqdm.auto import tqdm

        import feature_store
        from feature_store.verify import verify, withdraw

        store = feature_store.open(self.store)
        total = -(-len(store) // store.shard_images) * len(store.sources())
        with tqdm(total=total, unit="shard", desc="verify", file=sys.stderr) as bar:
            report = verify(store, progress=bar.update)
        withdrawn = 0
        if not self.report_only:
            try:
                withdrawn = withdraw(store, report.problems)
            except OSError as error:
                print(
                    f"the store cannot be written ({error}): no commit was withdrawn; run verify "
                    f"where it can be",
                    file=sys.stderr,
                )
        if self.json:
            print(
                strict_json.dumps(
                    {
                        "store": store.path,
                        "shards": report.shards,
                        "gb_per_s": report.gb_per_s,
                        "withdrawn": withdrawn,
                        "problems": [asdict(problem) for problem in report.problems],
                    }
                )
            )
        else:
            for problem in report.problems:
                print(problem)
        print(
            f"{report.shards} shard(s) good, {len(report.problems)} problem(s); read "
            f"{report.bytes_read / 1e9:.3g} GB at {report.gb_per_s:.2g} GB/s"
            + (
                f"; {withdrawn} shard(s) will be redone by the next extraction" if withdrawn else ""
            ),
            file=sys.stderr,
        )
        return 1 if report.problems else 0
