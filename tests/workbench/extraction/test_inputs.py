"""Strange images and strange models through ``extract``: each works, is refused or is recorded."""

from __future__ import annotations

import json
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import feature_store
from feature_store import InputError
from feature_store.verify import verify
from workbench.cli import main
from workbench.extraction import ExtractRequest
from workbench.models import load, registry, timm_family
from workbench.multiscale import scale_features

MODEL = "random:timm:test_vit.r160_in1k"
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def run(capsys, folder, store, *options, model=MODEL, scales=("1x",)):
    """Exit status and report (or the error line) of one ``workbench extract``."""
    command = ["extract", "--dataset", f"folder:{folder}", "--model", model, "--store", str(store)]
    status = main([*command, "--scales", *scales, "--dtype", "float32", "--json", *options])
    captured = capsys.readouterr()
    return status, json.loads(captured.out) if status == 0 else captured.err.strip()


def bomb() -> bytes:
    """A PNG that claims 60,000 x 60,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


@pytest.fixture
def strange(tmp_path):
    """Files that read as images, and files that do not."""
    folder = tmp_path / "images"
    (folder / "bad").mkdir(parents=True)
    image = Image.fromarray(PIXELS)
    image.save(folder / "plain.jpg")
    image.resize((1, 1)).save(folder / "one_pixel.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("RGBA").save(folder / "alpha.png")
    image.convert("L").save(folder / "grey.tif")
    Image.fromarray(PIXELS[..., 0] / np.float32(255)).save(folder / "bad" / "float.tif")
    image.save(folder / "animated.gif", save_all=True, append_images=[image.rotate(180)])
    image.resize((2000, 3)).save(folder / "very_wide.png")
    image.resize((1, 20_000)).save(folder / "bad" / "thin.png")
    whole = (folder / "plain.jpg").read_bytes()
    (folder / "bad" / "empty.jpg").write_bytes(b"")
    (folder / "bad" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "bad" / "corrupt.jpg").write_bytes(b"\xff\xd8" + bytes(200))
    (folder / "bad" / "no_image.png").write_text("hello")
    (folder / "bad" / "bomb.png").write_bytes(bomb() + b"\0\0\0\0IDAT")
    return folder


def test_strange_images_are_features_or_recorded_failures(strange, tmp_path, capsys):
    status, report = run(capsys, strange, tmp_path / "s", scales=("0.5x", "1x", "2x"))
    assert status == 0
    reasons = report["failed"]
    assert set(reasons) == {f"bad/{p.name}" for p in (strange / "bad").iterdir()}
    assert "zero bytes" in reasons["bad/empty.jpg"]
    assert "damaged" in reasons["bad/truncated.jpg"]
    assert "bomb" in reasons["bad/bomb.png"]
    assert "not an image" in reasons["bad/no_image.png"]
    assert "mode F with values from" in reasons["bad/float.tif"]
    assert "too large once resized: 1 x 20000" in reasons["bad/thin.png"]
    store = feature_store.open(tmp_path / "s")
    assert verify(store).problems == []
    backbone = load(MODEL)
    for scale in ("80", "160", "320"):
        values = store.features(f"{MODEL}@{scale}").values
        for image_id, features in zip(store.image_ids, values, strict=True):
            if image_id in reasons:
                assert np.isnan(features).all()
                continue
            rgb = Image.open(strange / image_id).convert("RGB")
            images = backbone.normalise(torch.from_numpy(backbone.info.transform(rgb))[None])
            expected = scale_features(backbone, images, scale).map[0].numpy()
            np.testing.assert_allclose(features, expected, atol=2e-5, err_msg=image_id)


def test_one_image_at_a_time(strange, tmp_path, capsys):
    run(capsys, strange, tmp_path / "eight")
    status, report = run(capsys, strange, tmp_path / "one", "--batch", "1", "--max-crops", "1")
    assert (status, len(report["failed"])) == (0, 7)
    one, eight = (
        feature_store.open(tmp_path / name).features(f"{MODEL}@160").values
        for name in ("one", "eight")
    )
    np.testing.assert_allclose(one, eight, atol=2e-5)


def test_weights_that_cannot_be_read_leave_no_store(strange, tmp_path, capsys):
    (tmp_path / "w.pth").write_bytes(b"damaged")
    command = ["extract", "--dataset", f"folder:{strange}", "--scales", "224", "--store"]
    path = tmp_path / "s"
    assert main([*command, str(path), "--model", f"file:vit_tiny_patch16_224:{tmp_path}/w.pth"])
    assert "is refused: it is damaged" in capsys.readouterr().err
    assert not path.exists()


def test_orientation_tolerance_and_size_are_options_and_recorded(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    image = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    image.save(folder / "plain.png")
    whole = (folder / "plain.png").read_bytes()
    (folder / "plain.png").write_bytes(whole[:-12])  # without its last chunk
    status, report = run(capsys, folder, tmp_path / "strict")
    assert (status, list(report["failed"])) == (0, ["plain.png"])
    options = ("--tolerant", "--orientation", "exif")
    status, report = run(capsys, folder, tmp_path / "kept", *options)
    assert (status, report["failed"]) == (0, {})
    strict, kept = (feature_store.open(tmp_path / name) for name in ("strict", "kept"))
    decoder = kept.manifest(f"{MODEL}@160")["decoder"]
    assert "orientation applied" in decoder
    assert "damaged files kept" in decoder
    row = list(kept.image_ids).index("turned.jpg")
    one, other = (store.features(f"{MODEL}@160").values[row] for store in (strict, kept))
    assert np.abs(one - other).max() > 0.1
    status, line = run(capsys, folder, tmp_path / "kept")  # another policy: another store
    assert status == 2
    assert "decoder" in line
    status, report = run(capsys, folder, tmp_path / "small", "--max-pixels", "1999")
    assert set(report["failed"]) == {"plain.png", "turned.jpg"}


@pytest.mark.parametrize("name", ["pipe.pth", "pipe.safetensors", "zero.pth"])
def test_a_pipe_or_device_as_checkpoint_is_refused_at_once(name, strange, tmp_path, capsys):
    if name == "zero.pth":
        (tmp_path / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / name)
    command = ["extract", "--dataset", f"folder:{strange}", "--scales", "224", "--store"]
    model = f"file:vit_tiny_patch16_224:{tmp_path}/{name}"
    assert main([*command, str(tmp_path / "s"), "--model", model]) == 2
    assert name in capsys.readouterr().err


def test_a_dataset_of_one_image(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "images" / "only.png")
    status, report = run(capsys, tmp_path / "images", tmp_path / "s", scales=("1x", "2x"))
    assert (status, report["computed"], report["failed"]) == (0, 1, {})


class Toy(torch.nn.Module):
    """A timm-like module that returns whatever the test wants."""

    num_features, num_classes = 3, 0

    def __init__(self, output):
        super().__init__()
        self.output = output
        self.pretrained_cfg = dict(input_size=(3, 32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward_features(self, x):
        return self.output(x * self.weight)

    def forward_head(self, x, pre_logits=False):
        return x


@pytest.fixture
def toy(monkeypatch, request):
    """The name of a model whose ``forward_features`` returns the test's parameter."""

    def create(arch, *, meta, **options):
        return Toy(request.param).to("meta" if meta else "cpu").eval()

    monkeypatch.setattr(timm_family, "create", create)
    monkeypatch.setattr(timm_family, "check_known", lambda name: None)
    registry._built.cache_clear()
    registry._inspect.cache_clear()
    yield "random:timm:toy"
    registry._built.cache_clear()
    registry._inspect.cache_clear()


