"""Small coloured shapes over real photographs, and questions about them like those of V*.

    python scripts/experiments/small_objects.py --photographs DIR --out DATA [--train 2400]

Writes DATA/train.csv and DATA/test.csv (path), DATA/{train,test}_questions.csv (image, question,
answer, choices, type), DATA/captions.csv, DATA/test_captions.csv and DATA/{train,test}/*.jpg. Each
picture has shapes of two kinds (or of one, with --shapes 1), in different colours, all of one size,
by default of 8 to 64 of 1344 pixels. Photographs of training and test pictures are different ones.
Attribute: which colour has the circle? Spatial: is it left or right of the square, or, alone, in
which half of the picture? The type of a question names its kind and size.

Expected: 0.15 s and 250 kB a picture. The photographs are enlarged, so that they have no detail of
their own beyond some 500 pixels; the shapes have.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import runner
from PIL import Image, ImageDraw

from analyses.experiments.multimodal import SIDE
from feature_store import InputError
from workbench.results.files import write_text

SIZES = (64, 32, 16, 8)
COLOURS = {
    "red": (220, 30, 30), "green": (30, 170, 40), "blue": (40, 70, 230),
    "yellow": (240, 220, 40), "white": (250, 250, 250), "black": (10, 10, 10),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "cross")
KINDS = ("attribute", "spatial")
"""Of questions."""
EDGE = 96
"""Least distance of a shape's centre from the picture's edge, from its middle where a question asks
about that, and of two shapes from each other along each axis; more for shapes that need it."""
SMALLEST, LARGEST = 4, 512
"""Sizes that can be told apart, and of which two fit beside each other."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--photographs", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, default=2400, help="training pictures")
    parser.add_argument("--test", type=int, default=400, help="test pictures")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES,
        help="in turn; one given twice has twice as many training pictures, not test pictures",
    )  # fmt: skip
    parser.add_argument("--shapes", type=int, choices=(1, 2), default=2, help="in each picture")
    asked = parser.parse_args()
    counts = {"train": asked.train, "test": asked.test}
    render(asked.photographs, asked.out, counts, asked.sizes, asked.shapes)


def render(
    photographs: Path, out: Path, counts: dict[str, int], sizes: tuple[int, ...], shapes: int = 2
) -> None:
    """Write the pictures that are missing, and all tables."""
    if not all(SMALLEST <= size <= LARGEST for size in sizes):
        raise InputError(f"sizes {sizes}; expected sizes of {SMALLEST} to {LARGEST} pixels")
    files = sorted(p for p in photographs.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if len(files) < 2:  # training and test pictures have different ones
        raise InputError(
            f"{photographs} holds {len(files)} JPEG files; expected at least 2: name the folder of "
            f"the photographs"
        )
    backgrounds = {"train": files[::2], "test": files[1::2]}
    names = [p.name for p in files]
    refuse_others(out, {"photographs": names, "sizes": list(sizes), "shapes": shapes})
    for part, count in counts.items():
        (out / part).mkdir(parents=True, exist_ok=True)
        found = scenes(part, count, sizes, shapes)

        def draw(number: int, part: str = part, found: list = found) -> None:
            path = out / part / f"{number:05d}.jpg"
            if not path.exists():
                random = np.random.default_rng((11, part == "test", number))
                photograph = backgrounds[part][random.integers(len(backgrounds[part]))]
                picture = painted(photograph, found[number], number)
                picture.save(path.with_suffix(".partial"), "JPEG", quality=92)
                path.with_suffix(".partial").rename(path)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(draw, range(count)))
        names = [f"{part}/{number:05d}.jpg" for number in range(count)]
        table(out / f"{part}.csv", ["path"], [[name] for name in names])
        rows = [row for name, one in zip(names, found, strict=True) for row in asked_of(name, one)]
        columns = ["image", "question", "answer", "choices", "type"]
        table(out / f"{part}_questions.csv", columns, rows)
        captions = [
            [name, "Describe the shapes.", caption(one)]
            for name, one in zip(names, found, strict=True)
        ]
        file = {"train": "captions.csv", "test": "test_captions.csv"}[part]
        table(out / file, columns[:3], captions)


