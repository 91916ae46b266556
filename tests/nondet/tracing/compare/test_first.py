"""Which of several differences is the first."""

import dataclasses
import math
from collections.abc import Callable

import pytest

from factories.streams import make_stream
from factories.traces import StreamMaker
from nondet.tracing.compare.judging import Judgement
from nondet.tracing.compare.parting import part
from nondet.tracing.records import Line

Make = Callable[[StreamMaker, bool], object]
"""Makes a stream; the flag is True for the run b."""


def find(make: Make) -> Judgement | None:
    """Return what is found for the streams that a function makes for a and b."""
    streams = [StreamMaker(), StreamMaker()]
    for number, stream in enumerate(streams):
        make(stream, bool(number))
    return part(*map(make_stream, streams)).judgement


def first_of(make: Make) -> tuple[str, str, int]:
    """Return kind, name and index of the first difference."""
    judgement = find(make)
    assert judgement is not None
    first = judgement.first
    return first.kind, first.record.name, first.record.index


def test_an_operation_that_only_carries_a_difference_is_counted():
    def make(stream, other):
        x = stream.batch()
        y = stream.op("aten.mm.default", x, noise=other)
        z = stream.op("aten.relu.default", y)
        stream.op("aten.sum.default", z)
        stream.op("aten.neg.default", x)

    assert first_of(make) == ("wrote", "aten.mm.default", 1)
    found = find(make)
    assert found.first.writes == (0,)
    assert (found.carriers, found.origins) == (2, ())


def test_further_origins_are_told_from_carriers_through_views():
    def make(stream, other):
        x, w = stream.batch(), stream.parameter("w")
        y = stream.op("aten.mm.default", x, noise=other)
        seen = stream.op("aten.view.default", y, view_of=0)
        stream.op("aten.relu.default", seen)  # its input has no digest of its own
        turned = stream.op("aten.t.default", w, view_of=0)
        stream.op("aten.index_put_.default", turned, noise=other)

    found = find(make)
    assert [pair.a.name for pair in found.origins] == ["aten.index_put_.default"]
    assert found.carriers == 2  # the view and what reads it


def test_uninitialized_memory():
    def make(stream, other):
        empty = stream.op("aten.empty.memory_format", digest=[None])
        stream.op("aten.add.Tensor", empty, noise=other, facts={"uninitialized": [0]})

    assert first_of(make) == ("uninitialized", "aten.add.Tensor", 1)


def test_memory_that_is_uninitialized_in_vain_is_no_difference():
    def make(stream, other):
        empty = stream.op("aten.empty.memory_format", digest=[None])
        stream.op("aten.add.Tensor", empty, facts={"uninitialized": [0]})

    assert find(make) is None


def test_a_tensor_that_nothing_recorded_wrote():
    def make(stream, other):
        stream.op("aten.relu.default", stream.tensor(2 if other else 1))

    assert first_of(make) == ("read", "aten.relu.default", 0)
    assert find(make).first.reads == (0,)


def test_an_input_without_digest_is_named():
    def make(stream, other):
        x = stream.op("aten.empty.memory_format", digest=[None])
        stream.op("aten.relu.default", x, noise=other)

    assert find(make).first.unhashed == (0,)


def test_a_seed():
    def make(stream, other):
        stream.seed("torch.manual_seed", seed=1 + other)
        stream.draw("aten.randn.default", state=1 + other)

    assert first_of(make) == ("seed", "torch.manual_seed", 0)


def test_a_seed_that_only_one_run_sets_explains_the_draw():
    def make(stream, other):
        stream.op("aten.zeros.default")
        if other:
            stream.seed("torch.manual_seed", seed=1)
        stream.op("aten.ones.default")
        stream.draw("aten.randn.default", state=1 + other)

    assert first_of(make) == ("inserted", "torch.manual_seed", 1)


def test_a_seed_of_another_library_does_not_explain_a_draw():
    def make(stream, other):
        if other:
            stream.seed("numpy.random.seed", seed=1)
        stream.draw("aten.randn.default", state=1 + other)

    found = find(make)
    assert (found.first.kind, found.first.a.index) == ("state", 0)
    assert [first.kind for first in found.unrelated] == ["inserted"]


