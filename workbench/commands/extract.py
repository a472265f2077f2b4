"""``workbench extract``: run frozen models over a dataset and store per-token features."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from feature_store.dataset_name import view_name
from feature_store.errors import InputError, require_at_least
from workbench.cluster import EngineOptions
from workbench.cluster.engine import connect
from workbench.extraction.request import ExtractReport, ExtractRequest, ShardPart
from workbench.options import options_of
from workbench.results import strict_json
from workbench.results.messages import note, show

if TYPE_CHECKING:
    from workbench.cluster.session import Session
    from workbench.extraction.loaded_models import LoadedModels

SPLIT = "{split}"
"""What the names of --splits replace."""
MODELS = tyro.conf.arg(
    name="model",
    help="MODEL or MODEL#TAP; repeat for several models in one pass. `workbench models` lists "
    "them.",
)


@dataclass(frozen=True, kw_only=True)
class Extract:
    r"""Run frozen models over images, at one or several scales, and store per-token features.

    Stored shards are not computed again: repeat the command to resume after an interruption.

    Examples
    --------
    workbench extract --dataset bundled:textiles:{split} --splits train test \
        --model bundled:efficientnet_lite0 --scales 1x 2x --store runs/textiles-{split}.zarr
    """

    request: Annotated[
        ExtractRequest,
        options_of(
            ExtractRequest, models=Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], MODELS]
        ),
    ]
    splits: tuple[str, ...] = ()
    """Names that take the place of {split} in --dataset and --store, one after the other, such as
    train test."""
    views: int = 0
    """Also extract this many augmented views of every image (seeded crops and flips), each into a
    store of its own beside --store: s.zarr, s.view1.zarr, ... with equal image ids, as
    `workbench memorize --views` reads them."""
    part: str | None = None
    """K/N: only the K-th of N equal parts of the shards, for array jobs (docs/cluster.md)."""
    prepare: bool = False
    """Create the store and its sources and stop there: the first step before array jobs."""
    shards_per_task: int = 1
    """Shards given to a worker together, with --engine dask or slurm."""
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        from workbench.extraction.loaded_models import LoadedModels

        self._check()
        reports = []
        loaded = LoadedModels()
        requests = [one for split in self._splits() for one in (split, *self._views(split))]
        with connect(self.cluster, note, decoders=self.request.workers) as session:
            for request in requests:
                report = self._extract(request, session, loaded)
                if report is None:
                    continue
                reports.append(asdict(report) | {"images_per_s": report.images_per_s})
                note(summary(report, self.part))
                if report.interrupted:
                    break
        left = 0 if self.prepare else len(requests) - len(reports)
        if left:
            note(f"{left} split(s) or view(s) not begun; repeat the command to resume")
        if self.json and reports:
            each = 1 + self.views
            found = [self._json(reports[k : k + each]) for k in range(0, len(reports), each)]
            show(strict_json.dumps({"splits": found} if self.splits else found[0]))
        return 1 if left or any(one["stopped"] or one["busy"] for one in reports) else 0

    def _json(self, reports: list[dict[str, Any]]) -> dict[str, Any]:
        """The report of one split, with the reports of its views."""
        first, *views = reports
        return first | ({"views": views} if self.views else {})

    def _splits(self) -> list[ExtractRequest]:
        """The request of each split; without splits, the given request."""
        given = {"--dataset": self.request.dataset, "--store": self.request.store}
        for option, value in given.items():
            if (SPLIT in value) != bool(self.splits):
                raise InputError(
                    f"{option} is {value!r}; with --splits train test it contains {SPLIT}, which "
                    f"each of these names replaces, and without --splits it does not"
                )
        if not self.splits:
            return [self.request]
        if len(set(self.splits)) < len(self.splits):
            raise InputError(f"--splits names one twice: {' '.join(self.splits)}")
        return [
            replace(
                self.request,
                dataset=self.request.dataset.replace(SPLIT, split),
                store=self.request.store.replace(SPLIT, split),
            )
            for split in self.splits
        ]

    def _views(self, base: ExtractRequest) -> list[ExtractRequest]:
        """The same request for each augmented view."""
        return [
            replace(base, dataset=view_name(k, base.dataset), store=view_store(base.store, k))
            for k in range(1, self.views + 1)
        ]

    def _check(self) -> None:
        """Refuse what contradicts itself before anything is started."""
        if (self.part or self.prepare) and self.cluster.engine != "local":
            raise InputError(
                f"--part and --prepare are for processes without a scheduler, not for --engine "
                f"{self.cluster.engine}, which divides the work itself"
            )
        require_at_least(self, shards_per_task=1, views=0)

    def _extract(
        self, request: ExtractRequest, session: Session | None, loaded: LoadedModels
    ) -> ExtractReport | None:
        """Do it on the engine asked for; nothing to report where the store was only prepared."""
        from workbench.cluster.extraction import extract_on
        from workbench.extraction.local import extract, open_extraction

        part = None if self.part is None else ShardPart.parse(self.part)
        if self.prepare:
            run = open_extraction(request, note, loaded)
            note(f"{run.store.path} is prepared: {len(run.missing())} shard(s) to compute")
            return None
        if session is None:
            return extract(request, part=part, log=note, loaded=loaded)
        return extract_on(session, request, shards_per_task=self.shards_per_task, log=note)


def view_store(store: str, view: int) -> str:
    """The store of a view's features: ``runs/a.zarr`` -> ``runs/a.view1.zarr``."""
    above, slash, name = store.rstrip("/").rpartition("/")
    path = PurePosixPath(name)
    return f"{above}{slash}{path.stem}.view{view}{path.suffix}"


def summary(report: ExtractReport, part: str | None = None) -> str:
    """The last lines of a run: where, how many, how fast, how large, and what failed."""
    what = f"{len(report.sources)} source(s) of {report.images} images in {report.store}"
    size = f"{report.bytes_stored / 1e6:.1f} MB"
    if report.stopped and not report.sources:  # no worker had come, or loaded the models
        head = "stopped before any shard was begun; repeat the command to start again"
    elif report.stopped:
        head = f"stopped: {report.shards} shard(s) done of {what}; repeat the command to resume"
    elif report.busy:
        head = (
            f"{report.busy} shard(s) of {what} are being computed by another process; repeat "
            f"the command when it has finished"
        )
    elif not report.shards and part:
        head = f"nothing to do: part {part} of {what} is complete"
    elif not report.shards:
        head = f"nothing to do: {what} are complete ({size})"
    else:
        head = (
            f"stored {what}: {size}, {report.computed} images in {report.seconds:.1f} s "
            f"({report.images_per_s:.1f} images/s)"
        )
        if report.crops:
            head += f", {report.crops / report.computed:.2f} selected crops an image"
    lines = [head]
    if report.redone:
        lines.append(
            f"at most {report.redone} shard(s) were computed once more because a worker was lost"
        )
    if report.failed:
        lines.append(
            f"{len(report.failed)} image(s) could not be read; their rows are NaN with status "
            f"decode_failed (--retry-failed reads them again once they are repaired):"
        )
        shown = list(report.failed.items())[:20]
        lines += [f"  {image_id}: {reason}" for image_id, reason in shown]
        if len(report.failed) > len(shown):
            lines.append(
                f"  ... and {len(report.failed) - len(shown)} more (workbench status "
                f"{report.store} --json lists all)"
            )
    return "\n".join(lines)
