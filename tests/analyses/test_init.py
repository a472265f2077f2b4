"""The package shows its questions, and loads each on first use."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys

import pytest

import analyses


def test_every_question_has_a_line_and_is_exported():
    table = re.findall(r"^(\w+)  +(\S.*\?)$", analyses.__doc__, re.MULTILINE)
    assert sorted(name for name, _ in table) == sorted(analyses.__all__)
    modules = {found.name for found in pkgutil.iter_modules(analyses.__path__)}
    assert modules - set(analyses.__all__) == {
        "configs",
        "linear",
        "moments",
        "reading",
        "statistics",
    }
    for name in analyses.__all__:
        assert getattr(analyses, name).__name__ == f"analyses.{name}"
        assert getattr(analyses, name).__doc__
    assert set(analyses.__all__) <= set(dir(analyses))


def test_importing_the_package_loads_no_question():
    code = (
        "import sys, analyses\n"
        "assert not [m for m in sys.modules if m.startswith(('analyses.', 'torch'))]\n"
        "assert callable(analyses.reconstruction.compute)\n"
        "from analyses import probe\n"
        "assert callable(probe.compute)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'probes'"):
        analyses.probes  # noqa: B018
