"""The page in a real browser: clicks, keys, hostile names, widths, light and dark."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import workbench
from analyses.token_maps import nearest, similarity_map
from workbench.pictures.tile import coloured, packed

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
READY = "window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle"
IMAGE = """([name, layer]) => {
  const found = Bokeh.documents[0].get_model_by_name(name).renderers[layer].data_source.data.image
  return Array.from(found[0]) }"""
BOX = """(name) => {
  const model = Bokeh.documents[0].get_model_by_name(name)
  const {x, y, width, height} = Bokeh.index.find_one(model).el.getBoundingClientRect()
  return {x, y, width, height} }"""
GET = "([name, field]) => Bokeh.documents[0].get_model_by_name(name)[field]"
SET = "([name, field, value]) => { Bokeh.documents[0].get_model_by_name(name)[field] = value }"
SOURCE, S2 = "m:small#t@28", "m:small#t@28+56"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium here (Debian: apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def visit(browser):
    """Serve a store and open its page; what went wrong in the browser fails the test."""
    opened = []

    def visit(store, *, width=1400, scheme="light"):
        served = workbench.explore(store)
        context = browser.new_context(
            viewport={"width": width, "height": 1000}, color_scheme=scheme
        )
        page = context.new_page()
        wrong = []
        page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else 0)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message) or dialog.dismiss())
        page.on(
            "request",
            lambda r: None if r.url.startswith(served.address) else wrong.append(r.url),
        )
        page.on("requestfailed", lambda r: wrong.append(f"failed: {r.url}"))
        opened.append((served, context, wrong))
        page.goto(served.address)
        page.wait_for_function(READY)
        return page

    yield visit
    for served, context, wrong in opened:
        context.close()
        served.stop()
        assert wrong == []


def shown(page, name, layer=0):
    return np.array(page.evaluate(IMAGE, [name, layer]), np.uint32)


def expected_similarity(store, source, row, at):
    found = similarity_map(store.features(source)[row].values.astype("f4"), at)
    return packed(coloured(found, (min(0.0, found.min()), 1.0), "viridis")).ravel()


def wait_for_similarity(page, store, source, row, at):
    wanted = expected_similarity(store, source, row, at).tolist()
    test = f"({IMAGE})(['similarity {source}', 0]).join() == '{','.join(map(str, wanted))}'"
    page.wait_for_function(test)


def test_a_click_moves_the_maps_and_lists_the_nearest_tokens(seen_store, visit):
    store = seen_store()
    page = visit(store)
    np.testing.assert_array_equal(
        shown(page, f"similarity {S2}"), expected_similarity(store, S2, 0, (3, 3))
    )
    box = page.evaluate(BOX, f"similarity {SOURCE}")
    before = page.screenshot(clip=box)
    photo = page.evaluate(BOX, "photograph tile")
    page.mouse.click(photo["x"] + photo["width"] * 5.5 / 7, photo["y"] + photo["height"] * 1.5 / 7)
    for source in (S2, SOURCE):
        wait_for_similarity(page, store, source, 0, (1, 5))
    assert page.evaluate(GET, ["token row", "value"]) == 1
    assert page.evaluate(GET, ["token column", "value"]) == 5
    wanted = nearest(store, S2, store.features(S2)[0, 1, 5].values, 12, without=0)
    page.wait_for_function(f"({GET})(['nearest', 'text']).includes('{wanted.similarity[0]:.3f}')")
    figures = page.locator(".places figure img")
    assert [figures.nth(k).get_attribute("alt") for k in range(12)] == [
        f"row {image}" for image in wanted.image
    ]
    assert page.screenshot(clip=box) != before


def test_row_and_column_by_keyboard_and_another_image(seen_store, visit):
    store = seen_store(failed=[2])
    page = visit(store)
    page.get_by_label("row", exact=True).fill("6")
    page.keyboard.press("Enter")
    wait_for_similarity(page, store, S2, 0, (6, 3))
    page.get_by_role("button", name="next").click()
    wait_for_similarity(page, store, S2, 1, (6, 3))
    page.get_by_role("button", name="next").click()
    page.get_by_text("no features: damaged").first.wait_for()
    page.wait_for_function(f"({IMAGE})(['similarity {S2}', 0]).every(c => c >>> 24 == 0)")


def test_hostile_names_are_text_everywhere(seen_store, visit):
    store = seen_store()
    page = visit(store)
    page.evaluate(SET, ["row", "value", 11])  # its id is markup
    page.wait_for_function(f"({GET})(['caption', 'text']).includes('&lt;img')")
    page.evaluate(SET, ["overlay", "value", "class by probe"])
    page.wait_for_function(f"({GET})(['legend', 'text']).includes('day')")
    page.wait_for_function(f"!({GET})(['cloud note', 'text']).includes('computing')")
    place = page.evaluate(
        """() => {
          const figure = Bokeh.documents[0].get_model_by_name("scatter")
          const view = Bokeh.index.find_one(figure), data = figure.renderers[0].data_source.data
          view.el.scrollIntoView()
          const {x, y} = view.canvas_view.el.getBoundingClientRect()
          const k = Array.from(data.row).indexOf(11)
          return [x + view.frame.x_scale.compute(data.x[k]),
                  y + view.frame.y_scale.compute(data.y[k])] }"""
    )
    page.mouse.move(place[0] - 3, place[1])
    page.mouse.move(*place)
    page.get_by_text("row 11").last.wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("document.title") == f"Tokens of {store.path}"


def test_a_region_filters_the_list(seen_store, visit):
    page = visit(seen_store())
    page.wait_for_function(f"!({GET})(['cloud note', 'text']).includes('computing')")
    page.evaluate(
        """() => { const points = Bokeh.documents[0].get_model_by_name("scatter").renderers[0]
          points.data_source.selected.indices = [4, 1] }"""
    )
    page.wait_for_function(f"({GET})(['images', 'options']).length == 2")
    assert [row for row, _ in page.evaluate(GET, ["images", "options"])] == ["1", "4"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_follows_the_scheme(seen_store, visit, scheme):
    page = visit(seen_store(), width=400, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 25, 28)"}[scheme]
    box = page.evaluate(BOX, "photograph tile")
    assert box["width"] == pytest.approx(box["height"], abs=2)


def test_features_are_shown_where_the_images_are_gone(seen_store, visit):
    store = seen_store(count=1)
    folder = Path(store.dataset.partition(":")[2])
    folder.rename(folder.with_name("moved"))
    page = visit(store)
    page.get_by_text("no photograph").first.wait_for()
    assert str(folder) in page.evaluate(GET, ["caption", "text"])
    assert shown(page, f"similarity {S2}").any()
    page.get_by_text("no other image").wait_for()  # a store of one image
