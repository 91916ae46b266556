import pytest

from factories.streams import make_stream
from factories.traces import StreamMaker
from nondet.tracing.compare.steps import StepComparison


def equal(make) -> bool:
    """Return whether the step that a function makes for a and for b is equal by its arrays."""
    streams = [StreamMaker(), StreamMaker()]
    streams[1].step()
    streams[1].seed()  # entries and lines get other numbers
    for number, stream in enumerate(streams):
        stream.step(5)
        make(stream, number)
    return StepComparison(*map(make_stream, streams)).equal(0, 1)


def test_what_does_not_bear_on_bits_is_passed_over():
    def make(stream, other):
        stream.generator("random", state=other)
        stream.batch(facts={"indices": 7 + other, "rows": (1, 2 + other), "worker": other})
        stream.op("aten.relu.default", line=3, alignment=16 << other)

    assert equal(make)


@pytest.mark.parametrize(
    "how",
    [
        {"noise": 1},
        {"numbers": (1.0,)},
        {"numbers": (2,)},
        {"state": 4},
        {"line": 9},
        {"module": "fc"},
        {"shape": (2,)},
        {"dtype": "int64"},
        {"arguments": "dim=1"},
        {"phase": "backward"},
        {"view_of": 0},
        {"digest": [None]},
    ],
)
def test_all_else_makes_a_step_differ(how):
    def make(stream, other):
        x = stream.batch()
        usual = {"numbers": (2.0,), "state": 3, "line": 8}
        stream.op("aten.relu.default", x, **(usual | how if other else usual))

    assert not equal(make)
