"""Readers of the names, numbers and units in findings and tables, independent of their wording."""

import re

from nondet.report.columns import PP_NOTE
from nondet.report.document import Section

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]\d+)?(?!\w)")


def numbers(sentence: str) -> list[str]:
    """Return the numbers of a sentence as written: "1,200", "0.1" and "2.0e-05" for "hidden: 1,200
    (0.1-2.0e-05)". Digits inside a word do not count.
    """
    return _NUMBER.findall(sentence)


def in_order(sentence: str, *words: str) -> bool:
    """Return True if the sentence contains the words in this order."""
    return re.search(".*".join(map(re.escape, words)), sentence) is not None


def check_units(section: Section) -> None:
    """Fail if a table has the unit pp without an explanation in its note, or the reverse."""
    for table in section.tables:
        units = {column.unit for column in table.columns}
        assert "points" not in units
        assert table.note.count(PP_NOTE) == ("pp" in units), table.name