@pytest.mark.parametrize("toy", [lambda x: x.mean(dim=(2, 3))], indirect=True)
def test_a_model_without_a_grid_is_one_cell_or_is_refused(toy, strange, tmp_path, capsys):
    status, _ = run(capsys, strange, tmp_path / "s", model=toy, scales=("1x", "2x"))
    assert status == 0
    for scale in ("32", "64"):
        values = feature_store.open(tmp_path / "s").features(f"{toy}#pre_logits@{scale}")
        assert values.shape == (14, 1, 1, 3)
    status, line = run(capsys, strange, tmp_path / "t", model=f"{toy}#final")
    assert status == 2
    assert "one vector per image, no spatial grid; use #pre_logits" in line
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("toy", [lambda x: {"tokens": x, "pooled": x}], indirect=True)
def test_a_model_that_returns_a_dict_is_refused(toy, strange, tmp_path, capsys):
    status, line = run(capsys, strange, tmp_path / "s", model=toy)
    assert status == 2
    assert "returns a dict with keys 'tokens', 'pooled' at tap final; expected one tensor" in line
    assert not (tmp_path / "s").exists()


def test_one_model_and_a_line_of_scales_may_be_texts():
    asked = ExtractRequest(dataset="d", models=MODEL, scales="1x 2x", store="s")
    assert (asked.models, asked.scales) == ((MODEL,), ("1x", "2x"))
    with pytest.raises(InputError, match=": 1x 2x$"):
        ExtractRequest(dataset="d", models=MODEL, scales=["1x,2x"], store="s")
