"""Streams of random programs with one planted difference: it is found, in both directions."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories.streams import make_stream
from factories.traces import StreamMaker
from nondet.tracing.compare.evidence import First
from nondet.tracing.compare.parting import part

Act = Literal["op", "draw", "view", "change"]


@dataclass(frozen=True)
class Program:
    """Steps of layers of acts: every layer has the same lines, and so has every step. An act reads
    what the one before it wrote, and a parameter.
    """

    acts: tuple[Act, ...]
    layers: int
    steps: int
    reads: tuple[int, ...]  # how far back each act reads, too: 0 for nothing else
    modules: bool  # whether layers have names
    counted: bool = True  # whether steps are counted; else all is one step


@dataclass(frozen=True)
class Plant:
    """What is different in one run, at an act."""

    kind: str
    step: int = 0
    layer: int = 0
    act: int = 0
    harmless: bool = False  # a record that nothing reads is inserted in each step before

    def at(self, step: int, layer: int, act: int) -> bool:
        return (step, layer, act) == (self.step, self.layer, self.act)


def execute(program: Program, plant: Plant) -> StreamMaker:
    """Return the stream of a program. The place of the planted record is noted in `planted`."""
    stream = StreamMaker()
    weights = [
        stream.parameter(f"{layer}.weight", bits=99 if plant == Plant("parameter", 0, layer) else
                         layer + 1)
        for layer in range(program.layers)
    ]  # fmt: skip
    state = 1000
    for step in range(program.steps):
        changed = plant.kind == "batch" and plant.step == step
        x = stream.batch(bits=-1 if changed else step + 1, line=100)
        if plant.harmless and step <= plant.step:
            stream.op("aten.mean", x, line=200)
        past = [x]
        for layer in range(program.layers):
            for number, act in enumerate(program.acts):
                here = plant.at(step, layer, number)
                how = {
                    "line": number,
                    "module": f"Net.layers.{layer}" if program.modules else "",
                }
                if here and plant.kind == "inserted":
                    past.append(stream.op("aten.relu", past[-1], line=300))
                if here and plant.kind == "draws more":
                    stream.draw("aten.rand", state=state, line=300)
                    state += 1
                if here and plant.kind == "missing":
                    state += 0
                    continue
                noise = int(here and plant.kind == "wrote")
                other = [past[-1 - program.reads[number]]] if program.reads[number] < len(past) \
                    else []  # fmt: skip
                if act == "view":
                    past.append(stream.op("aten.view", past[-1], view_of=0, **how))
                elif act == "draw":
                    seen = state + 5000 * (here and plant.kind == "state")
                    past.append(stream.draw("aten.bernoulli", past[-1], state=seen, **how))
                    state = seen + 1
                elif act == "change":
                    weights[layer] = stream.op(
                        "aten.add_", weights[layer], past[-1], into=0, noise=noise, **how
                    )
                else:
                    arguments = "dim=1" if here and plant.kind == "arguments" else "dim=0"
                    shape = (4, 1) if here and plant.kind == "types" else None
                    past.append(
                        stream.op(
                            "aten.mm", past[-1], weights[layer], *other, noise=noise,
                            arguments=arguments, shape=shape, **how,
                        )
                    )  # fmt: skip
        order = list(range(program.layers))
        if plant.kind == "reordered" and plant.step == step:
            order[plant.layer : plant.layer + 2] = reversed(order[plant.layer : plant.layer + 2])
        for layer in order:
            weights[layer] = stream.op("aten.mul_", weights[layer], past[-1], into=0, line=400)
        if program.counted:
            stream.step()
    return stream


@st.composite
def programs(draw: st.DrawFn) -> Program:
    acts = draw(st.lists(st.sampled_from(["op", "draw", "view", "change"]), min_size=2, max_size=6))
    # Neighbours of one line would make it unclear which of them is missing.
    acts = ["op", *acts]
    return Program(
        tuple(acts),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 4)),
        tuple(draw(st.integers(0, 3)) for _ in acts),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@st.composite
def planted(draw: st.DrawFn) -> tuple[Program, Plant]:
    program = draw(programs())
    kind = draw(
        st.sampled_from(
            ["wrote", "arguments", "types", "missing", "inserted", "draws more", "state", "batch",
             "parameter", "reordered"]
        )
    )  # fmt: skip
    usable = {
        "wrote": ("op", "change"),
        "arguments": ("op",),
        "types": ("op",),
        "state": ("draw",),
    }.get(kind, ("op", "draw", "view", "change"))
    acts = [number for number, act in enumerate(program.acts) if act in usable]
    if not acts:
        kind, acts = "wrote", [0]
    layer = draw(st.integers(0, program.layers - 1))
    if kind == "parameter":
        return program, Plant(kind, 0, layer)
    step = draw(st.integers(0, program.steps - 1))
    if kind == "reordered":
        return replace(program, layers=program.layers + 1), Plant(kind, step, layer)
    if kind == "batch":
        return program, Plant(kind, step)
    harmless = draw(st.booleans()) and kind in ("wrote", "arguments", "state")
    return program, Plant(kind, step, layer, draw(st.sampled_from(acts)), harmless)


def find(a: StreamMaker, b: StreamMaker) -> First | None:
    """Return the first difference of two streams."""
    judgement = part(make_stream(a), make_stream(b)).judgement
    return judgement and judgement.first


def expected(program: Program, plant: Plant) -> tuple[str, tuple[int, ...]]:
    """Return the kind and, from counting, the position of the planted difference in the stream of
    the run that has it, or of the other for a missing record.
    """
    before = plant.step + 1 if plant.harmless else 0
    if plant.kind == "parameter":
        return "parameter", (plant.layer,)
    # A batch, the layers and the update of each step; then those of this one.
    position = program.layers + plant.step * (1 + program.layers * (len(program.acts) + 1)) + before
    if plant.kind == "reordered":
        position += 1 + program.layers * len(program.acts) + plant.layer
    elif plant.kind != "batch":
        position += 1 + plant.layer * len(program.acts) + plant.act
    return {"draws more": "inserted"}.get(plant.kind, plant.kind), (position,)


@settings(max_examples=100)
@given(planted())
def test_the_planted_difference_is_the_first(case):
    check(*case)


@pytest.mark.slow
@settings(max_examples=3000)
@given(planted())
def test_the_planted_difference_is_the_first_in_many_programs(case):
    check(*case)


def check(program: Program, plant: Plant) -> None:
    """Check that the planted difference is found, from either side."""
    plain, other = execute(program, Plant("")), execute(program, plant)
    first, mirrored = find(plain, other), find(other, plain)
    kind, (position,) = expected(program, plant)
    assert first is not None
    assert first.kind == kind
    known = plain if kind == "missing" else other
    record = first.a if kind == "missing" else first.b
    wanted = known.records[position]
    assert (record.step, record.index) == (wanted.step, wanted.index)
    mirror = {"missing": "inserted", "inserted": "missing"}
    ended = {"a": "b", "b": "a"}.get(first.ended)
    kind = mirror.get(kind, kind)
    assert mirrored == replace(first, kind=kind, a=first.b, b=first.a, ended=ended)


@settings(max_examples=30)
@given(programs(), st.booleans())
def test_equal_streams_are_equal_however_steps_are_counted(program, counted):
    other = execute(replace(program, counted=counted), Plant(""))
    assert find(execute(program, Plant("")), other) is None


@pytest.mark.parametrize("kind", ["wrote", "draws more"])
def test_a_difference_late_in_a_long_run_is_found(kind):
    program = Program(("op", "draw", "change"), 3, 300, (0, 1, 0), True)
    plant = Plant(kind, 250, 1, 1 if kind == "draws more" else 0)
    a, b = execute(program, Plant("")), execute(program, plant)
    found = part(make_stream(a), make_stream(b))
    assert found.judgement.first.record.step == 250
    assert found.steps == 250
