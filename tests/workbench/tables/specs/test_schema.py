"""Every declared table is valid: rows, columns, analyses, sources, references."""

from __future__ import annotations

import re

import pytest

from feature_store import InputError, Source
from workbench.models.names import ModelName
from workbench.tables.pipeline import config, plan
from workbench.tables.render import extra_tables, figures
from workbench.tables.specs import select, tables
from workbench.tables.specs.common import paper_source
from workbench.tables.specs.schema import PROFILES, Metric, Quantity, Setup, TableSpec

KEYS = [*map(str, range(1, 14)), "figure2", "figure6", "figure7", "figure8"]
KEYS += ["sovit1", "sovit2", "sovit3", "sovit4", "sovit-shape", "vlm2", "vlm3", "vlm4"]


def test_every_table_of_the_papers_is_declared():
    assert sorted(tables()) == sorted(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_table_can_be_run_or_says_what_is_missing(key):
    table = tables()[key]
    assert table.reference
    assert table.question.endswith("?")
    runnable = {name for name in PROFILES if table.quantities(name)}
    assert runnable == set(PROFILES) or table.missing or table.uses
    for run in table.setups.values():
        assert run.deviations, "a run differs from the paper in something, and has to say in what"
        assert run.expected
    for name in table.extra_tables:
        assert any(name.startswith(kind) for kind in extra_tables.BLOCKS)
    assert table.figure in ("", figures.GALLERY, *figures.FIGURES)
    assert set(table.uses) <= set(tables())


WORDS = {
    "probe": "mean over tokens",
    "few_shot": "penalty",
    "zero_shot": "OpenAI's 80 prompts",
    "segmentation": "in place of Mask2Former|in place of UPerNet",
    "depth": "in place of the VPD decoder",
    "segmentation_decoder": "on a frozen model; deviations: .* one token map",
    "depth_decoder": "on a frozen model; deviations: .* one token map",
    "reconstruct": "ridge",
    "memorize": "linear instance head",
    "throughput": "device",
    "shape_law": "tiny transformers",
    "encoder_law": "law",
    "hard": "mean over tokens",
    "pretraining": "linear on the mean token",
    "robot": "two layers",
}
"""Analysis → what a footnote has to say of how its head or fit differs from the paper's."""


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("key", KEYS)
def test_footnotes_say_how_the_head_or_fit_differs(key, name):
    table = tables()[key]
    said = " ".join(table.setups[name].footnotes()) if name in table.setups else ""
    for analysis in {ask.analysis for ask in table.quantities(name)}:
        assert re.search(WORDS[analysis], said), analysis
    if any(ask.analysis.endswith("_decoder") for ask in table.quantities(name)):
        assert name == "paper"
        assert "crops of 512 pixels" in said


OF_BUNDLED = (
    r"bundled (photograph|rendered)|woven|cloth|textile|default|hree classes|3 classes|few im"
)
"""What may be said of the bundled images only."""


@pytest.mark.parametrize("key", KEYS)
def test_footnotes_say_nothing_of_bundled_images_where_others_are_named(key):
    table = tables()[key]
    used = {ask.data for ask in table.quantities("bundled")} - {""}
    if not used:
        return
    run = table.setups["bundled"]
    named = dict.fromkeys(used, "folder:photos")
    assert not re.search(OF_BUNDLED, " ".join(run.footnotes(named)))
    assert "folder:photos" in " ".join(run.footnotes(named))
    assert re.search(OF_BUNDLED, " ".join(run.footnotes()))


@pytest.mark.parametrize("name", PROFILES)
def test_every_source_is_of_the_right_form(name, tmp_path):
    made = plan.make(select(), config.load(name, tmp_path, None))
    sources = [s for m in made.measurements for s in m.singles()]
    assert sources
    for source in sources:
        parsed = ModelName.parse(Source.parse(str(source)).model)
        assert (parsed.kind == "bundled") == (name == "bundled")


def test_rows_follow_the_published_tables():
    assert tables()["11"].labels()[0] == ("Base", "518", "")
    assert tables()["2"].labels()[-1] == ("OpenCLIP", "Huge", "Giant")
    assert len(tables()["vlm3"].labels()) == 40


def test_first_scale_is_the_size_of_a_crop():
    found = paper_source(("ViT", "Base", "256+512+1024"))
    assert found == "timm:vit_base_patch16_224.orig_in21k:256@256+512+1024"
    assert paper_source(("DINOv2", "Base", "518+1036")).endswith("lvd142m@518+1036")


def test_selection_brings_what_a_figure_draws():
    assert [t.key for t in select(["figure2"])] == ["5", "6", "7", "figure2"]
    with pytest.raises(InputError, match="no table '14'; choose from 1, 2, 3"):
        select(["14"])


def broken(**changes):
    fields = dict(
        key="x", title="t", question="q?", paper="s2", reference="r", label=("a",),
        rows=(("one",),), metrics=(Metric(column="m", name="m"),),
    )  # fmt: skip
    return TableSpec(**{**fields, **changes})


def test_a_declaration_with_a_wrong_row_metric_or_profile_is_refused():
    ask = Quantity(analysis="probe", field="top1")
    with pytest.raises(InputError, match=r"table x has no row \('two',\); there are: \('one',\)"):
        broken(setups={"bundled": Setup(quantities={"m": {("two",): ask}})})
    with pytest.raises(InputError, match="table x has no metric n; there are: m"):
        broken(setups={"bundled": Setup(quantities={"n": {("one",): ask}})})
    with pytest.raises(InputError, match="profile 'other'"):
        broken(setups={"other": Setup()})
    with pytest.raises(InputError, match="no published column m; there are: cls_loss"):
        broken(published="s2_table03_capacity", label=("model",))


def test_an_unknown_analysis_or_data_key_is_refused(tmp_path):
    bundled = config.load("bundled", tmp_path, None)
    for ask, message in (
        (Quantity(analysis="guess", field="m"), "no analysis 'guess'; there are: probe"),
        (Quantity(analysis="probe", field="m", data="cats"), "no data 'cats'; there are: textiles"),
    ):
        table = broken(setups={"bundled": Setup(quantities={"m": {("one",): ask}})})
        with pytest.raises(InputError, match=message):
            plan.make([table], bundled)
