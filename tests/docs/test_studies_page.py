"""docs/studies.md: its Python prints what the page shows."""

import re
from pathlib import Path

from nondet.studies.catalog import STUDIES

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


SENTENCES = PAGE.partition("## The paper, sentence by sentence\n")[2].partition("\n## ")[0]


def test_every_part_of_the_paper_is_in_the_table_of_its_sentences():
    parts = {f"Table {number}" for number in range(1, 9)}
    parts |= {"Fig. 1", "Fig. 2", "Fig. 3", "App. A", "App. B", "App. C", "App. D", "ICML 2021"}
    parts |= {"Sec. 1", "Sec. 3.1", "Sec. 3.3", "Sec. 4.1", "Sec. 4.2", "Sec. 5", "Sec. 6"}
    places = [line.split("|")[1] for line in SENTENCES.splitlines() if line.startswith("| ")]
    assert {part for part in parts if not any(part in place for place in places)} == set()


def test_the_table_of_sentences_names_studies_and_rows_that_are_there():
    commands = set(re.findall(r"`nondet run ([\w-]+)`", SENTENCES))
    assert commands <= STUDIES.keys()
    of_the_paper = {name for name, study in STUDIES.items() if "paper" not in study.source}
    assert commands >= of_the_paper - {"quick"}
    rows = {row.name for study in STUDIES.values() for row in study.rows}
    quoted = {"weight augmentation", "aggressive averaging", "averaging aside"}
    assert all(f'"{name}"' in SENTENCES for name in quoted)
    assert {f"all sources, {name}" for name in quoted} <= rows
    with_reduction = {name for name, study in STUDIES.items() if study.baseline is not None}
    named = {name for name in STUDIES if re.search(rf"`{name}`[^|]*\"reduction\"", SENTENCES)}
    assert named == with_reduction
