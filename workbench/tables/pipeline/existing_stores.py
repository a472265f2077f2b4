"""Stores that exist already, compared with the config: they fit, lack sources, or are refused.

Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import feature_store
from feature_store import FeatureStore, InputError, Source, protocol
from feature_store.accepted_code import is_accepted
from feature_store.dataset_name import at, base
from feature_store.growth import grown
from feature_store.objects import connect
from feature_store.root import can_create
from workbench import code_hash, datasets
from workbench.extraction.same_images import compare, is_at_its_path
from workbench.results.messages import note
from workbench.tables.pipeline.profile import DataSplit, Profile

if TYPE_CHECKING:
    from workbench.tables.pipeline.plan import MeasurementPlan

Missing = dict[str, list[str]]
"""Model with its tap → scales."""


Listing = Callable[[str], datasets.Dataset]
"""Dataset name → its images, none of them decoded."""


def missing_sources(
    split: DataSplit, sources: list[Source], profile: Profile, listing: Listing = datasets.open
) -> Missing:
    """The single-scale sources that a split's store lacks, for some or for all of its images.

    `listing` may remember what it lists: several splits are views of one dataset.

    Raises
    ------
    InputError
        The store was made from another dataset, images, labels or arithmetic than the config names,
        holds more images than that, or is none; the dataset cannot be opened.
    """
    path = profile.path(split)
    store = _existing(path, split)
    stored: set[Source] = set()
    if store is not None and _holds_every_image(store, split, listing):
        stored = {source for source in sources if _complete(store, source)}
    if store is not None:
        _refuse_other_precision(store, sources, profile, split)
        _refuse_other_versions(store, [source for source in sources if source not in stored])
    wanted: Missing = {}
    for source in sources:
        if source not in stored:
            wanted.setdefault(source.model_and_tap, []).append(source.scales[0])
    return wanted


def is_missing(found: Missing, source: Source) -> bool:
    """Whether a single-scale source is among what was found to be lacking."""
    return source.scales[0] in found.get(source.model_and_tap, [])


def refuse_mixing(plan: MeasurementPlan, profile: Profile, found: Mapping[str, Missing]) -> None:
    """Refuse before anything is extracted what would be refused as mixed once all is measured.

    `found` maps a store's name to its missing parts; other stores are ignored.

    Raises
    ------
    InputError
        A table needs features that are stored by another version, and some that are not stored.
    """
    for table in plan.tables:
        used = {
            plan.of[quantity]
            for quantity in table.quantities(profile.name)
            if quantity in plan.of and quantity.data
        }
        needed = [
            (split, source)
            for measurement in used
            for split in profile.data[measurement.data].values()
            if split.store in found
            for source in measurement.singles()
        ]
        absent = [(split, s) for split, s in needed if is_missing(found[split.store], s)]
        for split, source in dict.fromkeys(needed) if absent else ():
            if (split, source) in absent:
                continue
            store = feature_store.open(profile.path(split))
            if differing := _other_version(store, source):
                raise InputError(
                    f"table {table.key} would mix versions: {store.path} holds {source}, but "
                    f"{absent[0][1]} of {absent[0][0].key} is not stored and would be computed "
                    f"otherwise ({differing}). Compute it with that version, or {_ELSEWHERE}"
                )


def _existing(path: str, split: DataSplit) -> FeatureStore | None:
    if can_create(connect(path, read_only=True)):
        return None
    try:
        return feature_store.open(path)
    except InputError as error:
        raise InputError(
            f"{path} should hold the features of {split.key}, but {error}; move away what is "
            f"there, or {_ELSEWHERE}"
        ) from error


_ELSEWHERE = "name another folder, as `stores` in the config or with --out"


def _holds_every_image(store: FeatureStore, split: DataSplit, listing: Listing) -> bool:
    """Whether the store has a row for each image that the config names."""
    _refuse_other_images(store, split)
    dataset = _listed(split, listing)
    if split.limit is not None and len(store) > len(dataset):
        raise InputError(
            f"{store.path} holds {len(store)} images of {store.dataset}, but {split.key}_limit "
            f"leaves {len(dataset)}. Stored rows are never dropped: raise the limit to "
            f"{len(store)}, or {_ELSEWHERE}"
        )
    if _as_recorded(store, dataset):
        return True
    try:
        ids, _, _ = grown(store, dataset.image_ids, dataset.labels, dataset.label_names)
    except InputError as error:
        raise InputError(
            f"{split.key} = {split.dataset!r} is not what its store was made from: {error}. For "
            f"tables: {_ELSEWHERE}"
        ) from error
    return len(ids) == len(store)


def _refuse_other_images(store: FeatureStore, split: DataSplit) -> None:
    """A dataset at another path is the store's if its images have the recorded pixels."""
    if is_at_its_path(store, split.dataset):
        return
    why = ""
    if at(store.dataset, "/") == at(split.dataset, "/"):
        try:
            there = datasets.open(split.dataset, limit=split.limit, beside=store.path)
            moved = compare(store, there, note)
            if not moved.changed:
                return
            why = f", where {len(moved.changed)} of {moved.known} stored images have other pixels"
        except InputError as error:
            why = f": {error}"
    raise InputError(
        f"{store.path} holds features of {store.located_dataset}, but {split.key} is "
        f"{split.dataset}{why}; name the former there, or {_ELSEWHERE}"
    )


