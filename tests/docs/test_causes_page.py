"""docs/causes.md agrees with the table of causes and with the plan of planted scripts."""

import pytest

from nondet.tracing.causes import CAUSES
from planted.page import PAGE, parse, render
from planted.plan import PLAN


def test_the_page_is_what_the_table_gives():
    page = PAGE.read_text()
    assert page == render(parse(page))


def test_the_page_has_every_planted_script_and_every_cause():
    page = PAGE.read_text()
    assert [found.script for found in parse(page)] == [planted.script for planted in PLAN]
    assert all(f"### `{cause.id}`" in page for cause in CAUSES)


@pytest.mark.parametrize("planted", PLAN, ids=lambda planted: planted.script)
def test_a_script_had_its_own_cause_named_and_no_other(planted):
    found = next(each for each in parse(PAGE.read_text()) if each.script == planted.script)
    assert found.named == (planted.cause,)
    assert not planted.lines or set(found.lines) <= set(planted.lines)
    assert found.again == ("" if planted.repeats else "equal")


def test_planted_causes_are_known():
    assert {planted.cause for planted in PLAN} <= {cause.id for cause in CAUSES}