def refuse_others(out: Path, made_of: dict) -> None:
    """Record what the pictures of a folder are made of, or end where it holds others."""
    record = out / "made_of.json"
    if not record.exists():
        write_text(json.dumps(made_of), record)
    elif (found := json.loads(record.read_text("utf-8"))) != made_of:
        differing = ", ".join(name for name in made_of if found.get(name) != made_of[name])
        raise InputError(f"{out} holds pictures of other {differing}; name another folder")


def scenes(part: str, count: int, sizes: tuple[int, ...], shapes: int) -> list[dict]:
    """So many scenes of training pictures, sizes in turn, or of test pictures, each size once."""
    turns = sizes if part == "train" else tuple(dict.fromkeys(sizes))
    return [scene(part, number, turns, shapes) for number in range(count)]


def scene(part: str, number: int, sizes: tuple[int, ...], count: int) -> dict:
    """Shapes in different colours at different places; a function of the arguments alone."""
    size = sizes[number % len(sizes)]
    inside = max(EDGE, size // 2)
    random = np.random.default_rng((part == "test", number))
    shapes = random.choice(SHAPES, count, replace=False).tolist()
    colours = random.choice(list(COLOURS), count, replace=False).tolist()
    while True:
        places = random.integers(inside, SIDE - inside, (count, 2))
        # The other shape, or the middle of the picture at any height.
        other, apart = (
            (places[1], max(EDGE, size)) if count > 1 else (np.array([SIDE // 2, -SIDE]), EDGE)
        )
        if (np.abs(places[0] - other) > apart).all():
            break
    return {"shapes": shapes, "colours": colours, "places": places.tolist(), "size": int(size)}


def painted(photograph: Path, found: dict, number: int) -> Image.Image:
    """The scene over a random part of a photograph, mirrored for every second picture."""
    random = np.random.default_rng((7, number))
    with Image.open(photograph) as opened:
        image = opened.convert("RGB")
    side = int(min(image.size) * random.uniform(0.6, 1))
    left, top = (int(random.integers(0, room - side + 1)) for room in image.size)
    picture = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.BICUBIC)
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    draw = ImageDraw.Draw(picture)
    for shape, colour, (x, y) in zip(
        found["shapes"], found["colours"], found["places"], strict=True
    ):
        half = found["size"] / 2
        box = (x - half, y - half, x + half, y + half)
        fill = COLOURS[colour]
        if shape == "circle":
            draw.ellipse(box, fill=fill)
        elif shape == "square":
            draw.rectangle(box, fill=fill)
        elif shape == "triangle":
            draw.polygon([(x, y - half), (x - half, y + half), (x + half, y + half)], fill=fill)
        else:
            third = half / 3
            draw.rectangle((x - half, y - third, x + half, y + third), fill=fill)
            draw.rectangle((x - third, y - half, x + third, y + half), fill=fill)
    return picture


def asked_of(image: str, found: dict) -> list[list[str]]:
    """An attribute question for each shape, and a spatial one."""
    size = found["size"]
    rows = [
        [image, f"What colour is the {shape}?", colour, "|".join(COLOURS), f"{KINDS[0]} {size}"]
        for shape, colour in zip(found["shapes"], found["colours"], strict=True)
    ]
    question = "Is the {} left or right of the {}?".format(*found["shapes"], "middle")
    return [*rows, [image, question, side_of(found), "left|right", f"{KINDS[1]} {size}"]]


def caption(found: dict) -> str:
    """The scene in words."""
    named = [
        f"a {colour} {shape}"
        for colour, shape in zip(found["colours"], found["shapes"], strict=True)
    ]
    if len(named) == 1:
        return f"{named[0]} on the {side_of(found)}"
    return f" {side_of(found)} of ".join(named)


def side_of(found: dict) -> str:
    """Where the first shape is, seen from the second or from the middle of the picture."""
    (first, _), *others = found["places"]
    return "left" if first < (others[0][0] if others else SIDE / 2) else "right"


def table(path: Path, columns: list[str], rows: list[list[str]]) -> None:
    """Write a table whole, unless it is there already: other runs may be reading or writing it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    if not path.exists() or path.read_text("utf-8") != text.getvalue():
        write_text(text.getvalue(), path)


if __name__ == "__main__":
    runner.run(main)
