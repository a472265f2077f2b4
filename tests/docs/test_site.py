"""The site builds with warnings as errors, fetches nothing, and no page is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; broken links, anchors and references fail the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    proxy = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # no way out
    env = {**os.environ, **proxy, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


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
    assert 'id="analyses.reconstruction.compute"' in page
    assert "Reconstruct the target from each source on training images" in page
    assert ":func:<code>" not in page


@pytest.mark.slow
def test_protocol_and_glossary_are_the_files_of_the_repository(site):
    assert "commit record" in (site / "protocol.html").read_text(encoding="utf-8").lower()
    assert "native size" in (site / "glossary.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "GLOSSARY.md"])
def test_links_of_the_root_pages_lead_somewhere(name):
    targets = re.findall(r"\]\(([^)#\s]+)", (ROOT / name).read_text(encoding="utf-8"))
    local = [t for t in targets if not t.startswith("http")]
    assert [t for t in local if not (ROOT / t).exists()] == []


def test_figures_of_the_pages_are_small():
    assert [p.name for p in (ROOT / "docs/img").iterdir() if p.stat().st_size > 60_000] == []
