"""Reading what a finding states, whatever words it uses."""

import re

from nondet.report.columns import PP_NOTE
from nondet.report.document import Section

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]\d+)?(?!\w)")


def numbers(sentence: str) -> list[str]:
    """The numbers of a sentence as they are written: "hidden: 1,200 (0.1-2.0e-05)" has "1,200",
    "0.1" and "2.0e-05". Digits inside a name are none.
    """
    return _NUMBER.findall(sentence)


def in_order(sentence: str, *words: str) -> bool:
    """Return True if the words stand in the sentence one after the other."""
    return re.search(".*".join(map(re.escape, words)), sentence) is not None


def check_units(section: Section) -> None:
    """Fails where the note below a table does not explain the unit pp, or explains it in vain."""
    for table in section.tables:
        units = {column.unit for column in table.columns}
        assert "points" not in units
        assert table.note.count(PP_NOTE) == ("pp" in units), table.name
