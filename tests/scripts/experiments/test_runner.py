import sys
from pathlib import Path

import pytest

from feature_store import InputError

FOLDER = Path(__file__).parents[3] / "scripts/experiments"


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("no pictures;\nname their folder"), 2, "no pictures; name their folder"),
        (FileNotFoundError(2, "No such file", "a.csv"), 2, "[Errno 2] No such file: 'a.csv'"),
        (KeyboardInterrupt(), 130, "interrupted; repeat the command to resume"),
    ],
)
def test_a_script_ends_with_one_line(error, status, line, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", ["/some/script.py"])
    import runner

    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        runner.run(main)
    assert ended.value.code == status
    assert capsys.readouterr().err == f"script.py: {line}\n"
