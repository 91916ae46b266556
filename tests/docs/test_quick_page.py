"""The Python of docs/quick.md runs."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "quick.md"


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
def test_snippet_runs(code, capsys):
    exec(compile(code, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("Perturbation(target='weights', tensor='fc1.weight', index=")
    assert [line.split()[0] for line in printed[1:]] == ["1", "2", "3", "4", "5"]
