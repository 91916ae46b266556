"""Tests of the records of draws, seeds and generators."""

import os
import random
import sys

import numpy as np
import torch

import nondet
import nondet_ext
from factories.recording import named, record, records_of
from nondet.tracing.record import randomness


def test_a_draw_has_the_state_before_it(tmp_path):
    torch.manual_seed(3)
    before = nondet_ext.fingerprint(torch.get_rng_state())
    trace = record(tmp_path / "a", lambda: (torch.rand(3), torch.randperm(4)))
    first, second = (each for each in records_of(trace) if each.draws)
    assert first.state == before
    assert second.state != before
    assert first.facts == {"generator": "cpu", "seed": 3}


def test_generators_of_the_script_are_numbered(tmp_path):
    one, two = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)

    def work():
        torch.rand(2, generator=two)
        torch.rand(2, generator=one)
        torch.ones(2).bernoulli_(0.5, generator=two)

    draws = [each for each in records_of(record(tmp_path / "a", work)) if each.draws]
    assert [each.facts["generator"] for each in draws] == ["own 1", "own 2", "own 1"]
    assert [each.facts["seed"] for each in draws] == [2, 1, 2]


def test_seeds_are_recorded_with_their_value_and_line(tmp_path):
    def work():
        torch.manual_seed(11)
        torch.random.manual_seed(-2)
        np.random.seed(12)
        random.seed(13)
        random.seed("text")
        random.seed()
        np.random.default_rng(14)
        torch.cuda.manual_seed_all(15)
        torch.set_rng_state(torch.get_rng_state())

    seeds = [each for each in records_of(record(tmp_path / "a", work)) if each.kind == "seed"]
    assert [each.name for each in seeds] == [
        *("torch.manual_seed", "torch.manual_seed", "numpy.random.seed", "random.seed"),
        *("random.seed", "random.seed", "numpy.random.default_rng", "torch.cuda.manual_seed_all"),
        "torch.set_rng_state",
    ]
    assert [each.numbers for each in seeds[:4]] == [(11,), (2**64 - 2,), (12,), (13,)]
    assert seeds[5].facts == {"from_clock": True}
    assert seeds[0].line.text == "torch.manual_seed(11)"
    assert seeds[-1].state == nondet_ext.fingerprint(torch.get_rng_state())


def test_global_generators_are_recorded_at_the_end_of_a_step_where_they_changed(tmp_path):
    def work():
        random.random()
        nondet.step()
        np.random.rand()
        nondet.step()
        nondet.step()

    found = [
        (each.step, each.name)
        for each in records_of(record(tmp_path / "a", work))
        if each.kind == "generator"
    ]
    assert found == [(0, "random"), (1, "numpy.random")]


def test_global_generators_are_recorded_before_they_are_seeded_where_they_were_drawn_from(tmp_path):
    def work():
        random.seed(1)
        nondet.step()
        random.random()
        np.random.rand()
        random.seed(2)
        random.seed(2)

    found = [each for each in records_of(record(tmp_path / "a", work)) if each.kind != "operation"]
    assert [(each.step, each.name) for each in found] == [
        (0, "random.seed"),
        (0, "random"),
        (1, "numpy.random"),
        (1, "random"),
        (1, "random.seed"),
        (1, "random"),
        (1, "random.seed"),
    ]


def test_every_draw_of_the_generators_outside_torch_is_noticed(monkeypatch):
    def draws():
        random.seed(3)
        random.gauss(0, 1)
        yield ["random"]
        random.gauss(0, 1)  # the second of a pair: only what is left of the pair changes
        yield ["random"]
        yield []
        for _ in range(700):
            random.getrandbits(32)
        yield ["random"]
        random.setstate(random.getstate())
        yield []
        np.random.rand()
        yield ["numpy.random"]

    assert sys.implementation.name != "cpython" or randomness._MEMORY
    for memory in (randomness._MEMORY, ()):
        monkeypatch.setattr(randomness, "_MEMORY", memory)
        random.seed(0)
        states = randomness.GlobalStates()
        found = [([name for name, _ in states.changed()], wanted) for wanted in draws()]
        assert all(names == wanted for names, wanted in found)


def test_that_python_seeds_anew_in_a_fork_counts_as_no_draw():
    before, states = random.getstate(), randomness.GlobalStates()
    child = os.fork()
    if child == 0:
        try:
            changed = random.getstate() != before
            first = states.changed()
            random.random()
            os._exit(changed and first == [] and len(states.changed()) == 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert states.changed() == []


def test_the_recorder_draws_nothing(tmp_path):
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    record(tmp_path / "a", lambda: torch.nn.Sequential(torch.nn.ReLU())(torch.zeros(2)))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]


def test_a_seed_in_a_step_that_is_not_recorded_is_kept(tmp_path):
    def work():
        torch.manual_seed(1)
        torch.ones(2)
        nondet.step()
        torch.ones(2)

    trace = record(tmp_path / "a", work, steps=(1, 1))
    assert [(each.step, each.kind) for each in records_of(trace)][:2] == [
        (0, "seed"),
        (1, "operation"),
    ]
    assert named(trace, "torch.manual_seed")[0].numbers == (1,)
