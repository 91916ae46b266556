"""docs/studies.md: its Python prints what the page shows."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
SHOWN = re.compile(
    r"```python\n(?P<code>[^`]*)```\n\n<!-- The output of the above. -->\n"
    r"```text\n(?P<output>[^`]*)```"
)


def test_what_a_snippet_prints_is_below_it(capsys):
    [shown] = SHOWN.finditer(PAGE)
    exec(compile(shown["code"], "studies.md", "exec"), {})
    assert capsys.readouterr().out == shown["output"]


def test_a_training_of_the_paper_forgets_its_start():
    """With mean rate 0.2: 0.2 x 5e-4 x 49,000 / (1 - 0.9) = 49."""
    [shown] = SHOWN.finditer(PAGE)
    assert re.search(r"^paper +x = 48\.7 ", shown["output"], re.MULTILINE)
