"""Find the store row of a question's image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import dropwhile
from pathlib import PurePosixPath

import numpy as np

from feature_store.errors import InputError, some
from workbench.vlm.questions import Question


def rows_of(questions: Sequence[Question], image_ids: Iterable[str], store: str) -> np.ndarray:
    """Store row of each question's image: int64, dims (question,).

    An image matches the id that equals its name; else the only id that ends with it (in whole path
    components); else the only id that it ends with. `image_ids` are in row order; `store` names the
    store in messages.

    Raises
    ------
    InputError
        Images that match no id, or several; different images that match one id. Names of which one
        ends with the others are of one image.

    Examples
    --------
    >>> asked = [Question(image="b/1.jpg", question="?", answer="yes")]
    >>> rows_of(asked, ["a/1.jpg", "a/b/1.jpg"], "s.zarr").tolist()
    [1]
    """
    exact = {str(image_id): row for row, image_id in enumerate(image_ids)}
    by_name: dict[str, list[str]] = defaultdict(list)
    for image_id in exact:
        by_name[image_id.rpartition("/")[2]].append(image_id)
    found: dict[str, int] = {}
    names: dict[str, list[str]] = defaultdict(list)
    lost: list[str] = []
    several: list[str] = []
    for image in dict.fromkeys(question.image for question in questions):
        matches = [image] if image in exact else _alike(image, by_name[image.rpartition("/")[2]])
        if len(matches) == 1:
            found[image] = exact[matches[0]]
            names[matches[0]].append(image)
        else:
            (several if matches else lost).append(image)
    if lost:
        raise InputError(
            f"{len(lost)} of the questions' images are not in {store}: {some(lost)}; its images "
            f"are called {some(list(exact), 2)}. Extract the images that the questions name"
        )
    if several:
        raise InputError(
            f"{len(several)} of the questions' images match several images of {store}: "
            f"{some(several)}; name them by more of their path"
        )
    if shared := [image_id for image_id, alike in names.items() if not _one_path(alike)]:
        raise InputError(
            f"{len(shared)} of the images of {store} match several of the questions' images: "
            f"{shared[0]} matches {some(names[shared[0]])}; expected an image for each: extract "
            f"them under the names in the questions, or from a folder further up"
        )
    return np.array([found[question.image] for question in questions], dtype=np.int64)


def other_images(rows: np.ndarray, seed: int) -> np.ndarray:
    """Replace each image by another one, to measure how far the questions alone lead.

    The images form one cycle: no question keeps its image, and questions about one image still
    share one.

    Examples
    --------
    >>> other_images(np.array([4, 4, 9]), 0).tolist()
    [9, 9, 4]
    """
    if len(images := np.unique(rows)) < 2:
        raise InputError("all questions are about one image; a blind run needs at least two images")
    order = np.random.default_rng((7, seed)).permutation(images)
    following = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return np.array([following[row] for row in rows.tolist()], dtype=np.int64)


def _alike(image: str, ids: Iterable[str]) -> list[str]:
    """Ids that end with the image's path; if there are none, ids that the path ends with."""
    path = f"/{_plain(image)}"
    ends = [one for one in ids if f"/{one}".endswith(path)]
    return ends or [one for one in ids if path.endswith(f"/{one}")]


def _one_path(images: Sequence[str]) -> bool:
    """Whether the longest of these paths ends with all others."""
    paths = sorted((_plain(image) for image in images), key=len)
    return all(f"/{paths[-1]}".endswith(f"/{path}") for path in paths)


def _plain(image: str) -> str:
    """A path without the dots and slashes that do not count, and none at its beginning."""
    parts = PurePosixPath(image).parts
    return "/".join(dropwhile(("/", "//", "..").__contains__, parts))
