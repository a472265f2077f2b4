"""Hostile images and tables: each is decoded, refused or a failed row, at once and in one line.

    python scripts/fuzz/inputs.py --runs 100 --out scripts/fuzz/inputs.json

A minute, 1 GB of memory. An image either decodes to uint8 RGB or raises DecodeError; a table either
opens or raises InputError. Anything else, and anything that takes longer than SECONDS, is a fault.
The committed JSON lists what became of each run: 0 faults in 100 images and 100 tables.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from feature_store.errors import InputError
from workbench import datasets
from workbench.datasets.decode import DecodeError, Decoding, decode
from workbench.results import strict_json

SECONDS = 10
FORMS = {
    "JPEG": {},
    "PNG": {},
    "GIF": {},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "WEBP": {},
    "BMP": {},
    "PPM": {},
    "JPEG2000": {},
    "ICO": {},
    "TGA": {},
}
CELLS = [
    "a", " a ", "", "NaN", "None", "1", "01", "1.0", "\u00e9", "e\u0301", '"', '"a', "a\nb", "\0",
    "=1+1", "x" * 200_000, "0.png", "./0.png", "..//0.png", "/dev/zero", "pipe.png", "folder.png",
    "self.png", "gone.png", "\ufeff", "\u202e", ",", "\r",
]  # fmt: skip
COLUMNS = ["path", "label", "Label", " path", "mask", "depth", "other", ""]


def hostile_image(rng: np.random.Generator) -> bytes:
    """A valid file of a random format, then cut, overwritten, doubled or given a false size."""
    form = str(rng.choice(list(FORMS)))
    mode = str(rng.choice(["RGB", "L", "1", "P", "RGBA", "CMYK"]))
    image = Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).convert(mode)
    buffer = io.BytesIO()
    try:
        image.save(buffer, form, **FORMS[form])
    except (OSError, KeyError, ValueError):  # a mode that the format does not have
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, form, **FORMS[form])
    data = bytearray(buffer.getvalue())
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(0, len(data)))
        kind = rng.integers(5)
        if kind == 0:
            del data[at + 1 :]
        elif kind == 1:
            data[at : at + 40] = rng.bytes(40)
        elif kind == 2:
            data[:40] = bytes(data[:12]) + rng.bytes(28)
        elif kind == 3:
            data += data[at:]
        else:
            data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def hostile_table(rng: np.random.Generator) -> bytes:
    """Random columns, cells and line ends, sometimes not Unicode."""
    columns = ["path", *rng.choice(COLUMNS, int(rng.integers(0, 3)))]
    lines = [columns]
    for _ in range(int(rng.integers(0, 6))):
        width = len(columns) + int(rng.choice([0, 0, 0, 0, -1, 1]))
        lines.append(["0.png", *rng.choice(CELLS, max(0, width - 1))])
        if rng.random() < 0.3:
            lines[-1][0] = str(rng.choice(CELLS))
    text = str(rng.choice(["\n", "\r\n"])).join(",".join(line) for line in lines).encode()
    return text if rng.random() < 0.9 else text + b"\xff\xfe"


def image_outcome(data: bytes, decoding: Decoding) -> str:
    """What became of an image; a fault names its exception."""
    try:
        pixels = decode(data, decoding)
    except DecodeError as error:
        return "refused" if "\n" not in error.reason else "fault: reason of several lines"
    good = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    return "decoded" if good else f"fault: {pixels.dtype} {pixels.shape}"


def table_outcome(data: bytes, folder: Path) -> str:
    """What became of a table and of its images and maps."""
    (folder / "t.csv").write_bytes(data)
    try:
        dataset = datasets.open(f"csv:{folder}/t.csv")
    except InputError as error:
        return "refused" if str(error) else "fault: empty message"
    for row in range(len(dataset)):
        for read in (dataset.image, dataset.mask, dataset.depth):
            try:
                read(row)
            except (DecodeError, InputError):
                continue
    return "opened"


def prepare(folder: Path) -> None:
    """The files that tables name."""
    Image.new("RGB", (3, 2)).save(folder / "0.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "self.png").symlink_to(folder / "self.png")


def outcomes(runs: int, folder: Path) -> dict[str, list[str]]:
    """Outcome of each run, by kind of input; seed k belongs to run k."""
    prepare(folder)
    decodings = [Decoding(), Decoding(tolerant=True), Decoding(orientation="exif")]
    found: dict[str, list[str]] = {"images": [], "tables": []}
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        image, table = hostile_image(rng), hostile_table(rng)
        decoding = decodings[seed % len(decodings)]
        found["images"].append(guarded(lambda i=image, d=decoding: image_outcome(i, d)))
        found["tables"].append(guarded(lambda t=table: table_outcome(t, folder)))
    return found


def guarded(run) -> str:
    """The outcome; a fault for any other exception, and for one that takes too long."""

    def late(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        return run()
    except Exception as error:
        return f"fault: {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = outcomes(options.runs, Path(folder))
    faults = [o for kind in found.values() for o in kind if o.startswith("fault")]
    summary = {kind: dict(Counter(o.split(":")[0] for o in of)) for kind, of in found.items()}
    report = {
        "runs": options.runs,
        "faults": len(faults),
        "summary": summary,
        "outcomes": found,
        "python": platform.python_version(),
        "pillow": Image.__version__,
    }
    if options.out:
        strict_json.write(report, options.out)
    print(strict_json.dumps({"faults": faults, "summary": summary}), file=sys.stdout)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
