"""Still pictures: the drawn values, what is refused, and that nothing global changes."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from analyses.token_maps import fit_basis, similarity_map
from feature_store import InputError
from workbench.figures import look
from workbench.pictures.computed import ComputedMaps

MODEL = "random:timm:test_vit.r160_in1k"


def drawn(axes):
    return np.asarray(axes.images[-1].get_array())


def test_tokens_are_drawn_in_the_basis_of_the_store(seen_store):
    store = seen_store()
    figure = look.tokens(store, image=3, sources=["m:small@28+56"])
    photo, *maps = figure.axes
    assert drawn(photo).shape == (28, 28, 3)
    assert len(maps) == 3  # all scales, and each
    for ax, name in zip(maps, ("m:small@28+56", "m:small@28", "m:small@56"), strict=True):
        expected = fit_basis(store, name).rgb(store.features(name)[3].values)
        np.testing.assert_allclose(drawn(ax)[..., :3], expected, atol=1e-6)
        assert (drawn(ax)[..., 3] == 1).all()


def test_foreground_hides_tokens_outside_the_range(seen_store):
    rgba = look.with_foreground(np.array([[[0.2, 0, 0], [0.5, 1, 1], [np.nan] * 3]]), (0.3, 0.6))
    assert rgba[..., 3].tolist() == [[0, 1, 0]]
    figure = look.tokens(seen_store(), image=0, foreground=(2.0, 3.0))
    assert not drawn(figure.axes[1])[..., 3].any()


def test_similarity_of_the_same_place_on_every_grid(seen_store):
    fine = np.random.default_rng(1).normal(size=(12, 14, 14, 4))
    store = seen_store(more={"m:fine#t@28": fine})
    names = ["m:small@28", "m:fine@28"]
    figure = look.similarity(store, image=2, sources=names, token=(2, 4))
    for ax, name, at in zip(figure.axes[1:3], names, [(2, 4), (5, 9)], strict=True):
        expected = similarity_map(store.features(name)[2].values, at)
        np.testing.assert_allclose(drawn(ax), expected, atol=1e-6)
    with pytest.raises(InputError, match="token 7 0 is outside the 7 x 7 grid"):
        look.similarity(store, image=2, sources=names, token=(7, 0))


def test_loss_and_what_scales_add_are_those_of_the_analysis(seen_store):
    store = seen_store()
    figure = look.loss(store, image=1, target="m:large@28", sources=["m:small@28+56"])
    assert drawn(figure.axes[1]).max() < 0.1  # the target is a function of both scales together
    figure = look.scales(store, image=1, target="m:large@28", source="m:small@28+56")
    first, second = (drawn(ax) for ax in figure.axes[1:3])
    assert first.mean() > 0.02
    assert second.mean() > 0.02
    with pytest.raises(InputError, match="one scale"):
        look.scales(store, image=1, target="m:large@28", source="m:small@28")


def test_refusals_name_the_reason(seen_store):
    store = seen_store(failed=[2])
    with pytest.raises(InputError, match="image 2 .*damaged"):
        look.tokens(store, image=2)
    with pytest.raises(InputError, match="no image 12; rows are 0 to 11"):
        look.tokens(store, image=12)


def test_a_missing_photograph_is_named_in_its_place(seen_store, tmp_path):
    store = seen_store()
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    figure = look.tokens(store, image=1)
    (text,) = figure.axes[0].texts
    assert str(tmp_path / "photos") in text.get_text()
    figure.savefig(tmp_path / "hostile.png")  # dollar signs and markup are drawn as they are
    assert store.image_ids[1] in figure.axes[0].get_title(loc="left") + store.image_ids[1]


def test_images_without_a_store(tmp_path):
    paths = [str(tmp_path / f"{k}.png") for k in range(2)]
    for k, path in enumerate(paths):
        pixels = np.random.default_rng(k).integers(0, 255, (180, 170, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    maps = ComputedMaps(paths, [MODEL], ["1x", "2x"])
    assert [name.partition("@")[2] for name in maps.sources] == ["160+320", "160", "320"]
    assert len(look.tokens(maps, image=1).axes) == 4
    assert maps.photograph(0, maps.sources[0]).shape == (160, 160, 3)
    assert maps.parts(f"{MODEL}@1x+2x") == maps.sources
    with pytest.raises(InputError, match="need a store"):
        look.loss(maps, image=0, target=maps.sources[0])
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"0\.png.*empty"):
        ComputedMaps(paths, [MODEL], ["1x"])


def test_nothing_global_changes(seen_store):
    before = dict(mpl.rcParams)
    figure = look.tokens(seen_store(), image=0)
    assert dict(mpl.rcParams) == before
    assert figure._repr_png_()[:4] == b"\x89PNG"
    assert plt.get_fignums() == []
