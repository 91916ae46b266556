"""Races, and tensors that something else writes."""

import pytest

from factories.evidence import differ, make_evidence
from nondet.tracing.causes import explain

ACCUMULATE = "accumulate=True"
REPEATED = {"repeated_indices": True}
INDEX_PUT = "aten.index_put_.default"


def named(make, **how) -> list[str]:
    """Return the causes that are named."""
    return [each.cause for each in explain(make_evidence(make, **how))]


def operation(name, facts=None, arguments="", phase="forward", **how):
    """Return what makes a stream with an operation that writes other bits in b."""

    def make(stream, other):
        x, index = stream.batch(), stream.batch(bits=2)
        stream.op(
            name,
            x,
            index,
            noise=other,
            facts=facts or {},
            arguments=arguments,
            phase=phase,
            line=5,
            **how,
        )

    return make


@pytest.mark.parametrize(
    ("name", "arguments", "phase", "cause"),
    [
        ("aten._index_put_impl_.default", ACCUMULATE, "backward", "index-backward-race"),
        ("aten.index_put.default", ACCUMULATE, "backward", "index-backward-race"),
        (INDEX_PUT, ACCUMULATE, "forward", "index-put-race"),
        ("aten.put_.default", ACCUMULATE, "forward", "put-race"),
        (INDEX_PUT, "", "forward", "repeated-assignment"),
        ("aten.index_copy_.default", "dim=0", "forward", "repeated-assignment"),
    ],
)
@pytest.mark.parametrize("differ_again", [True, False, None])
def test_a_race_is_named_by_its_operation(name, arguments, phase, cause, differ_again):
    facts = REPEATED | ({} if differ_again is None else {"repeats_differ": differ_again})
    make = operation(name, facts, arguments, phase)
    assert named(make) == [cause]
    because = explain(make_evidence(make))[0].because
    assert "train.py:5" in because
    assert ("run again" in because) == bool(differ_again)


@pytest.mark.parametrize(
    "how",
    [
        {"facts": {}},  # the recorder looked, and no index repeats
        {"facts": REPEATED | {"threads": 1}},
        {"facts": REPEATED | {"deterministic": True}},
        {"facts": REPEATED, "device": "cuda:0"},
    ],
)
def test_no_race_where_none_can_be(how):
    causes = named(operation(INDEX_PUT, arguments=ACCUMULATE, **how))
    assert not {cause for cause in causes if "race" in cause}


def test_one_thread_does_not_race():
    make = operation(INDEX_PUT, REPEATED, ACCUMULATE)
    assert "index-put-race" not in named(make, header={"threads": 1})


def test_an_operation_that_differs_when_run_again_is_unstable():
    make = operation("aten.mystery.default", {"repeats_differ": True})
    assert named(make) == ["unstable-operation"]


def test_a_race_that_was_seen_goes_before_another_number_of_threads():
    make = operation(INDEX_PUT, REPEATED | {"repeats_differ": True}, ACCUMULATE)
    assert named(make, headers=[differ("threads", 2, 4)]) == ["index-put-race"]


def test_a_buffer_that_changed_unseen():
    def make(stream, other):
        x = stream.tensor(1 + other)
        stream.op("aten.mm.default", x, facts={"written_meanwhile": (0,)}, line=7)

    assert named(make) == ["buffer-written"]


def test_inputs_that_were_only_looked_up_may_have_been_written():
    def make(stream, other):
        x = stream.batch()
        stream.op("aten.mm.default", x, noise=other)

    assert named(make) == ["unseen-write"]
    assert named(make, headers=[differ("packages.torch", "1", "2")]) == ["other-version"]


def test_memory_that_nothing_had_written():
    def make(stream, other):
        x = stream.op("aten.empty.memory_format", digest=[None])
        stream.op("aten.add_.Tensor", x, noise=other, facts={"uninitialized": (0,)})

    assert named(make) == ["uninitialized-memory"]


def hogwild(mine: str, theirs: str):
    """Return what makes a thread that reads a weight which another one changes."""

    def make(stream, other):
        weight = stream.tensor(3 + other, label=theirs)
        gradient = stream.op("aten.mm.default", weight, line=3)
        stream.op("aten.sub_.Tensor", weight, gradient, into=0, line=4)

    return make


def test_threads_that_change_one_tensor():
    threads = "main/thread one", "main/thread two"
    evidence = make_evidence(
        hogwild("main", threads[0]), others={threads[0]: hogwild(threads[0], "main")}
    )
    assert [each.cause for each in explain(evidence)] == ["shared-between-threads"]


def test_a_result_of_a_thread_that_differs_is_not_the_fault_of_who_reads_it():
    role = "main/thread one"

    def worker(stream, other):
        x = stream.batch()
        y = stream.op("aten.mm.default", x, noise=other)
        stream.op("aten.add_.Tensor", y, into=0)

    def make(stream, other):
        stream.op("aten.neg.default", stream.tensor(3 + other, label=role))

    evidence = make_evidence(make, others={role: worker})
    assert "shared-between-threads" not in [each.cause for each in explain(evidence)]
