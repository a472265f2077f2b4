"""``workbench extract``: run frozen models over a dataset and store per-token features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

import tyro

from workbench.cluster import EngineOptions
from workbench.results import strict_json
from workbench.results.messages import note, show

if TYPE_CHECKING:
    from workbench.cluster.session import Session
    from workbench.extraction import ExtractReport, ExtractRequest
    from workbench.extraction.loaded_models import LoadedModels


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Run frozen models over images, at one or several scales, and store per-token features.

    Stored shards are not computed again: repeat the command to resume after an interruption.
    Example:

    workbench extract --dataset bundled:textiles:train --model bundled:efficientnet_lite0
    --scales 1x 2x --store runs/textiles-train.zarr
    """

    dataset: str
    """folder:DIR, csv:FILE, bundled:NAME[:train|:test] (textiles, photos, scenes, stereo),
    torchvision:NAME:SPLIT:ROOT or hf:NAME:SPLIT."""
    model: tyro.conf.UseAppendAction[tuple[str, ...]]
    """MODEL or MODEL#TAP; repeat for several models in one pass. `workbench models` lists them."""
    scales: tuple[str, ...]
    """Pixels (224 448 448.whole 224x448) or multiples of the native size (1x 2x)."""
    store: str
    """Folder or URL of the store; created if new."""
    limit: int | None = None
    """Only the first so many images."""
    views: int = 0
    """Also extract so many augmented views of every image (seeded crops and flips), each into a
    store of its own beside --store: s.zarr, s.view1.zarr, ... with equal image ids, as
    `workbench memorize --view` reads them."""
    arithmetic: str = "fp32"
    """Arithmetic of the forward pass: fp32, bf16 or fp16."""
    compile: bool = False
    """Compile the forward pass (torch.compile): takes a minute, pays off on long runs. Values then
    differ by rounding, which the source's identity records."""
    dtype: str = "float16"
    """Stored dtype: float16 or float32."""
    layout: str = "raw"
    """raw (memory-mappable, local disks) or packed (compressed, object stores)."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""
    batch: int | None = None
    """Images decoded and transferred together; by default 8 on a CPU, 32 elsewhere."""
    max_crops: int | None = None
    """Crops per forward pass, bounds memory; 4 (convnets) or 8 on a CPU, else 64, by default."""
    workers: int = 0
    """Decoding processes; 0 decodes in threads of this process. A GPU wants most of the cores."""
    orientation: str = "ignore"
    """EXIF orientation of photographs: ignore (as the published numbers did) or exif (apply)."""
    tolerant: bool = False
    """Keep images whose file is damaged, as far as Pillow decodes them."""
    max_pixels: int | None = None
    """Largest image in pixels (width times height); by default what fits into half the memory,
    divided by the decoding processes."""
    tokens_per_image: int = 0
    """Keep so many token positions per image, drawn at random, for data sets whose full maps do
    not fit; 0 keeps all. The source's scale is then named 224.t16."""
    shard_images: int = 256
    """Images per shard of a new store: the most that a killed run has to redo."""
    retry_failed: bool = False
    """Read images again that could not be read before; with parts, at the --prepare step."""
    recheck: bool = False
    """Re-read what is committed first and redo what is damaged; with parts, at the --prepare
    step."""
    accept_code: bool = False
    """Resume sources that another version of the code or of a library began, if this one gives
    the values that they hold: one committed shard of each is recomputed and compared."""
    part: str | None = None
    """K/N: only the K-th of N equal parts of the shards, for array jobs (docs/cluster.md)."""
    prepare: bool = False
    """Create the store and its sources and stop there: the first step before array jobs."""
    shards_per_task: int = 1
    """Shards given to a worker together, with --engine dask or slurm."""
    cluster: Annotated[EngineOptions, tyro.conf.arg(name="")] = field(default_factory=EngineOptions)
    json: Annotated[bool, tyro.conf.arg(help="Print the report as one JSON object.")] = False

    def run(self) -> int:
        from workbench.cluster.engine import connect
        from workbench.extraction.loaded_models import LoadedModels

        def say(line: str) -> None:
            note(line)

        self._check()
        reports = []
        loaded = LoadedModels()
        requests = [one._request() for one in [self, *self._views()]]
        with connect(self.cluster, say, decoders=self.workers) as session:
            for request in requests:
                report = self._extract(request, session, say, loaded)
                if report is None:
                    continue
                reports.append(asdict(report) | {"images_per_s": report.images_per_s})
                note(summary(report, self.part))
                if report.interrupted:
                    break
        left = 0 if self.prepare else len(requests) - len(reports)
        if left:
            say(f"{left} view(s) not begun; repeat the command to resume")
        if self.json and reports:
            first, *views = reports
            show(strict_json.dumps(first | ({"views": views} if self.views else {})))
        return 1 if left or any(one["stopped"] or one["busy"] for one in reports) else 0

    def _views(self) -> list[Extract]:
        """The same command for each augmented view."""
        from feature_store.dataset_name import view_name
        from feature_store.errors import InputError

        if self.views < 0:
            raise InputError(f"views is {self.views}, expected at least 0")
        return [
            replace(self, dataset=view_name(k, self.dataset), store=view_store(self.store, k))
            for k in range(1, self.views + 1)
        ]

    def _check(self) -> None:
        """Refuse what contradicts itself before anything is started."""
        from feature_store.errors import InputError

        if (self.part or self.prepare) and self.cluster.engine != "local":
            raise InputError(
                f"--part and --prepare are for processes without a scheduler, not for --engine "
                f"{self.cluster.engine}, which divides the work itself"
            )
        if self.shards_per_task < 1:
            raise InputError(f"--shards-per-task is {self.shards_per_task}; expected at least 1")

    def _request(self) -> ExtractRequest:
        from workbench.extraction import ExtractRequest

        apart = ("json", "model", "views", "part", "prepare", "shards_per_task", "cluster")
        options = {k: v for k, v in vars(self).items() if k not in apart}
        return ExtractRequest(models=self.model, **options)

    def _extract(
        self,
        request: ExtractRequest,
        session: Session | None,
        say: Callable[[str], None],
        loaded: LoadedModels,
    ) -> ExtractReport | None:
        """Do it on the engine asked for; nothing to report where the store was only prepared."""
        from workbench.cluster.extraction import extract_on
        from workbench.extraction import extract
        from workbench.extraction.local import open_extraction
        from workbench.extraction.request import Part

        part = None if self.part is None else Part.parse(self.part)
        if self.prepare:
            run = open_extraction(request, say, loaded)
            say(f"{run.store.path} is prepared: {len(run.missing())} shard(s) to compute")
            return None
        if session is None:
            return extract(request, part=part, log=say, loaded=loaded)
        return extract_on(session, request, shards_per_task=self.shards_per_task, log=say)


def view_store(store: str, view: int) -> str:
    """Where a view's features go: ``runs/a.zarr`` -> ``runs/a.view1.zarr``."""
    above, slash, name = store.rstrip("/").rpartition("/")
    path = PurePosixPath(name)
    return f"{above}{slash}{path.stem}.view{view}{path.suffix}"


def summary(report, part: str | None = None) -> str:
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
    lines = [head]
    if report.redone:
        lines.append(
            f"at most {report.redone} shard(s) were computed once more because a worker was lost"
        )
    if report.failed:
        lines.append(
            f"{len(report.failed)} image(s) could not be read; their rows are NaN with "
            f"status decode_failed "
            f"(--retry-failed reads them again once they are repaired):"
        )
        shown = list(report.failed.items())[:20]
        lines += [f"  {image_id}: {reason}" for image_id, reason in shown]
        if len(report.failed) > len(shown):
            lines.append(
                f"  ... and {len(report.failed) - len(shown)} more (workbench status "
                f"{report.store} --json lists all)"
            )
    return "\n".join(lines)
