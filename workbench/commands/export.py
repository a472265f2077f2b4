"""``workbench export``: stored features as a file that other tools read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from feature_store.errors import InputError
from workbench.results import strict_json
from workbench.results.files import written_whole
from workbench.results.messages import note, show

if TYPE_CHECKING:
    from workbench.exports.content import Exported


@dataclass(frozen=True, kw_only=True)
class Export:
    r"""Write features, ids, labels and their origin to one file, or folder, of another kind.

    Images that could not be read are left out and named in the description.

    Examples
    --------
    workbench export runs/demo/train.zarr --source bundled:efficientnet_lite0@1x --to npz \
        --out lite0.npz
    """

    store: tyro.conf.Positional[str]
    """Folder or URL of the store."""
    source: str
    """MODEL[#TAP]@SCALE[+SCALE...]"""
    to: Literal["npz", "safetensors", "parquet", "hf"]
    """npz (numpy.load), safetensors, parquet, or hf (a folder for datasets.load_from_disk); parquet
    and hf need the extra 'archives'."""
    out: Path
    """File or folder to write; a file that exists is replaced."""
    pooling: Literal["mean", "prefix", "none"] = "mean"
    """One vector per image (mean of its tokens, or its first prefix token), or none: all tokens."""
    json: bool = False
    """Print one JSON object on standard output."""

    def run(self) -> int:
        import feature_store
        from workbench.exports import arrays, tables
        from workbench.exports.content import Exported

        writers: dict[str, Callable[[Exported, Path], None]] = {
            "npz": arrays.write_npz,
            "safetensors": arrays.write_safetensors,
            "parquet": tables.write_parquet,
            "hf": tables.write_saved,
        }
        if self.out.is_dir() or (self.to == "hf" and self.out.exists()):
            raise InputError(f"{self.out} exists; name another path with --out, or remove it")
        content = Exported.of(feature_store.open(self.store), self.source, self.pooling)
        with written_whole(self.out) as partial:
            writers[self.to](content, partial)
        found = {
            "out": str(self.out),
            "source": content.source,
            "shape": list(content.shape),
            "dims": list(content.dims),
            "dtype": content.dtype.name,
            "failed": len(content.about()["failed"]),
        }
        if self.json:
            show(strict_json.dumps(found))
        shape = " x ".join(map(str, content.shape))
        note(f"wrote {self.out}: {shape} {content.dtype.name} of {content.source}")
        return 0
