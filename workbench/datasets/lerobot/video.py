"""Frames of a video by their time; in order they are decoded once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from PIL import Image

from feature_store.errors import InputError
from workbench.datasets.decode import DecodeError

OPEN = 4
"""Videos that a process keeps open."""
AHEAD = 2.0
"""Seconds ahead to which a video is decoded on rather than searched."""

_reading = threading.Lock()


class _Opened:
    """A video and the frame that was decoded last."""

    def __init__(self, path: str) -> None:
        try:
            import av
        except ImportError:
            raise InputError(
                f"{path} is a video, which needs the library 'av'; run "
                f"'bash scripts/setup.sh robot' in the clone"
            ) from None
        self.path = path
        self.container: Any = av.open(path)
        self.stream: Any = self.container.streams.video[0]
        self.frames: Iterator[Any] = iter(())
        self.last: Any = None

    def at(self, seconds: float, half: float) -> Image.Image:
        """The first frame that is not more than half a frame before a time."""
        if self.last is None or not 0 <= seconds - self.last.time + half < AHEAD:
            self.container.seek(
                max(0, round(seconds / self.stream.time_base)), stream=self.stream, backward=True
            )
            self.frames, self.last = self.container.decode(self.stream), None
        while self.last is None or self.last.time < seconds - half:
            self.last = next(self.frames, None)
            if self.last is None:
                raise DecodeError(f"{self.path} ends before {seconds:.3f} s: frames are missing")
        if self.last.time > seconds + half:
            raise DecodeError(
                f"{self.path} has no frame at {seconds:.3f} s; the next is at {self.last.time:.3f}"
            )
        return self.last.to_image()


def frame_at(path: str, seconds: float, fps: float) -> Image.Image:
    """The frame of a video at a time.

    Parameters
    ----------
    path : str
    seconds : float
        Seconds from the start of the file.
    fps : float
        Frames per second of the dataset; a frame further than half a frame away is not it.

    Raises
    ------
    InputError
        PyAV is not installed.
    DecodeError
        No frame at that time.
    """
    with _reading:
        return _opened(path).at(seconds, 0.5 / fps)


@lru_cache(maxsize=OPEN)
def _opened(path: str) -> _Opened:
    return _Opened(path)
