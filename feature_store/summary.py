"""Status of stored sources, for ``workbench status`` and for a notebook cell."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from shlex import quote

from feature_store.stored_source import StoredSource


@dataclass(frozen=True, kw_only=True)
class SourceStatus:
    """One stored single-scale source."""

    source: str
    """Full name ``MODEL#TAP@SCALE``."""
    shards_done: int
    """Shards with a valid commit record and files of full size; object stores are not asked."""
    shards_total: int
    """Shards of the whole source."""
    images: int
    """Images in committed shards."""
    failed: int
    """Images among them that could not be read."""
    bytes: int
    """Bytes of committed values, prefix tokens included."""
    identity: str
    """sha256 of the manifest."""
    complete: bool
    """Whether all shards are done."""
    dtype: str
    """Stored dtype."""
    grid: tuple[int, ...]
    """Rows and columns of the token map."""
    channels: int
    """Channels per token."""
    kept: int
    """Token positions kept per image; 0 = all of the grid."""
    pretrained: bool | None
    """False for random weights; None where the manifest does not say."""
    foreign: bool
    """Whether another tool made the features."""
    float16_relative_rms: float | None
    """Relative root mean square error of the stored dtype; None before the first commit."""
    created: str
    """UTC time the source was created."""
    updated: str | None
    """UTC time of the last commit."""
    finish: str | None
    """Command that computes the missing shards; None where the source is complete."""

    @classmethod
    def of(cls, stored: StoredSource, dataset: str) -> SourceStatus:
        """Status of one stored source; reads commit records and sizes of files."""
        records = [r for r in stored.committed_records() if stored.has_files(r.shard)]
        rows = sum(record.stop - record.start for record in records)
        complete = len(records) == stored.shard_count
        return cls(
            source=str(stored.source),
            shards_done=len(records),
            shards_total=stored.shard_count,
            images=rows,
            failed=sum(len(record.failed) for record in records),
            bytes=stored.bytes_total * rows // max(1, stored.images),
            identity=stored.identity,
            complete=complete,
            dtype=stored.arrays["tokens"].dtype.name,
            grid=stored.grid,
            channels=stored.channels,
            kept=stored.kept,
            pretrained=stored.manifest.get("pretrained"),
            foreign=stored.manifest.get("foreign") is True,
            float16_relative_rms=stored.float16_relative_rms(),
            created=stored.created,
            updated=max((record.written for record in records), default=None),
            finish=None if complete else finishing_command(stored, dataset),
        )


DECODING = {"orientation applied": "--orientation exif", "damaged files kept": "--tolerant"}
"""Text in the manifest's field ``decoder`` to the option that it came from."""


def finishing_command(stored: StoredSource, dataset: str) -> str:
    """The command line that computes the missing shards, with the settings of the stored ones."""
    if stored.manifest.get("foreign") is True:
        return "feature_store.import_features, with the arrays of this source"
    source = stored.source
    default = stored.manifest.get("default_tap") == source.tap
    options = {
        "--dataset": dataset,
        "--model": source.model if default else f"{source.model}#{source.tap}",
        "--scales": source.scales[0].removesuffix(f".t{stored.kept}"),
        "--limit": str(stored.images),
        "--dtype": stored.arrays["tokens"].dtype.name,
        "--layout": "raw" if stored.arrays["tokens"].raw else "packed",
        "--arithmetic": str(stored.manifest.get("precision", "fp32")),
        "--tokens-per-image": str(stored.kept),
        "--store": stored.objects.url,
    }
    defaults = {
        "--dtype": "float16",
        "--layout": "raw",
        "--arithmetic": "fp32",
        "--tokens-per-image": "0",
    }
    parts = [f"{k} {quote(v)}" for k, v in options.items() if defaults.get(k) != v]
    decoder = str(stored.manifest.get("decoder", ""))
    parts += [option for text, option in DECODING.items() if text in decoder]
    return " ".join(["workbench extract", *parts])


def size_text(number: float) -> str:
    """Bytes in powers of 1000, three digits: ``31.4 MB``."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while number >= 1000 and len(units) > 1:
        number, units = number / 1000, units[1:]
    return f"{number:.0f} B" if units[0] == "B" else f"{number:.3g} {units[0]}"


def html_table(title: str, facts: str, entries: list[SourceStatus]) -> str:
    """HTML for a notebook: facts on one line, then a row per source. All names are escaped."""
    style = "text-align:left;padding:2px 12px 2px 0"
    head = "".join(
        f'<th style="{style}">{column}</th>'
        for column in ("source", "tokens", "dtype", "shards", "size", "failed", "identity")
    )
    rows = []
    for entry in entries:
        done = f"{entry.shards_done} / {entry.shards_total}" + ("" if entry.complete else " ⚠")
        random = " (random weights)" if entry.pretrained is False else ""
        cells = (
            f"<code>{escape(entry.source)}</code>{random}",
            " × ".join(map(str, (*entry.grid, entry.channels))),
            entry.dtype,
            done,
            size_text(entry.bytes),
            str(entry.failed),
            f"<code>{entry.identity[:10]}</code>",
        )
        rows.append("<tr>" + "".join(f'<td style="{style}">{c}</td>' for c in cells) + "</tr>")
    total = size_text(sum(entry.bytes for entry in entries))
    return (
        f"<div><b>{escape(title)}</b><br>{escape(facts)}, {len(entries)} sources, {total}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
