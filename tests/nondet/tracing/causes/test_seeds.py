"""Seeds, draws and resumed runs."""

import pytest

from factories.evidence import make_evidence
from nondet.tracing.causes import explain
from nondet.tracing.records import Line


def named(make, **how) -> list[str]:
    """Return the causes that are named."""
    return [each.cause for each in explain(make_evidence(make, **how))]


def draw(stream, state, seed=0, name="aten.randn.default", **how):
    return stream.draw(name, state=state, facts={"seed": seed, **how.pop("facts", {})}, **how)


def test_no_seed():
    def make(stream, other):
        draw(stream, 10 + other, seed=5 + other)

    assert named(make) == ["no-seed"]


def test_a_seed_that_comes_too_late():
    def make(stream, other):
        draw(stream, 10 + other, seed=5 + other, line=3)
        stream.seed(seed=0, line=4)

    assert named(make) == ["seed-too-late"]
    because = explain(make_evidence(make))[0].because
    assert because.index("train.py:3") < because.index("train.py:4")


def test_a_generator_that_was_seeded_alike_is_not_unseeded():
    def make(stream, other):
        stream.seed(seed=0)
        draw(stream, 10 + other, seed=0)

    assert named(make) == []


def test_a_seed_that_differs():
    def make(stream, other):
        stream.seed(seed=7 + other)
        draw(stream, 10 + other, seed=7 + other)

    assert named(make) == ["seed-from-clock"]
    assert named(make, commands=(["t.py", "--seed", "7"], ["t.py", "--seed", "8"])) == [
        "other-seed"
    ]


@pytest.mark.parametrize(
    ("name", "cause"), [("numpy.random", "numpy-unseeded"), ("random", "python-unseeded")]
)
def test_a_generator_outside_torch(name, cause):
    def make(stream, other, seeded=False, late=False, chance=False):
        if seeded:
            stream.seed(f"{name}.seed", 3)
        if chance:
            stream.record("seed", f"{name}.seed", out=0, facts={"from_clock": True})
        if late:
            stream.step()
        stream.op("aten.lift_fresh.default", stream.tensor(1 + other))
        if late:
            stream.step()
        if not chance:
            stream.generator(name, 8 + other)

    assert named(make) == [cause]
    assert named(lambda s, o: make(s, o, seeded=True)) == []
    assert named(lambda s, o: make(s, o, chance=True)) == [cause]
    # It was not used when the runs parted.
    assert cause not in named(lambda s, o: make(s, o, late=True))


@pytest.mark.parametrize(
    ("name", "cause"), [("numpy.random", "numpy-unseeded"), ("random", "python-unseeded")]
)
def test_a_generator_outside_torch_that_is_seeded_after_it_was_used(name, cause):
    def make(stream, other, drawn=True):
        # The same examples in another order, as a shuffle leaves them.
        for bits in (2, 1) if other else (1, 2):
            stream.op("aten.lift_fresh.default", stream.tensor(bits, shape=(3,)), line=5)
        if drawn:
            stream.generator(name, 8 + other)
        stream.seed(f"{name}.seed", 3)
        stream.generator(name, 7)

    assert named(make) == [cause]
    assert named(lambda s, o: make(s, o, drawn=False)) == ["directory-order"]


def loop(stream, other, extra, steps=3):
    """Make steps that draw; in b, `extra` makes one more draw in step 1."""
    state = 10
    for step in range(steps):
        draw(stream, state, line=5)
        state += 1
        if step == 1 and other:
            extra(stream, state)
            state += 1
        stream.step()


def test_a_draw_that_only_one_run_makes():
    assert named(lambda s, o: loop(s, o, lambda s, n: draw(s, n, line=6))) == ["extra-draw"]


def test_a_draw_that_a_loader_makes():
    def base_seed(stream, state):
        draw(stream, state, name="aten.random_.default", shape=(), dtype="int64", line=6)

    assert named(lambda s, o: loop(s, o, base_seed)) == ["hidden-draw"]


def test_dropout_that_only_one_run_draws_is_a_matter_of_the_mode():
    def make(stream, other):
        x = stream.batch()
        facts = {"training": not other}
        if not other:
            x = draw(stream, 10, name="aten.native_dropout.default", facts=facts, module="Net.1")
        stream.op("aten.addmm.default", x, facts=facts, module="Net.2", line=4)

    assert named(make) == ["train-eval"]


def test_a_generator_that_is_seeded_again_after_a_restart():
    def restart(stream, state):
        stream.seed(seed=0, line=7)
        draw(stream, 10, name="aten.uniform_.default", line=8)

    def make(stream, other):
        for step in range(3):
            if step == 1 and other:
                restart(stream, 11)
            draw(stream, 10 + step + 100 * (other and step > 0), line=5)
            stream.step()

    assert named(make) == ["resume-generator"]


STEP = Line("train.py", 20, "<module>", "optimizer.step()")


def test_an_optimizer_that_begins_anew():
    def make(stream, other):
        w = stream.parameter("w")
        state = None
        for step in range(3):
            if state is None or (step == 1 and other):
                state = stream.op("aten.zeros_like.default", w, line=STEP)
            state = stream.op("aten.lerp_.Scalar", state, w, line=STEP, into=0)
            stream.step()

    assert named(make) == ["resume-optimizer"]


def continued(stream, other, *, generator, optimizer):
    """Make a run of three steps; b begins where the first step ended."""
    bits = {0: 1000, 1: 1001, 2: 1002, 3: 1003}
    w = stream.parameter("w", bits=bits[1 if other else 0])
    for step in range(1 if other else 0, 3):
        draw(stream, 10 + step + 50 * (other and not generator))
        if step == (1 if other and not optimizer else 0):
            stream.op("aten.zeros_like.default", w, line=STEP, digest=7)
        w = stream.op("aten.add_.Tensor", w, into=0, line=STEP, digest=bits[step + 1])
        stream.step()


@pytest.mark.parametrize(
    ("generator", "optimizer", "causes"),
    [
        (False, True, ["resume-generator"]),
        (True, False, ["resume-optimizer"]),
        (False, False, ["resume-generator", "resume-optimizer"]),
        (True, True, ["resumed-run"]),
    ],
)
def test_a_run_that_continues_another(generator, optimizer, causes):
    def make(stream, other):
        continued(stream, other, generator=generator, optimizer=optimizer)

    assert named(make) == causes
