"""The table of causes as a whole."""

import re

import pytest

from factories.evidence import make_evidence
from nondet.tracing.causes import CAUSES, explain
from planted.page import WITHOUT
from planted.plan import PLAN


def test_ids_are_unique_and_plain():
    ids = [cause.id for cause in CAUSES]
    assert len(set(ids)) == len(ids) >= 24
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", each) for each in ids)


def test_every_cause_has_a_script_or_a_reason_why_not():
    planted = {each.cause for each in PLAN}
    assert planted | set(WITHOUT) == {cause.id for cause in CAUSES}
    assert not planted & set(WITHOUT)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_texts_are_sentences(cause):
    assert cause.advice.endswith(".")
    assert cause.advice.count(". ") == 0  # one sentence
    assert cause.title
    assert not cause.title.endswith(".")
    assert cause.sign
    assert not cause.sign.endswith(".")
    assert cause.fits.__doc__


def test_no_cause_is_named_for_equal_streams():
    def make(stream, other):
        # Signs of many causes, in both runs alike.
        x = stream.batch(facts={"workers": 2, "rows": (1,)})
        facts = {"repeated_indices": True, "repeats_differ": True, "uninitialized": (0,)}
        y = stream.op("aten.index_put_.default", x, arguments="accumulate=True", facts=facts)
        stream.draw("aten.native_dropout.default", y, state=3, facts={"seed": 1})
        stream.generator("random", 5)

    assert explain(make_evidence(make)) == []
    assert all(cause.fits(make_evidence(make)) is None for cause in CAUSES)


def test_nothing_is_named_where_nothing_fits():
    def make(stream, other):
        x = stream.batch()
        stream.op("aten.sin.default" if other else "aten.cos.default", x)

    assert explain(make_evidence(make)) == []
