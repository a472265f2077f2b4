"""The site builds with warnings as errors, fetches nothing, and no page is left out."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from workbench.cli import COMMANDS

ROOT = Path(__file__).parents[2]
ROOMS = ("feature_store", "analyses", "workbench")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site. No --quiet: it would drop warnings before --strict counts them."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    proxy = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # no way out
    env = {**os.environ, **proxy, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("link", "is_sound"),
    [
        ("other.md#place", True),
        ("../README.md", True),
        ("missing.md", False),
        ("other.md#missing", False),
        ("../missing.md", False),
    ],
)
def test_a_broken_link_fails_the_build(tmp_path, link, is_sound):
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    config |= {"docs_dir": "pages", "hooks": [str(ROOT / "docs/hooks.py")], "plugins": []}
    del config["nav"], config["exclude_docs"]
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.md").write_text(f"# Home\n\nA [link]({link}).\n")
    (tmp_path / "pages" / "other.md").write_text("# Other\n\n## Place\n")
    found = load_config(str(tmp_path / "mkdocs.yml"))
    with nullcontext() if is_sound else pytest.raises(Abort, match="1 warning"):
        build(found)


def test_options_of_every_command_are_in_the_reference():
    hooks = runpy.run_path(str(ROOT / "docs/hooks.py"))
    parts = hooks["option_tables"]().split("\n## ")
    assert [part.split("\n")[0].removeprefix("## ") for part in parts[:-1]] == list(COMMANDS)
    (extract,) = [part for part in parts if part.startswith("extract\n")]
    assert "| `--dataset` | STR | folder:DIR" in extract
    assert "| `--arithmetic` | fp32, bf16, fp16 |" in extract
    assert "| `--json` |  | Print one" in extract
    assert "```bash\nworkbench extract --dataset" in extract
    assert "--slurm." not in "".join(parts[:-1])
    assert "`--slurm.walltime`" in parts[-1]
    assert "{None}" not in "".join(parts)


@pytest.mark.slow
def test_the_reference_shows_the_tables_and_no_source_of_the_list_of_commands(site):
    page = (site / "reference/commands.html").read_text(encoding="utf-8")
    assert "<td><code>--splits</code></td>" in page
    assert 'id="workbench.cli.main"' in page
    assert 'id="workbench.cli.COMMANDS"' not in page
    models = (site / "reference/workbench.html").read_text(encoding="utf-8")
    assert 'id="analyses.published.checkpoints.paper_model"' in models
    assert 'id="workbench.models.packages.Package"' in models
    assert 'id="analyses.published.checkpoints.PAPER_MODELS"' not in models
    assert 'id="workbench.models.packages.PACKAGES"' not in models


@pytest.mark.slow
def test_a_reader_s_browser_fetches_nothing_from_elsewhere(site):
    pattern = re.compile(r'(?:src|href)="(https?:)?//[^"]+\.(?:js|css|woff2?|png|svg)[^"]*"')
    remote = re.compile(r"@import\s+url\(|url\(['\"]?https?:")
    for page in site.rglob("*.html"):
        assert pattern.search(page.read_text(encoding="utf-8")) is None, page
    for sheet in site.rglob("*.css"):
        assert remote.search(sheet.read_text(encoding="utf-8")) is None, sheet


@pytest.mark.slow
def test_the_reference_shows_docstrings(site):
    page = (site / "reference/analyses.html").read_text(encoding="utf-8")
    assert 'id="analyses.reconstruction.reconstruction.compute"' in page
    assert "Reconstruct the target from each source on training images" in page
    assert ":func:<code>" not in page


@pytest.mark.slow
def test_protocol_and_glossary_are_the_files_of_the_repository(site):
    assert "commit record" in (site / "protocol.html").read_text(encoding="utf-8").lower()
    assert "native size" in (site / "glossary.html").read_text(encoding="utf-8")


def test_every_public_module_is_in_the_reference():
    pages = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs/reference").iterdir())
    shown = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    assert len(shown) == len(set(shown)), "no module stands on two pages"
    defining = set()
    for path in (p for room in ROOMS for p in (ROOT / room).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        one_table = re.search(r"\.specs\.(s2|sovit|figure)", name)  # declares a TABLE each
        if re.search(r"^(def|class) [a-zA-Z]", path.read_text("utf-8"), re.M) and not one_table:
            defining.add(name)
    assert sorted(defining - set(shown)) == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "GLOSSARY.md"])
def test_links_of_the_root_pages_lead_somewhere(name):
    targets = re.findall(r"\]\(([^)#\s]+)", (ROOT / name).read_text(encoding="utf-8"))
    local = [t for t in targets if not t.startswith("http")]
    assert [t for t in local if not (ROOT / t).exists()] == []


def test_figures_of_the_pages_are_small():
    assert [p.name for p in (ROOT / "docs/img").iterdir() if p.stat().st_size > 60_000] == []