def test_a_draw_long_before_the_draw_that_shows_it():
    def make(stream, other):
        for step in range(20):
            if other and step == 3:
                stream.draw("aten.randn.default", state=1, line=9)
            stream.op("aten.mm.default", stream.batch(bits=step))
            stream.step()
        stream.draw("aten.randperm.default", state=1 + other)

    found = find(make)
    assert (found.first.kind, found.first.record.step) == ("inserted", 3)
    assert found.by_value


def test_a_draw_whose_generator_was_restored_is_no_reason():
    def make(stream, other):
        if other:
            stream.draw("aten.randn.default", state=1, line=9)
        stream.draw("aten.randn.default", state=1, line=10)
        x = stream.op("aten.mm.default", noise=other)
        stream.draw("aten.bernoulli.p", x, state=2 + other)

    found = find(make)
    assert (found.first.kind, found.first.record.name) == ("wrote", "aten.mm.default")
    assert [first.record.line.number for first in found.unrelated] == [9]


def test_a_draw_whose_generator_was_restored_does_not_explain_a_later_state():
    def make(stream, other):
        if other:
            stream.draw("aten.randn.default", state=1, line=9)
        stream.draw("aten.randn.default", state=1, line=10)
        stream.draw("aten.bernoulli.p", state=2 + other, line=11)

    assert first_of(make)[:2] == ("state", "aten.bernoulli.p")


def test_a_draw_of_another_generator_is_no_reason():
    def make(stream, other):
        if other:
            stream.draw("aten.randn.default", state=7, line=9, facts={"generator": "own 1"})
        stream.draw("aten.randn.default", state=1 + other, line=10)

    assert first_of(make)[0] == "state"


@pytest.mark.parametrize("edited", [False, True])
def test_states_of_other_generators_are_no_difference(edited):
    def make(stream, other):
        for step in range(3):
            stream.op("aten.sin.default", line=20 + (other and edited))
            stream.generator("random", state=100 * other + step)
            stream.op("aten.mm.default", stream.batch(bits=step))
            stream.step()

    assert find(make) is None


@pytest.mark.parametrize("shape", [None, (8,)])
def test_a_batch(shape):
    def make(stream, other):
        x = stream.batch(bits=1 + other, shape=shape if other else None)
        stream.op("aten.mm.default", x)

    assert first_of(make) == ("batch", "DataLoader", 0)


def test_a_parameter():
    def make(stream, other):
        stream.parameter("fc.weight", bits=1)
        stream.op("aten.mm.default", stream.parameter("fc.bias", bits=2 + other))

    assert first_of(make) == ("parameter", "fc.bias", 1)


def test_other_operations_at_one_place():
    def make(stream, other):
        w, x = stream.parameter("w"), stream.batch()
        name = "aten._fused_adam_.default" if other else "aten._foreach_add_.List"
        w = stream.op(name, w, x, into=0)
        stream.op("aten.mm.default", x, w)

    found = find(make)
    assert found.first.kind == "replaced"
    assert [each.name for each in found.first.records] == [
        "aten._foreach_add_.List",
        "aten._fused_adam_.default",
    ]


def test_an_operation_that_changed_a_tensor_behind_the_back_of_the_trace():
    # The optimizer's step is missing; who reads the weight next knows no writer.
    def make(stream, other):
        w, x = stream.parameter("w", bits=1), stream.batch()
        if not other:
            stream.op("aten.add_.Tensor", w, x, into=0, line=5)
        stream.op("aten.mm.default", x, stream.tensor(2 + other, label="w"), line=6)

    assert first_of(make) == ("missing", "aten.add_.Tensor", 2)


def test_an_operation_that_is_missing_in_the_step_before():
    def make(stream, other):
        w, x = stream.parameter("w"), stream.batch()
        if not other:
            w = stream.op("aten.mul.Tensor", w, x, line=5)
        stream.op("aten.sin.default", x, line=6)
        stream.step()
        stream.op("aten.mm.default", w, line=7)

    assert first_of(make) == ("missing", "aten.mul.Tensor", 2)
    assert find(make).by_value


def test_an_inserted_operation_seen_through_views():
    def make(stream, other):
        x = stream.batch()
        if other:
            x = stream.op("aten.mul.Tensor", x, line=5)
        seen = stream.op("aten.view.default", x, view_of=0, line=6)
        stream.op("aten.mm.default", seen, line=7)

    assert first_of(make) == ("inserted", "aten.mul.Tensor", 1)


