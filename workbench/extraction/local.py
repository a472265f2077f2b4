"""Extraction in this process, all missing shards or one part of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from feature_store import FeatureStore, InputError
from feature_store.status import repair_status
from workbench import datasets
from workbench.datasets.bundled.photos import few_photographs
from workbench.datasets.folder import skipped_text
from workbench.extraction.jobs import below_native, resolve_jobs
from workbench.extraction.loaded_models import LoadedModels
from workbench.extraction.request import ExtractReport, ExtractRequest, ShardPart
from workbench.extraction.run import Extraction
from workbench.extraction.selective import Selector
from workbench.extraction.target_store import is_new, open_target, withdraw_damaged, withdraw_failed


def extract(
    request: ExtractRequest,
    *,
    part: ShardPart | None = None,
    log: Callable[[str], None] = lambda line: None,
    loaded: LoadedModels | None = None,
) -> ExtractReport:
    """Compute the missing shards of the requested sources and commit them one by one.

    Parameters
    ----------
    request : ExtractRequest
        Models, scales and images to run.
    part : ShardPart, optional
        Only these shards, for processes that divide a store among themselves.
    log : callable
        Receives one line of prose at a time: the plan, and anything worth knowing on the way.
    loaded : LoadedModels, optional
        Given to one extraction after the other, it spares loading their models again.

    Returns
    -------
    ExtractReport
        Returned also if nothing was missing (``shards == 0``).

    Raises
    ------
    InputError
        Anything wrong with the request, before a model runs; features that do not fit the dtype.
    """
    if part and (once := _withdrawing(request)):
        raise InputError(
            f"part {part.number}/{part.of} cannot be combined with {once[0]}: it takes back shards "
            f"of the whole store, also those that other parts have just computed; run the command "
            f"once with --prepare in place of --part, which takes them back, then the parts "
            f"without it"
        )
    # Parts leave it to the --prepare step to look at every image.
    run = open_extraction(request, log, loaded, check_images=part is None)
    shards = part.shards(run.shard_count) if part else None
    with writing(run):
        report = run.execute(shards)
    if report.busy and not run.missing(shards):
        report.busy = 0  # the other processes have committed their shards meanwhile
    return described(report, run.store, [s for job in run.jobs for s in job.plans])


def open_extraction(
    request: ExtractRequest,
    log: Callable[[str], None] = lambda line: None,
    loaded: LoadedModels | None = None,
    *,
    check_images: bool = True,
) -> Extraction:
    """Resolve the request, open or create its store, load its models and check their sources.

    Models in `loaded` are not loaded again; models that the request does not need are removed from
    it first. `check_images` checks that the images still equal the stored ones, which one process
    does for all.

    Raises
    ------
    InputError
        Anything wrong with the request, or sources that were stored from something else.
    """
    jobs = resolve_jobs(request.models, request.scales, request.tokens_per_image, request.fit)
    if selector := Selector.of(request):
        for job in jobs:
            selector.check(job)
    request = request.for_device(pick_device(request.device))
    decoders = request.workers or (torch.get_num_threads() if request.device == "cpu" else 1)
    dataset = datasets.open(
        request.dataset,
        limit=request.limit,
        decoding=request.decoding(decoders),
        beside=request.store,
    )
    if dataset.skipped:
        log(f"left out of {dataset.name}: {skipped_text(dataset.skipped)}")
    for line in (*below_native(jobs, request.scales), *few_photographs(dataset.name)):
        log(f"warning: {line}")
    loaded = loaded or LoadedModels()
    loaded.keep_only(jobs, request.model_options)
    store = (
        None
        if is_new(request.store)
        else open_target(request, dataset, log, check_images=check_images)
    )
    for job in jobs:
        loaded.get(job, request.model_options, log)
    # A new store only now: weights that cannot be had leave nothing behind.
    store = store or open_target(request, dataset, log, check_images=check_images)
    wanted = [source for job in jobs for source in job.plans]
    if request.recheck:
        withdraw_damaged(store, wanted, log)
    if request.retry_failed:
        withdraw_failed(store, wanted, log)
    run = Extraction(request, store, dataset, loaded, log)
    with writing(run):
        for job in jobs:
            run.prepare(job)
        sources = [store.source(source) for source in wanted]
        for shard in repair_status(store.objects, sources, store.readable_sources):
            log(f"chunk {shard} of the status array was damaged and is restored")
    return run


def _withdrawing(request: ExtractRequest) -> list[str]:
    """Options of the request that take back commits of the whole store."""
    options = ("recheck", "retry_failed", "redo_changed")
    return [f"--{name.replace('_', '-')}" for name in options if getattr(request, name)]


@contextmanager
def writing(run: Extraction) -> Iterator[None]:
    """A disk that is full or read-only becomes an error that says what is safe and what to do."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write to {run.store.path} ({error.strerror or error}). {run.report.shards} "
            f"shard(s) of this run are committed and nothing half-written counts; make room or "
            f"make it writable, then repeat the command"
        ) from error


def described(report: ExtractReport, store: FeatureStore, sources: list) -> ExtractReport:
    """The report with what the store says of the sources: names, bytes, unreadable images."""
    report.sources = [str(source) for source in sources]
    report.bytes_stored = sum(store.source(s).bytes_total for s in sources)
    for source in sources:
        for row, reason in store.source(source).failed_rows().items():
            report.failed[str(store.image_ids[row])] = reason
    return report


def pick_device(name: str) -> str:
    """``auto`` becomes cuda if available, else cpu.

    Raises
    ------
    InputError
        A device that this machine or this build of torch does not have.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise InputError(
            f"device {name!r} cannot be used here ({first}); name cpu, cuda or cuda:1"
        ) from error
    return name
