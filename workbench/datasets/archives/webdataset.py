"""``wds:URLS``: WebDataset shards, local or at URLs that fsspec reads.

The library ``webdataset`` streams samples without their places: resuming at a row, galleries, and
refusing keys that repeat across shards need a list of members, so this package reads the headers
itself. A test compares keys and images with the library's own.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import BinaryIO

from feature_store.dataset_name import DatasetName
from feature_store.errors import InputError
from workbench.datasets.archives.listings import Listing, list_members
from workbench.datasets.archives.location import Archive, expanded, located
from workbench.datasets.archives.members import RAW, no_images, reader_of
from workbench.datasets.archives.tar import members, readable
from workbench.datasets.base import Dataset
from workbench.datasets.formats import extensions
from workbench.datasets.table_rows import numbered_labels

LABELS = ("class_name", "label", "class", "cls")
"""Fields of a sample's ``.json`` that name its class, the first of them that is there."""
LABEL_BYTES = 1 << 20
"""Largest ``.cls`` or ``.json`` that is read."""


@dataclass
class Sample:
    """Members of one key."""

    images: list[tuple[str, int, int]] = field(default_factory=list)
    """(extension, offset, bytes) of each; the extension is everything behind the first dot of the
    name, in lower case."""
    notes: dict[str, bytes] = field(default_factory=dict)
    """What ``cls`` and ``json`` contain."""


def open_shards(name: DatasetName, beside: str | None = None) -> Dataset:
    """Samples with an image, in the order of the shards and of their members.

    The id of an image is its sample's key: its path up to the first dot of the file name. The image
    is the member whose extension is that of a readable format without further dots (``jpg`` before
    ``seg.png``), or the only one that ends in such an extension. Its class is a text in the
    ``.json`` (:data:`LABELS`) or in ``.cls``, or else the number there.

    Raises
    ------
    InputError
        A missing, compressed, damaged or truncated shard, no image, a key with several images, in
        one shard or in two.
    """
    what = str(name)
    archives = located(expanded(name.path, what), what)
    listings = list_members("wds", archives, scan, beside)
    skipped: Counter[str] = sum((one.skipped for one in listings), Counter())
    ids, reader = reader_of(archives, listings, what)
    if not ids:
        raise no_images(what, skipped)
    labels = [label for listing in listings for label in listing.labels]
    label_names, codes = numbered_labels(name.path, labels)
    return Dataset(
        name=what,
        image_ids=ids,
        labels=codes,
        label_names=label_names,
        reader=reader,
        state_of=reader.state,
        skipped=dict(skipped),
    )


def scan(archive: Archive) -> Listing:
    """The samples of one shard."""
    found = Listing()
    samples: dict[str, Sample] = {}
    with readable(archive) as handle:
        for member, path in members(handle, archive.path, found.skipped):
            key, extension = key_and_extension(path)
            if not key:
                found.skipped["without key"] += 1
                continue
            sample = samples.setdefault(key, Sample())
            if extension in ("cls", "json"):
                if member.size <= LABEL_BYTES:
                    sample.notes[extension] = _content(handle, member.offset_data, member.size)
                else:
                    found.skipped[f".{extension} above {LABEL_BYTES >> 20} MB"] += 1
            elif f".{extension.rpartition('.')[2]}" in extensions():
                sample.images.append((extension, member.offset_data, member.size))
            else:
                found.skipped[f".{extension}"] += 1
    for key, sample in samples.items():
        image = _image(key, sample, archive.path, found.skipped)
        if image is not None:
            found.ids.append(key)
            found.labels.append(_label(sample, found.skipped))
            found.places.append((image[1], image[2], image[2], RAW, 0))  # type: ignore[union-attr]
    return found


def key_and_extension(path: str) -> tuple[str, str]:
    """Key and lower-case extension of a member, WebDataset's rule; empty without one of them.

    >>> key_and_extension("train/cat.01.seg.PNG")
    ('train/cat', '01.seg.png')
    """
    folder, slash, base = path.rpartition("/")
    key, _, extension = base.partition(".")
    special = base.startswith("__") and base.endswith("__")
    if not (key and extension) or special:
        return "", ""
    return folder + slash + key, extension.lower()


def _content(handle: BinaryIO, offset: int, size: int) -> bytes:
    handle.seek(offset)
    return handle.read(size)


def _image(
    key: str, sample: Sample, where: str, skipped: Counter[str]
) -> tuple[str, int, int] | None:
    """The sample's image; None, and counted, without one."""
    plain = [image for image in sample.images if "." not in image[0]]
    chosen = plain or sample.images
    if len(chosen) > 1:
        raise InputError(
            f"the sample {key!r} of {where} has {len(chosen)} images "
            f"({', '.join(image[0] for image in chosen)}), expected 1. Keys end at the first dot "
            f"of a name: rename the members, or read the archive as tar:{where}"
        )
    for other in sample.images:
        if other not in chosen:
            skipped[f".{other[0]}"] += 1
    if not chosen:
        skipped["sample without an image"] += 1
        return None
    return chosen[0]


def _label(sample: Sample, skipped: Counter[str]) -> str:
    """Name of the sample's class; empty without one."""
    found = [_json_label(sample.notes.get("json", b""), skipped)]
    try:
        found.append(sample.notes.get("cls", b"").decode().strip())
    except UnicodeDecodeError:
        skipped[".cls that is not text"] += 1
    names = [label for label in found if label and not label.lstrip("-").isdecimal()]
    return next(iter(names or filter(None, found)), "")


def _json_label(text: bytes, skipped: Counter[str]) -> str:
    if not text:
        return ""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        skipped[".json that is not JSON"] += 1
        return ""
    values = [fields[name] for name in LABELS if name in fields] if isinstance(fields, dict) else []
    good = [v for v in values if isinstance(v, str | int) and not isinstance(v, bool)]
    return str(good[0]).strip() if good else ""