def test_an_inserted_operation_that_nothing_reads_is_the_first_only_without_values():
    def make(stream, other, noise=False):
        x = stream.batch()
        if other:
            stream.op("aten.mean.default", x, line=5)
        stream.op("aten.mm.default", x, noise=other and noise)

    assert first_of(make) == ("inserted", "aten.mean.default", 1)
    assert not find(make).by_value
    assert first_of(lambda stream, other: make(stream, other, True))[:2] == (
        "wrote",
        "aten.mm.default",
    )


def test_a_set_of_tensors_in_another_order():
    def make(stream, other):
        weights = [stream.parameter(f"w{number}") for number in range(3)]
        order = [1, 2, 0] if other else [0, 1, 2]
        norms = [stream.op("aten.norm.Scalar", weights[number], line=7) for number in order]
        stream.op("aten.stack.default", *norms)

    found = find(make)
    assert (found.first.kind, found.first.record.index) == ("reordered", 3)


def test_one_operation_on_tensors_in_another_order():
    def make(stream, other):
        weights = [stream.parameter(f"w{number}", shape=(number,)) for number in range(3)]
        stream.op("aten._foreach_norm.Scalar", *weights[:: -1 if other else 1], shape=(3,))

    assert first_of(make) == ("reordered", "aten._foreach_norm.Scalar", 3)


def test_operations_that_swapped_places():
    def make(stream, other):
        x = stream.batch()
        lines = [("aten.sin.default", 1), ("aten.cos.default", 2), ("aten.tan.default", 3)]
        for name, line in reversed(lines) if other else lines:
            stream.op(name, x, line=line)

    found = find(make)
    assert found.first.kind == "reordered"
    assert [each.name for each in found.first.records] == ["aten.sin.default", "aten.tan.default"]
    assert (found.missing, found.inserted, len(found.moved)) == ((), (), 2)


def test_a_program_that_was_edited_is_compared_by_what_it_does():
    def make(stream, other):
        text = "y = net(inputs)" if other else "y = model(x)"
        line = Line(f"/home/{other}/train.py", 10 + other, "fit", text)
        for step in range(3):
            stream.op("aten.mm.default", stream.batch(bits=step), line=line, module=f"M{other}")
            stream.step()

    assert find(make) is None


def test_numbers_are_equal_if_their_texts_are():
    def make(first, second):
        return lambda stream, other: stream.op(
            "aten.add.Tensor", numbers=(second if other else first,), digest=1
        )

    assert find(make(math.nan, math.nan)) is None
    assert first_of(make(0.0, -0.0)) == ("arguments", "aten.add.Tensor", 0)
    assert first_of(make(1, 1.0))[0] == "arguments"


def test_facts_and_alignment_are_no_differences():
    def make(stream, other):
        x = stream.batch(facts={"indices": 3 + other, "worker": int(other)})
        stream.op("aten.mm.default", x, alignment=16 if other else 64)

    assert find(make) is None


def test_a_longer_run():
    def make(stream, other):
        for step in range(3 + other):
            stream.batch(bits=step)
            stream.step()

    found = find(make)
    assert (found.first.kind, found.first.ended, found.first.b.step) == ("inserted", "a", 3)


def test_streams_without_anything_in_common():
    def make(stream, other):
        for number in range(100):
            stream.op(f"aten.op{number}.{other}", line=number)

    found = find(make)
    assert (found.first.kind, len(found.missing), len(found.inserted)) == ("replaced", 100, 100)


@pytest.mark.parametrize("long", ["a", "b"])
def test_an_insertion_longer_than_the_window(long):
    def make(stream, other):
        stream.op("aten.start.default", line=1)
        if other == (long == "b"):
            for number in range(12):  # the window begins with three steps
                stream.step()
                stream.op("aten.mean.default", line=number + 100)
        stream.step()
        x = stream.op("aten.mm.default", line=2)
        for number in range(5):
            x = stream.op("aten.relu.default", x, line=number + 3)

    found = find(make)
    assert (found.first.kind, found.first.record.name) == (
        "missing" if long == "a" else "inserted",
        "aten.mean.default",
    )
    assert len(found.missing + found.inserted) == 12


def test_the_judgement_of_equal_streams_holds_nothing():
    streams = [make_stream(StreamMaker(records=[])) for _ in range(2)]
    assert dataclasses.astuple(part(*streams)) == (None, ((), ()), 0, 0)