def _as_recorded(store: FeatureStore, dataset: datasets.Dataset) -> bool:
    """Whether ids, labels and class names equal the ones that the store's root records."""
    return (
        protocol.ids_sha256(dataset.image_ids) == store.attrs["image_ids_sha256"]
        and protocol.labels_sha256(dataset.labels) == store.attrs["labels_sha256"]
        and list(dataset.label_names) == store.label_names
    )


def _listed(split: DataSplit, listing: Listing) -> datasets.Dataset:
    """The images that the config names for a split; a view has the ids and labels of its images."""
    try:
        return listing(base(split.dataset)).take(split.limit)
    except InputError as error:
        raise InputError(f"{split.key} = {split.dataset!r}: {error}") from error


def _refuse_other_precision(
    store: FeatureStore, sources: list[Source], profile: Profile, split: DataSplit
) -> None:
    for source in sources:
        try:
            found = store.source(store.resolve(source)).manifest.get("precision")
        except InputError:
            continue  # not stored
        if found != profile.arithmetic:
            raise InputError(
                f"{store.path} holds {source} computed in {found}, but the arithmetic for "
                f"{split.key} is {profile.arithmetic}; set arithmetic = {str(found)!r} in the "
                f"config, or {_ELSEWHERE}"
            )


def _refuse_other_versions(store: FeatureStore, unfinished: list[Source]) -> None:
    """Refuse sources that extraction could not resume, before it makes room for further images."""
    for source in unfinished:
        try:
            differing = _other_version(store, source)
        except InputError:
            continue  # not stored: nothing to resume
        stored = store.source(store.resolve(source))
        if differing and not is_accepted(stored, stored.manifest | _this_version()):
            raise InputError(
                f"{store.path} lacks images of {source}, and the others were computed by another "
                f"version ({differing}); complete it with `workbench extract --accept-code`, "
                f"continue with that version, or {_ELSEWHERE}"
            )


def _this_version() -> dict[str, Any]:
    return {"libraries": code_hash.library_versions(), "code_sha256": code_hash.code_sha256()}


def _other_version(store: FeatureStore, source: Source) -> str:
    """How the libraries and code behind a stored source differ from these; empty if they do not."""
    manifest, now = store.source(store.resolve(source)).manifest, _this_version()
    return "; ".join(protocol.differences({k: manifest.get(k) for k in now}, now))


def _complete(store: FeatureStore, source: Source) -> bool:
    try:
        return not store.source(source).missing()
    except InputError:
        return False
