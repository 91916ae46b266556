"""Tests of seeds and their keys."""

import pytest

from nondet.keys import Key
from nondet.studies.seeds import HELD, SOURCES, STREAMS, Seeds, philox_key, varied


def test_seeds_are_held_by_default_and_have_different_keys():
    assert [getattr(Seeds(), source) for source in SOURCES] == [1] * 6
    assert len({Seeds().key(source) for source in SOURCES}) == 6
    assert set(STREAMS) == set(SOURCES)


def test_key_holds_seed_and_stream():
    assert philox_key("shuffle", 2**32 - 1) == Key(seed=2**32 - 1, stream=STREAMS["shuffle"])


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_has_32_bits(seed):
    with pytest.raises(ValueError, match=rf"bit seed is {seed}"):
        Seeds(bit=seed)


@pytest.mark.parametrize("seed", [1.0, True, "1"])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(TypeError, match="init seed"):
        Seeds(init=seed)


def test_unknown_source_is_refused():
    with pytest.raises(ValueError, match=r"'luck'; known sources: init, shuffle"):
        philox_key("luck", 1)


def test_seeds_vary_in_tandem_and_never_have_the_held_value():
    all_seeds = [varied(("init", "bit"), run) for run in range(5)]
    assert [(seeds.init, seeds.bit) for seeds in all_seeds] == [(n, n) for n in (2, 3, 4, 5, 6)]
    assert all(seeds.shuffle == HELD for seeds in all_seeds)
    assert varied((), 3) == Seeds()
    with pytest.raises(ValueError, match="run is -1"):
        varied(("init",), -1)
