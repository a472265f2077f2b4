"""Datasets of two episodes, v3.0 and v2.1, with pictures in tables or in videos."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

CAMERA = "observation.images.top"
LENGTHS = (3, 4)
FPS = 10
OLD_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def picture(episode, frame):
    """16 x 16 pixels of one colour that tells both."""
    return np.full((16, 16, 3), (40 * episode, 30 * frame, 200), np.uint8)


def _png(pixels):
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    return encoded.getvalue()


def columns(episode, length, video):
    frame = np.arange(length)
    first = sum(LENGTHS[:episode])
    found = {
        "observation.state": [[float(k), 0.0] for k in frame],
        "action": [[float(k), 1.0, 2.0] for k in frame],
        "timestamp": (frame / FPS).astype("f4"),
        "frame_index": frame,
        "episode_index": np.full(length, episode),
        "index": frame + first,
        "task_index": np.zeros(length, int),
    }
    if not video:
        pixels = (_png(picture(episode, k)) for k in frame)
        found[CAMERA] = [{"bytes": data, "path": "x.png"} for data in pixels]
    return found


def write(folder, *, version="v3.0", video=False):
    pyarrow = pytest.importorskip("pyarrow", reason="needs the extra robot")
    import pyarrow.parquet as parquet

    tables = [pyarrow.table(columns(e, n, video)) for e, n in enumerate(LENGTHS)]
    kind = "video" if video else "image"
    info = {
        "codebase_version": version, "fps": FPS, "total_episodes": 2, "chunks_size": 1000,
        "features": {
            CAMERA: {"dtype": kind, "shape": [16, 16, 3]},
            "observation.state": {"dtype": "float32", "shape": [2]},
            "action": {"dtype": "float32", "shape": [3]},
        },
    }  # fmt: skip
    (folder / "data/chunk-000").mkdir(parents=True)
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    if version == "v3.0":
        info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        whole = pyarrow.concat_tables(tables)
        parquet.write_table(whole, folder / "data/chunk-000/file-000.parquet", row_group_size=2)
        listed = {"episode_index": [0, 1], "length": LENGTHS}
        places = ["data", f"videos/{CAMERA}"] if video else ["data"]
        for of in places:
            listed |= {f"{of}/chunk_index": [0, 0], f"{of}/file_index": [0, 0]}
        if video:
            listed[f"videos/{CAMERA}/from_timestamp"] = [0.0, LENGTHS[0] / FPS]
        parquet.write_table(
            pyarrow.table(listed), folder / "meta/episodes/chunk-000/file-000.parquet"
        )
    else:
        info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        info["video_path"] = OLD_VIDEO
        for episode, table in enumerate(tables):
            parquet.write_table(table, folder / f"data/chunk-000/episode_{episode:06d}.parquet")
        lines = [json.dumps({"episode_index": e, "length": n}) for e, n in enumerate(LENGTHS)]
        (folder / "meta/episodes.jsonl").write_text("\n".join(lines))
    if video and version == "v3.0":
        _film(folder / f"videos/{CAMERA}/chunk-000/file-000.mp4", range(2))
    for episode in range(2) if video and version != "v3.0" else ():
        place = OLD_VIDEO.format(episode_chunk=0, video_key=CAMERA, episode_index=episode)
        _film(folder / place, [episode])
    (folder / "meta/info.json").write_text(json.dumps(info))
    return folder


def _film(path, episodes):
    """Frames of episodes one after the other; mpeg4, which every build encodes."""
    av = pytest.importorskip("av", reason="needs the extra robot")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for episode in episodes:
            for frame in range(LENGTHS[episode]):
                made = av.VideoFrame.from_ndarray(picture(episode, frame), format="rgb24")
                container.mux(stream.encode(made))
        container.mux(stream.encode())


@pytest.fixture
def lerobot():
    return SimpleNamespace(write=write, picture=picture, camera=CAMERA, lengths=LENGTHS)
