"""``workbench verify``: re-read a store and name what is damaged or missing."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import tyro

import feature_store
from analyses.reading import progress
from feature_store.errors import NewerVersionError
from feature_store.objects import connect
from feature_store.restore import is_damaged_store
from feature_store.verify import Problem, Report, verify, withdraw
from workbench.results import strict_json
from workbench.results.messages import note, show


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Re-read every shard of a store, check it against its commit record, name the bad ones.

    The commit of a damaged shard is withdrawn, so that the next `workbench extract` computes
    exactly the bad shards again; the damaged data stay until they are replaced. Exit status 0:
    complete and undamaged; 1: something is damaged or missing.

    Examples
    --------
    workbench verify runs/demo/train.zarr
    """

    store: tyro.conf.Positional[str]
    """Folder or URL of the store."""
    report_only: bool = False
    """Change nothing in the store."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        objects = connect(self.store)
        try:
            store = feature_store.FeatureStore(objects)
        except feature_store.StoreError as error:
            if isinstance(error, NewerVersionError) or not is_damaged_store(objects):
                raise
            self._show(Report(problems=[Problem("store", None, "metadata", str(error))]), 0)
            return 1
        total = -(-len(store) // store.shard_images) * len(store.sources())
        with progress.shown("verify", total=total, unit="shard") as bar:
            report = verify(store, progress=bar.update)
        withdrawn = 0
        if not self.report_only:
            try:
                withdrawn = withdraw(store, report.problems)
            except OSError as error:
                note(
                    f"the store cannot be written ({error}): no commit was withdrawn; run verify "
                    f"where it can be"
                )
        self._show(report, withdrawn)
        return 1 if report.problems else 0

    def _show(self, report: Report, withdrawn: int) -> None:
        if self.json:
            found = {
                "store": self.store,
                "shards": report.shards,
                "gb_per_s": report.gb_per_s,
                "withdrawn": withdrawn,
                "problems": [asdict(problem) for problem in report.problems],
            }
            show(strict_json.dumps(found))
        else:
            for problem in report.problems:
                show(str(problem))
        note(
            f"{report.shards} shard(s) good, {len(report.problems)} problem(s); read "
            f"{report.bytes_read / 1e9:.3g} GB at {report.gb_per_s:.2g} GB/s"
            + (f"; {withdrawn} shard(s) will be redone by the next extraction" if withdrawn else "")
        )
